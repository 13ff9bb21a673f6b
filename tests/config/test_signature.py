"""Signatures read from source agree with those of the imported classes."""

import inspect
from typing import Any, get_args

import hydra.utils
import pytest
import yaml

from lightning_gen.config.paths import conf_dir
from lightning_gen.config.problems import NOTHING
from lightning_gen.config.signature import TORCH, TargetError, read
from lightning_gen.types import PositiveInt


def targets(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["_target_"]} if "_target_" in node else set()
        return own.union(*map(targets, node.values()))
    return set()


SHIPPED = sorted(
    set().union(*(targets(yaml.safe_load(f.read_text())) for f in conf_dir().rglob("*.yaml")))
)


@pytest.mark.parametrize("target", sorted({*SHIPPED, *TORCH}))
def test_agrees_with_the_imported_class(target):
    cls, read_ = hydra.utils.get_class(target), read(target)
    merged: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(base.__init__).parameters.values())[1:]
        merged |= {p.name: p for p in own if p.kind is not p.VAR_KEYWORD and p.name not in merged}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    assert set(read_.parameters) <= set(merged)
    for name in set(merged) - set(read_.parameters):  # given by the class itself to its base
        codes = [
            inspect.getsource(c.__init__)
            for c in cls.__mro__
            if inspect.isfunction(vars(c).get("__init__"))
        ]
        assert any(f"{name}=" in code.partition("super().__init__(")[2] for code in codes), name
    for name, parameter in read_.parameters.items():
        assert parameter.required == (merged[name].default is inspect.Parameter.empty), name
        if parameter.default is not NOTHING:
            assert parameter.default == merged[name].default, name
    assert not read_.open
    for fact, value in read_.facts.items():
        if not isinstance(vars(cls).get(fact), property):  # which may depend on the arguments
            assert getattr(cls, fact) == value
    assert inspect.getdoc(cls).startswith(read_.summary[:20])


def test_keyword_arguments_are_followed_to_the_base():
    parameters = read("lightning_gen.models.gan.wgan_gp.WGANGP").parameters
    assert parameters["n_critic"].default == 5  # its own, not the base's 1
    assert parameters["latent_dim"].annotation == PositiveInt
    assert parameters["G"].required


def test_facts_of_the_bases_count():
    facts = read("lightning_gen.models.gan.cgan.CGAN").facts
    assert facts["requires_labels"] is True and facts["players"] == ("D", "G")
    assert read("lightning_gen.models.gan.gan.GAN").facts["requires_labels"] is False


def test_annotations_are_evaluated():
    parameters = read("lightning_gen.networks.dcgan.DCGANDiscriminator").parameters
    assert get_args(parameters["norm"].annotation) == ("batch", "layer", "none")
    lr = read("torch.optim.Adam").parameters["lr"].annotation
    assert get_args(lr)[0] is float and get_args(lr)[1].gt == 0


def test_reference_and_summary():
    signature = read("lightning_gen.models.gan.dcgan.DCGAN")
    assert signature.reference.startswith("Radford et al.") and "1511.06434" in signature.reference
    assert signature.summary.startswith("The GAN game between convolutional networks")


HOSTILE = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.Popen",
    "torch.hub.load",
    "torch.load",
    "torch.optim.lr_scheduler.LambdaLR",
    "torch.optim.adam.os.system",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "functools.partial",
    "lightning_gen.something.os.system",
    "lightning_gen.data.mnist.os.system",
    "lightning_gen.data.mnist.subprocess.run",
    "lightning_gen.data.mnist.MNIST.prepare_data",
    "lightning_gen.config.compose.instantiate",
    "lightning_gen.config.compose.OmegaConf",
    "lightning_gen.runs.session.train",
    "lightning_gen.data.array_pickle._Machine",
    "lightning_gen.data.module.Path",
    "lightning_gen.networks.dcgan.nn.Module",
    "lightning_gen.networks.dcgan.normal_init",
    "lightning_gen.networks...dcgan.DCGANGenerator",
    "lightning_gen/networks/dcgan.DCGANGenerator",
    "lightning_gen.models.gan.dcgan.ImageBatch",
    "",
    "${oc.env:HOME}",
    None,
    3,
    ["os.system"],
]


@pytest.mark.parametrize("target", HOSTILE, ids=str)
def test_other_targets_are_refused(target):
    with pytest.raises(TargetError):
        read(target)


def test_a_missing_class_names_the_near_ones():
    with pytest.raises(TargetError) as info:
        read("lightning_gen.models.gan.dcgan.DCGAM")
    assert info.value.fix.startswith("one of lightning_gen.models.gan.dcgan.DCGAN,")
    with pytest.raises(TargetError) as info:
        read("lightning_gen.models.dcgan.DCGAN")
    assert info.value.fix == "one of lightning_gen.models.gan.dcgan.DCGAN"
