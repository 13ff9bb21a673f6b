"""Which of the data sets a test may have is fit for a model."""

from functools import cache
from pathlib import Path

import yaml

from lightning_gen.config.signature import read

CONF = Path(__file__).parents[1] / "conf" / "model"
SETS = {"images": "mnist", "captions": "captions"}
SMALL = {"captions": ["data.n_train=500", "data.n_test=500", "data.n_unseen=50"]}


@cache
def data_of(model):
    """The choice of data for a model's configuration, by what the model takes."""
    target = yaml.safe_load((CONF / f"{model}.yaml").read_text())["_target_"]
    return SETS[read(target).facts["takes"]]


def words_of(model):
    """Overrides that choose those data, and little of them."""
    data = data_of(model)
    return [f"data={data}", *SMALL.get(data, [])]
