"""Pairs of settings that cannot go together, each a small function over the whole configuration."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning_gen.config.problems import Problem
from lightning_gen.config.signature import Signature, TargetError, read
from lightning_gen.config.suggest import did_you_mean, nearest

Config = Mapping[str, Any]
Rule = Callable[[Config], Iterator[Problem]]

SHARDED = ("fsdp", "model_parallel", "deepspeed")
MNIST_FEATURES = 128  # per channel, in metrics/extractors.py
INCEPTION_FEATURES = 2048


def check(config: Config) -> list[Problem]:
    """Every rule that the configuration breaks.

    Args:
        config: A configuration; values of a wrong type are left to the schema.
    """
    return [problem for rule in RULES for problem in rule(config)]


def merge(schema: list[Problem], rules: list[Problem]) -> list[Problem]:
    """Both lists, a key that a rule explains being left out of the schema's."""
    explained = {key for p in rules for key in (p.key, *p.explains)}
    return [p for p in schema if p.key not in explained] + rules


def get(config: Config, key: str, kind: type | tuple[type, ...] = object) -> Any:
    """The value of a dotted key, or None if it is absent or of another type."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, kind) and not (kind is int and value is True) else None


def signature(config: Config, key: str) -> Signature | None:
    """The signature of the class at a key, if it can be read."""
    try:
        return read(get(config, f"{key}._target_", str) or "")
    except TargetError:
        return None  # reported by the schema


def labels_are_there(config: Config) -> Iterator[Problem]:
    """A conditional model needs labelled data."""
    model = signature(config, "model")
    data = get(config, "data", Mapping) or {}
    labelled = data.get("num_classes") is not None or bool(data.get("attributes"))
    source = signature(config, "data")
    labelled |= source is not None and "captions" in source.facts.get("gives", ())
    if model and model.facts.get("requires_labels") and not labelled:
        name = data.get("name")
        yield Problem(
            "model",
            f"is conditional, and the data {name!r} have no labels",
            remedy="data=mnist, or a model without labels (lightning-gen list models)",
            explains=tuple(f"model.{part}num_classes" for part in ("", "G.", "D.")),
        )


OTHER_DATA = {
    "images": "data=mnist",
    "pairs": "data=digits",
    "paired": "data=grey",
    "captions": "data=captions",
    "text": "data=text",
}


def batches_fit(config: Config) -> Iterator[Problem]:
    """A model of images takes no pairs, and one of pairs no single images."""
    model, data = signature(config, "model"), signature(config, "data")
    if model is None or data is None:
        return
    takes = model.facts.get("takes", "images")
    gives = data.facts.get("gives", ("images",))
    if takes not in gives:
        name = get(config, "data.name")
        yield Problem(
            "model",
            f"learns from {takes}, and the data {name!r} give {' and '.join(gives)}",
            remedy=f"{OTHER_DATA[takes]}, or another model (lightning-gen list models)",
            explains=tuple(_unknown(get(config, "model", Mapping) or {}, "model")),
        )


def _unknown(node: Mapping[str, Any], key: str) -> Iterator[str]:
    """Keys of sizes that the data should have told, and have not."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _unknown(value, f"{key}.{name}")
        elif value is None and name in {"channels", "resolution", "length", "tokens"}:
            yield f"{key}.{name}"


def domains_agree(config: Config) -> Iterator[Problem]:
    """Networks that see images of both domains need them alike."""
    model = signature(config, "model")
    alike = set(model.facts.get("alike", ())) if model else set()
    always = set(alike)
    if alike and get(config, "model.identity_weight", (int, float)):
        alike.add("channels")
    for fact in sorted(alike):
        a, b = get(config, f"data.{fact}_a", int), get(config, f"data.{fact}", int)
        if a is not None and b is not None and a != b:
            remedy = "data=digits" if fact in always else "model.identity_weight=0, or data=digits"
            what = f"needs domains of the same {fact}, and those of the data have {a} and {b}"
            yield Problem("model", what, remedy=remedy)


def players_agree(config: Config) -> Iterator[Problem]:
    """Every player has an optimiser, and nothing is said of players there are not."""
    model = signature(config, "model")
    players = model.facts.get("players", ()) if model else ()
    for key in ("optimizers", "schedules", "clip_norm"):
        named = get(config, f"model.{key}", Mapping)
        if named is None or not players:
            continue
        for stranger in (str(name) for name in named if name not in players):
            near = did_you_mean([f"model.{key}.{n}" for n in nearest(stranger, players, cutoff=0)])
            yield Problem(f"model.{key}.{stranger}", "is not a player of the model", near=near)
        for player in (p for p in players if p not in named and key in {"optimizers"}):
            yield Problem(f"model.{key}.{player}", "is required: every player has an optimiser")


def no_batch_norm_under_penalty(config: Config) -> Iterator[Problem]:
    """A per-sample gradient penalty has no meaning when samples of a batch are mixed."""
    model, critic = signature(config, "model"), signature(config, "model.D")
    if not (model and model.facts.get("per_sample_critic") and critic):
        return
    for name, mixing, instead in (("norm", "batch", "layer"), ("batch_norm", True, "false")):
        parameter = critic.parameters.get(name)
        value = get(config, f"model.D.{name}") if parameter else None
        if (
            parameter
            and (value is None or value == mixing)
            and (value is not None or parameter.default == mixing)
        ):
            yield Problem(
                f"model.D.{name}",
                "batch norm in the critic mixes samples, and the gradient penalty is per sample",
                mixing,
                remedy=f"model.D.{name}={instead}",
            )


def batch_divides(config: Config) -> Iterator[Problem]:
    """The global batch is shared equally by devices, and by micro-batches on each."""
    batch, devices = get(config, "data.batch_size", int), get(config, "trainer.devices", int) or 1
    nodes, parts = get(config, "trainer.num_nodes", int) or 1, get(config, "model.accumulate", int)
    shares = {
        "trainer.devices x trainer.num_nodes": devices * nodes,
        "model.accumulate": parts or 1,
    }
    total = devices * nodes * (parts or 1)
    if batch and total > 1 and batch % total:
        product = " x ".join(f"{key} = {n}" for key, n in shares.items() if n > 1)
        fixed = max(1, round(batch / total)) * total
        yield Problem(
            "data.batch_size",
            f"the global batch must be a multiple of {total} ({product})",
            batch,
            remedy=f"data.batch_size={fixed}",
        )


def half_needs_a_gpu(config: Config) -> Iterator[Problem]:
    """Loss scaling in 16 bits exists on GPUs only."""
    if (get(config, "trainer.precision"), get(config, "trainer.accelerator")) == (
        "16-mixed",
        "cpu",
    ):
        yield Problem(
            "trainer.precision",
            "16-mixed needs a GPU",
            "16-mixed",
            remedy="trainer.precision=32-true or bf16-mixed",
        )


def no_sharding(config: Config) -> Iterator[Problem]:
    """Lightning shards no model under manual optimisation."""
    strategy = get(config, "trainer.strategy", str) or ""
    if strategy.startswith(SHARDED):
        yield Problem(
            "trainer.strategy",
            "Lightning cannot shard a model under manual optimisation, which "
            "alternating players need",
            strategy,
            remedy="trainer.strategy=ddp",
        )


def shapes_agree(config: Config) -> Iterator[Problem]:
    """Networks of images and data of images go together, and so do those of points."""
    source = signature(config, "data")
    if source is not None and "text" in source.facts.get("gives", ()):
        return  # said by batches_fit
    points = "resolution" in (get(config, "data", Mapping) or {"resolution"}) and (
        get(config, "data.resolution") is None
    )
    for player in ("G", "D"):
        network = signature(config, f"model.{player}")
        if network is None:
            continue
        images = "resolution" in network.parameters
        if images and points:
            yield Problem(
                f"model.{player}",
                "is a network of images, and the data are points",
                network.target,
                remedy="network@model=mlp2d",
                explains=(f"model.{player}.channels", f"model.{player}.resolution"),
            )
        if not images and not points and "inputs" in network.parameters:
            yield Problem(
                f"model.{player}",
                "is a network of points, and the data are images",
                network.target,
                remedy="network@model=dcgan",
            )


def extractor_fits(config: Config) -> Iterator[Problem]:
    """The MNIST classifier sees grey digits, alone or stacked as RGB."""
    extractor = get(config, "metrics.extractor", str)
    channels = get(config, "data.channels", int)
    if extractor is None:
        return
    if channels is None:
        yield Problem(
            "metrics.extractor",
            "sees images, and the data are points",
            extractor,
            remedy="metrics=ring, metrics=grid or metrics=none",
        )
    elif extractor in {"mnist"} and channels not in (1, 3):
        yield Problem(
            "metrics.extractor",
            f"the MNIST classifier needs 1 or 3 channels, not {channels}",
            remedy="metrics=inception",
        )


def enough_samples(config: Config) -> Iterator[Problem]:
    """A covariance of d features needs more than d samples, where FID is asked for."""
    extractor = get(config, "metrics.extractor", str)
    asked = get(config, "metrics.metrics", list)
    if get(config, "metrics.allow_singular") or (asked is not None and "fid" not in asked):
        return
    sizes = {
        "mnist": MNIST_FEATURES * (get(config, "data.channels", int) or 1),
        "inception": INCEPTION_FEATURES,
    }
    need = sizes.get(extractor or "", 0)
    for key in ("metrics.n_fake", "metrics.n_real", *_counts(config)):
        n = get(config, key, int)
        if n is not None and need and n <= need:
            yield Problem(
                key,
                f"must be more than the {need} features of {extractor!r}, or the covariance "
                "of FID is singular",
                n,
                remedy=f"{key}={-(-need * 5 // 4000) * 1000 or 1000}",
            )


def _counts(config: Config) -> list[str]:
    """Keys of callbacks that set the number of generated samples."""
    callbacks = get(config, "callbacks", Mapping) or {}
    return [
        f"callbacks.{name}.{key}"
        for name, node in callbacks.items()
        if isinstance(node, Mapping)
        for key in node
        if key in {"n_fake", "final_n_fake"}
    ]


RULES: tuple[Rule, ...] = (
    labels_are_there,
    batches_fit,
    domains_agree,
    players_agree,
    no_batch_norm_under_penalty,
    batch_divides,
    half_needs_a_gpu,
    no_sharding,
    shapes_agree,
    extractor_fits,
    enough_samples,
)
