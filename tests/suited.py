"""Which of the data sets a test may have is fit for a model."""

from functools import cache
from pathlib import Path

import yaml

from lightning_gen.config.signature import read

CONF = Path(__file__).parents[1] / "conf" / "model"
MODELS = sorted(p.stem for p in CONF.glob("[!_]*.yaml"))
SETS = {
    "images": "mnist",
    "captions": "captions",
    "pairs": "digits",
    "paired": "grey",
    "text": "text",
}
SPECIAL = dict.fromkeys(["srresnet", "srgan", "esrgan"], "downsample")
SPECIAL["stargan"] = "coloured_mnist"
WORDS = {
    "captions": ["data.n_train=500", "data.n_test=500", "data.n_unseen=50"],
    "text": ["data.length=16", "data.stride=null"],
    "coloured_mnist": ["data.hue=random", "data.num_hues=3", "metrics=stargan_coloured_mnist"],
    "srgan": ["model.content=mse"],
    "esrgan": ["model.content=mse"],
    "cut": ["model.nce_layers=[0,1,2]"],
}

SLOW = ["pixelcnn", "gated_pixelcnn", "pixelcnn_pp", "image_gpt"]  # drawn pixel by pixel
WORDS |= {model: ["data.resolution=14"] for model in SLOW}


@cache
def data_of(model):
    """The choice of data for a model's configuration, by what the model takes."""
    if model in SPECIAL:
        return SPECIAL[model]
    target = yaml.safe_load((CONF / f"{model}.yaml").read_text())["_target_"]
    return SETS[read(target).facts["takes"]]


def words_of(model):
    """Overrides that choose those data, and little of them, and what else a small run needs."""
    data = data_of(model)
    return [f"data={data}", *WORDS.get(data, []), *WORDS.get(model, [])]


def translates(model):
    """Whether what is measured of a model are its translations."""
    return data_of(model) not in {"mnist", "captions", "text"}
