"""Gives metrics hostile images and features, drawn by Hypothesis, until it has done so N times.

``python -m tests.faults.hostile_metrics N SEED CACHE``: it says how many it has survived. LAPACK
ends a process on some matrices without a word of Python's, so this is a process of its own.
"""

import math
import sys

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lightning_gen.errors import MetricError
from lightning_gen.metrics.evaluator import FEATURE_METRICS, FeatureEvaluator, MixtureEvaluator
from lightning_gen.metrics.extractors import Features
from tests.metrics.stubs import Data, Model, TinyExtractor

VALUES = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 1.0000002, -2.0, 255.0]
VALUES += [3e38, -3e38, 1e30, 1e-45, 1e-38]
HOW = ["one pixel", "some pixels", "one image", "all", "copies", "scaled", "two kinds", "as it is"]
CASE = st.fixed_dictionaries(
    {
        "metric": st.sampled_from([*FEATURE_METRICS, "mixture", "all"]),
        "n": st.sampled_from([1, 2, 3, 5, 6, 7, 64, 65, 128, 300]),
        "value": st.sampled_from(VALUES),
        "how": st.sampled_from(HOW),
        "share": st.floats(0, 1),
        "features": st.sampled_from([None, None, None, *VALUES]),
    }
)


class Spoiled(TinyExtractor):
    """A network whose features and logits of finite images are whatever a value makes of them."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        features, logits = super().forward(x)
        return Features(features * self.value, logits * self.value)


def change(case):
    """What becomes of a model's images."""
    value, how = torch.tensor(case["value"]), case["how"]

    def spoil(x, _):
        x = x.clone()
        match how:
            case "one pixel":
                x[len(x) // 2, ..., 0] = value
            case "some pixels":
                return torch.where(torch.rand(x.shape) < case["share"], value, x)
            case "one image":
                x[-1] = value
            case "all":
                return torch.full_like(x, case["value"])
            case "copies":
                return x[:1].expand_as(x)
            case "scaled":
                return x * value
            case "two kinds":
                x[::2], x[1::2] = x[0], value
        return x

    return spoil


def evaluate(case, cache):
    """Score a hostile model; what comes of it is a number, or a reason why there is none."""
    if case["metric"] == "mixture":
        data = Data()
        data.mixture = (torch.eye(2), 0.01)
        return MixtureEvaluator(n_fake=case["n"]).evaluate(Model(change(case), shape=(2,)), data)
    spoiled = case["features"]
    extractor = TinyExtractor() if spoiled is None else Spoiled(spoiled)
    names = None if case["metric"] == "all" else [case["metric"]]
    options = {"n_fake": 300, "kid_subset_size": 50, "kid_subsets": 2, "cache": cache}
    if names:
        options["metrics"] = names
    ours = FeatureEvaluator(extractor, allow_singular=case["share"] < 0.2, **options)
    return ours.evaluate(Model(change(case)), Data(), n_fake=case["n"])


def main():
    count, start, cache = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    survived = [0]

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(CASE)
    def survive(case):
        folder = f"{cache}/{case['features']}"  # a real side of its own for each network
        try:
            for score in evaluate(case, folder).scores:
                assert score.note if score.value is None else math.isfinite(score.value), score
        except MetricError as error:
            assert str(error), case
        survived[0] += 1

    survive()
    print(survived[0])


if __name__ == "__main__":
    main()
