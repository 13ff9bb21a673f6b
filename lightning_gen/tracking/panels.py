"""What a dashboard shows: one catalogue of panels over the names that runs log in W&B.

:mod:`lightning_gen.tracking.wandb_process` names a value ``<kind of row>/<name>`` and a picture by
its key. A panel has exact names, or a regular expression where a name carries counts
(``eval/fid_mnist@10k_test``). The expressions are of RE2, which W&B reads, without groups that
capture, and match the whole name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_gen.config.paper import Paper, Result
from lightning_gen.config.signature import read
from lightning_gen.metrics.protocol import Protocol, Score

X_AXIS = "images_seen"
"""Logged with every row, so it is the x axis of every plot."""


@dataclass(frozen=True)
class Panel:
    """One plot, or the pictures of one key.

    Args:
        title: Its title.
        keys: Names, or one regular expression that begins with ``^``.
        needs: Facts (:func:`facts`) of which an experiment has one when its runs log this; none are
            needed where every row of the kind has it.
        pictures: Whether the names are those of pictures.
        lines: Horizontal lines: a name whose points they are drawn over, and the value there.
    """

    title: str
    keys: str
    needs: str = ""
    pictures: bool = False
    lines: tuple[tuple[str, float], ...] = ()

    @property
    def regex(self) -> str | None:
        """The regular expression, or None when the names are exact."""
        return self.keys if self.keys.startswith("^") else None

    @property
    def names(self) -> list[str]:
        """The exact names."""
        return [] if self.regex else self.keys.split()

    def shows(self, key: str) -> bool:
        """Whether the panel shows a name.

        Example:
            >>> Panel("FID", "^eval/fid_.*$", "fid").shows("eval/fid_mnist@10k_test")
            True
        """
        return bool(re.search(self.regex, key)) if self.regex else key in self.names


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "samples": (
        Panel("samples from the same latents", "samples", "sample translate", pictures=True),
        Panel("real", "real", "sample_grid", pictures=True),
        Panel("what comes back", "reconstructions", "reconstruct", pictures=True),
        Panel("on the way between two latents", "interpolation", "path", pictures=True),
        Panel("one code changes along a row", "traversal", "continuous traverse", pictures=True),
        Panel("coarse styles by row, fine by column", "mixing", "w_decay", pictures=True),
    ),
    "scores against images seen": (
        Panel("FID", "^eval/fid_.*$", "fid"),
        Panel("KID", "^eval/kid_.*$", "kid"),
        Panel("inception score", "^eval/inception_score_.*$", "inception_score"),
        Panel("precision and recall", "^eval/(?:precision|recall)_.*$", "prdc"),
        Panel("density and coverage", "^eval/(?:density|coverage)_.*$", "prdc"),
        Panel("modes found", "^eval/modes_.*$", "modes mixture"),
        Panel("KL of the modes", "^eval/(?:class|reverse)_kl_.*$", "modes mixture"),
        Panel("JS of the modes", "^eval/class_js_.*$", "modes mixture"),
        Panel("entropy of the modes", "^eval/class_entropy_.*$", "modes mixture"),
        Panel("share of samples near a mode", "^eval/high_quality_.*$", "mixture"),
        Panel("confidence of the classifier", "^eval/mean_confidence_.*$", "modes"),
        Panel("pairwise distance, relative to real", "^eval/pairwise_ratio_.*$", "diversity"),
        Panel("near copies", "^eval/duplicate_rate_.*$", "diversity"),
        Panel("batch that has a near copy", "^eval/birthday_batch_.*$", "birthday"),
        Panel("support, by the birthday paradox", "^eval/birthday_support_.*$", "birthday"),
        Panel(
            "distance to training images, relative to held-out ones",
            "^eval/nearest_train_ratio_.*$",
            "memorisation",
        ),
        Panel("share memorised", "^eval/memorised_.*$", "memorisation"),
        Panel("different bins", "^eval/ndb_.*$", "ndb"),
        Panel("JS of the bins", "^eval/bin_js_.*$", "ndb"),
        Panel("MS-SSIM within a class", "^eval/ms_ssim_.*$", "class_diversity"),
        Panel("share of classes as diverse as real", "^eval/diverse_.*$", "class_diversity"),
        Panel("negative log-likelihood in nats", "^eval/nll_.*$", "measured:likelihood"),
        Panel("bits per dimension", "^eval/bits_per_dim_.*$", "measured:bits"),
        Panel("nats a token", "^eval/nats_per_token_.*$", "tokens"),
        Panel("perplexity of a token", "^eval/perplexity_.*$", "tokens"),
        Panel("bits a byte", "^eval/bits_per_byte_.*$", "text"),
        Panel("active units of the code", "^eval/active_units_.*$", "measured:units"),
        Panel(
            "squared error of reconstructions",
            "^eval/reconstruction_error_.*$",
            "measured:reconstruction",
        ),
        Panel(
            "PSNR of reconstructions in dB",
            "^eval/(?:reconstruction|denoising|noisy)_psnr_.*$",
            "measured:reconstruction",
        ),
        Panel("digits left out told from the others", "^eval/anomaly_.*$", "anomaly"),
        Panel("Parzen log-likelihood", "^eval/parzen.*$", "parzen"),
        Panel("error of the code as a classifier", "^eval/code_error_.*$", "code"),
        Panel(
            "error of classifiers on features",
            "^eval/(?:nearest_neighbour|linear_probe)_error_.*$",
            "probe",
        ),
        Panel("PSNR of translations in dB", "^eval/psnr_.*$", "paired"),
        Panel("SSIM of translations", "^eval/ssim_.*$", "paired"),
        Panel("mean difference to the target", "^eval/l1_.*$", "paired"),
        Panel("mean difference after both ways", "^eval/cycle_l1_.*$", "cycle"),
        Panel("share of images left as they were", "^eval/identity_rate_.*$", "identity"),
        Panel("digits still of their class", "^eval/translated_accuracy_.*$", "kept"),
        Panel(
            "accuracy on the other domain",
            "^eval/(?:source_only|adapted|target)_accuracy_.*$",
            "adaptation",
        ),
        Panel(
            "accuracy of label maps",
            "^eval/(?:pixel_accuracy|class_accuracy|mean_iou)_.*$",
            "label_map",
        ),
    ),
    "mode collapse": (
        Panel("limits crossed", "collapse/reasons"),
        Panel("modes found, of a perfect model's", "collapse/modes_share", "modes mixture"),
        Panel("KL beyond a perfect model's", "collapse/class_kl", "modes mixture"),
        Panel("share of samples near a mode", "collapse/high_quality", "mixture"),
        Panel("confidence of the classifier", "collapse/mean_confidence", "modes"),
        Panel("recall and coverage", "collapse/recall collapse/coverage", "prdc"),
        Panel("pairwise distance, relative to real", "collapse/pairwise_ratio", "diversity"),
        Panel("near copies", "collapse/duplicate_rate", "diversity"),
        Panel("MS-SSIM within a class, beyond real", "collapse/ms_ssim_excess", "class_diversity"),
        Panel("JS of the bins, beyond a perfect model's", "collapse/bin_js_excess", "ndb"),
        Panel("copies of training images", "collapse/copied", "memorisation"),
        Panel("FID, relative to the run's best", "collapse/fid_ratio", "fid"),
    ),
    "losses and player health": (
        # All that a step records but learning rates and gradient norms; RE2 cannot look ahead.
        Panel("losses", "^train/(?:[^lg]|l[^r]|g[^r]|gr[^a]|gra[^d]|grad[^_]).*$"),
        Panel("gradient norms", "^train/grad_norm_.*$", "finite_guard"),
        Panel("learning rates", "^train/lr_.*$"),
        Panel("discriminator: share it is sure of", "collapse/D_saturation", "discriminate"),
        Panel("discriminator: real less generated logits", "collapse/D_gap", "discriminate"),
        Panel(
            "discriminator: training less held-out logits, and their share of the gap",
            "collapse/D_heldout_gap collapse/D_overfitting",
            "discriminate",
        ),
        Panel(
            "discriminator: largest spectral norm, and relative to the smallest",
            "collapse/D_spectral_max collapse/D_spectral_ratio",
            "discriminate",
        ),
        Panel(
            "gradient norm of G to that of D",
            "collapse/gradient_ratio collapse/gradient_imbalance",
            "D D_b",
        ),
    ),
    "cost": (
        Panel("images per second, training alone", "system/images_per_second"),
        Panel("device-hours", "system/device_hours"),
        Panel("peak memory in bytes", "system/peak_memory_bytes"),
        Panel("share of time in evaluation", "system/evaluation_share"),
        Panel("seconds left", "system/seconds_left"),
    ),
}
SCORES = "scores against images seen"
WRITERS = {
    "train": {"history"},
    "eval": {"scores"},
    "collapse": {"scores", "collapse"},
    "system": {"throughput"},
    **{key: {"sample_grid"} for key in ("samples", "reconstructions")},
    **{key: {"latents"} for key in ("interpolation", "traversal", "mixing")},
}
"""The callbacks without which there are no rows of a kind, or no pictures of a key."""
CLASSIFIERS = {"mnist"}
"""The extractors that know the classes of their data, without which there are no modes."""


@dataclass(frozen=True)
class Measures:
    """What an evaluator measures, and what its scores' protocols say whatever its arguments.

    Args:
        metrics: Its metrics.
        fixed: Fields of the protocol. Without them the extractor is named after the evaluator's
            argument, else after the data; the split after the argument, else not at all.
    """

    metrics: frozenset[str]
    fixed: Mapping[str, str] = field(default_factory=dict)


FEATURE_METRICS = frozenset({
    "fid", "kid", "inception_score", "prdc", "modes", "diversity", "birthday", "memorisation",
    "ndb", "class_diversity",
})  # fmt: skip
SINGLE = frozenset({"paired", "cycle", "identity", "kept", "label_map"})
_ENDS = {"a": "_a", "b": ""}
EVALUATORS = {
    "FeatureEvaluator": Measures(FEATURE_METRICS),
    "MixtureEvaluator": Measures(frozenset({"mixture"})),
    "ParzenEvaluator": Measures(frozenset({"parzen"}), {"extractor": "pixels", "split": "test"}),
    "CodeEvaluator": Measures(frozenset({"code"}), {"extractor": "Q"}),
    "ProbeEvaluator": Measures(frozenset({"probe"})),
    "TranslationEvaluator": Measures(
        frozenset({"fid", "kid", "prdc", "modes", "diversity"}) | SINGLE
    ),
    "AdaptationEvaluator": Measures(frozenset({"adaptation"}), {"extractor": "lenet"}),
    "AnomalyEvaluator": Measures(frozenset({"anomaly"})),
    "LikelihoodEvaluator": Measures(frozenset({"likelihood"}), {"split": "test"}),
    "ReconstructionEvaluator": Measures(frozenset({"reconstruction"}), {"extractor": "pixels"}),
    "ExPostEvaluator": Measures(FEATURE_METRICS),
    "PerplexityEvaluator": Measures(frozenset({"tokens", "text"}), {"extractor": "tokens"}),
}


def _measures(node: Mapping[str, Any] | None) -> Measures:
    target = (node or {}).get("_target_", "")
    return EVALUATORS.get(target.rpartition(".")[2], Measures(frozenset()))


def _of_translations(config: Mapping[str, Any]) -> set[str]:
    """Which scores of single translations mean something, given the data and the model."""
    data, model = config["data"], read(config["model"]["_target_"]).facts
    gives = read(data["_target_"]).facts.get("gives", ())
    if "pairs" not in gives:
        return {"cycle", "identity"}
    targets = model.get("targets", ())
    sizes = {to: (data[f"channels{end}"], data[f"resolution{end}"]) for to, end in _ENDS.items()}
    found = {"paired"} & set(gives)
    found |= {"cycle"} if len(targets) > 1 else set()
    found |= {"identity"} if sizes["a"] == sizes["b"] else set()
    found |= {"label_map"} if data.get("palette") else set()
    digits = data["num_classes"] and any(sizes[to][0] == 1 for to in targets if to in sizes)
    return found | ({"kept"} if digits else set())


def facts(config: Mapping[str, Any]) -> set[str]:
    """Say what decides which names an experiment's runs log.

    Args:
        config: The checked configuration of the experiment.

    Returns:
        Names of its callbacks, of what its evaluator measures, and of its model's arguments; and
        ``images`` if its data are images, with ``path`` if it has latents to go between.
    """
    node = config["metrics"] or {}
    measured = set(_measures(node).metrics)
    extractor = node.get("extractor", "mnist")
    if extractor not in CLASSIFIERS:
        measured -= {"modes"} if extractor else FEATURE_METRICS
    if node.get("metrics"):
        measured -= FEATURE_METRICS - set(node["metrics"])
    if measured & SINGLE:
        measured -= SINGLE - _of_translations(config)
    callbacks = {name for name, callback in config["callbacks"].items() if callback}
    model = read(config["model"]["_target_"])
    methods = set(model.methods)
    needs = read(node["_target_"]).facts.get("needs") if node else None
    if needs not in {None, *methods, *model.facts}:  # the evaluator has nothing to measure
        measured = set()
    kind = {"images"} if config["data"].get("channels") else set()
    of_methods = {"sample", "translate", "discriminate"} & methods
    if kind:
        shown = {"path"} if "translate" in methods else {"path", "reconstruct"}
        of_methods |= shown & methods
        if "continuous" not in config["model"]:  # InfoGAN may have none
            of_methods |= {"traverse"} & methods
    known = measured | callbacks | kind | of_methods | set(config["model"])
    return known | _of_methods(config, methods)


def _of_methods(config: Mapping[str, Any], methods: set[str]) -> set[str]:
    """What is measured of real images by a model's methods, as ``measured:<name>``."""
    model, facts = config["model"], read(config["model"]["_target_"]).facts
    found = set(facts.get("measured", ())) if config["metrics"] else set()
    space = model.get("likelihood", facts.get("likelihood_space", "binary"))
    space = space if config["data"].get("channels") else "points"
    binary = space in {"binary", "bernoulli"}
    if binary != bool(config["data"].get("binarise")):
        found -= {"likelihood"}  # a density of other pixels than the data's
    if "likelihood" in found and not binary and space not in {"points"}:
        found |= {"bits"}
    if "likelihood" in found and "active_units" in methods:
        found |= {"units"}
    return {f"measured:{name}" for name in found}


def shown(panel: Panel, known: Iterable[set[str]]) -> bool:
    """Whether one of the experiments logs what a panel shows.

    Args:
        panel: The panel.
        known: The facts of each experiment.
    """
    needs = set(panel.needs.split())
    writers = WRITERS.get(panel.keys.lstrip("^").partition("/")[0], set())
    return any(writers <= has and (not needs or needs & has) for has in known)


def paper_key(config: Mapping[str, Any], paper: Paper, result: Result) -> tuple[str, str] | None:
    """Name the score of an experiment's runs that is measured as a published number was.

    Args:
        config: The checked configuration of the experiment.
        paper: Its paper.
        result: One of the paper's numbers.

    Returns:
        The name in W&B, and that of the evaluations during training, which differs when they have
        fewer samples; None when no score of the runs is comparable with the number.
    """
    node, scores = config["metrics"], config["callbacks"].get("scores")
    if not node or not scores or paper.metrics:
        return None
    fixed, fields = paper.measurement(result), {**node, **_measures(node).fixed}
    final = scores["final_n_fake"] or scores["n_fake"]
    averaged = config["model"].get("ema_halflife") is not None
    weights = {"both": ("ema", "raw")}.get(scores["weights"], (scores["weights"],))
    weights = weights if averaged else ("raw",)
    logged: dict[str, Sequence[Any]] = {
        "extractor": [fields.get("extractor", config["data"]["name"])],
        "n_fake": [final, *([scores["n_fake"]] if scores["every_images"] else [])],
        "split": [fields.get("split", "")],
        "weights": weights,
    }
    how = {name: fixed.get(name, values[0]) for name, values in logged.items()}
    if any(how[name] not in values for name, values in logged.items()):
        return None

    def name(n_fake: int) -> str:
        rest: dict[str, Any] = {"extractor_sha256": "", "resize": "", "data_fingerprint": ""}
        protocol = Protocol(**{**how, "n_fake": n_fake}, **rest, n_real=0, seed=0)
        raw = averaged and how["weights"] in {"raw"}
        return f"eval/{Score(result.metric, None, protocol).name}{'_raw' if raw else ''}"

    return name(how["n_fake"]), name(logged["n_fake"][-1])
