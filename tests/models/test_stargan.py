"""What is special of StarGAN: its codes, its permuted targets, its penalty, its losses."""

import copy
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lightning_gen.config.compose import ConfigErrors, check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.models.translation.stargan import StarGAN
from lightning_gen.networks.stargan import StarGANDiscriminator, StarGANGenerator, code_dim

NAMES = ["Smiling", "Black_Hair", "Blond_Hair", "Brown_Hair"]
CHANNELS, SIDE = 2, 16


def build(lr=0.0, G=None, D=None, **options):
    torch.manual_seed(0)
    options = {"num_classes": 3} | options
    size = {"channels": CHANNELS, "resolution": SIDE, "width": 4, "blocks": 1}
    codes = {key: options.get(key) for key in ("num_classes", "domains")}
    factory = partial(torch.optim.SGD, lr=lr)
    return StarGAN(
        G=G or StarGANGenerator(**size, **codes),
        D=D or StarGANDiscriminator(**size, **codes),
        optimizers={"G": factory, "D": factory},
        **options,
    )


def attributes(**options):
    return build(num_classes=None, domains=NAMES, exclusive=[NAMES[1:]], **options)


def fit(model, image, label, iterations=1):
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = [ImageBatch(image, label)] * iterations
    trainer.fit(model, torch.utils.data.DataLoader(batches, batch_size=None))
    return model


def images(n):
    return torch.rand(n, CHANNELS, SIDE, SIDE) * 2 - 1


def labels_of(model, n):
    if model.num_classes:
        return torch.arange(n) % model.num_classes
    return torch.rand(n, len(NAMES)).round().long()


def seen(model):
    """All that G is given from now on."""
    calls = []
    model.G.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    return calls


def test_code_is_repeated_at_every_pixel():
    model, given = build(), []
    model.G.layers[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    x, c = images(2), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    model.G(x, c)
    assert torch.equal(given[0][:, :CHANNELS], x)
    for pixel in given[0][:, CHANNELS:].flatten(2).unbind(2):
        assert torch.equal(pixel, c)


@pytest.mark.parametrize("kind", [build, attributes])
def test_targets_are_the_labels_of_each_minibatch_in_another_order(kind):
    model = kind(n_critic=3)
    calls, x, label = seen(model), images(36), labels_of(model, 36)
    fit(model, x, label)
    # Three turns of D, then G there and back.
    assert len(calls) == 5
    orders = []
    for (image, code), part, own in zip(calls, x.chunk(3), label.chunk(3), strict=False):
        assert torch.equal(image, part)
        rows = [tuple(row) for row in code.tolist()]
        assert sorted(rows) == sorted(tuple(row) for row in model.code(own).tolist())
        assert not torch.equal(code, model.code(own))
        orders.append(code)
    (forth, target), (_, back) = calls[3:]
    assert torch.equal(forth, x[24:]) and torch.equal(target, orders[2])
    assert torch.equal(back, model.code(label[24:]))
    calls.clear()
    fit(model, x, label)
    assert not torch.equal(calls[0][1], orders[0])


class Plane(nn.Module):
    """A critic whose gradient is known: the value of each pixel times a number."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.domain = nn.Linear(1, 3)

    def forward(self, x):
        return self.slope * x.sum(1, keepdim=True)

    def heads(self, x):
        return self(x), self.domain(x.mean((1, 2, 3))[:, None])


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.25])
def test_penalty_is_that_of_a_critic_with_known_gradient(slope):
    model = build(D=Plane(slope), n_critic=1)
    fit(model, images(4), torch.tensor([0, 1, 2, 0]))
    norm = abs(slope) * (CHANNELS * SIDE * SIDE) ** 0.5  # of the sum over patches
    assert model.recorded["gradient_penalty"].item() == pytest.approx((norm - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("kind", [build, attributes])
def test_losses_by_hand(kind):
    weights = {"class_weight": 0.7, "rec_weight": 3.0, "gp_weight": 2.0}
    model = kind(n_critic=1, **weights)  # at a learning rate of zero
    calls, x, label = seen(model), images(6), labels_of(model, 6)
    fit(model, x, label)
    target = calls[0][1]

    def of_domain(logits, code):
        if model.num_classes:
            return cross_entropy(logits, code.argmax(1))
        return binary_cross_entropy_with_logits(logits, code) * len(NAMES)

    with torch.no_grad():
        fake, source = model.G(x, target), model.code(label)
        (real_value, real_logits), (fake_value, fake_logits) = map(model.D.heads, (x, fake))
        loss_D = fake_value.mean() - real_value.mean() + 0.7 * of_domain(real_logits, source)
        loss_D += 2.0 * model.recorded["gradient_penalty"]
        back = (model.G(fake, source) - x).abs().mean()
        loss_G = -fake_value.mean() + 0.7 * of_domain(fake_logits, target) + 3.0 * back
    torch.testing.assert_close(model.recorded["loss_D"], loss_D)
    torch.testing.assert_close(model.recorded["loss_G"], loss_G)


def test_accumulated_gradients_are_those_of_the_batch():
    x, label = images(8), torch.arange(8) % 3
    whole, parts = (fit(build(lr=0.1, accumulate=k, n_critic=1), x, label) for k in (1, 4))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-4, atol=1e-5)


class Echo(nn.Module):
    """A generator that writes the code it is given into the image."""

    def forward(self, x, c):
        return c[:, :, None, None].expand(-1, -1, *x.shape[2:])


class Sure(nn.Module):
    """A critic that sees what it is told to."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def classify(self, x):
        return self.logits


def test_translation_to_a_class():
    model = build(G=Echo())
    assert model.targets == ("0", "1", "2")
    assert model.translate(images(4), "2")[:, :, 0, 0].tolist() == [[0, 0, 1]] * 4
    with pytest.raises(ValueError, match="not to '3'"):
        model.translate(images(1), "3")


@pytest.mark.parametrize(
    ("to", "codes"),
    [
        ("Smiling", [[1, 1, 0, 0], [1, 0, 1, 0]]),
        ("not Smiling", [[0, 1, 0, 0], [0, 0, 1, 0]]),
        ("Black_Hair", [[0, 1, 0, 0], [1, 1, 0, 0]]),
        ("Brown_Hair", [[0, 0, 0, 1], [1, 0, 0, 1]]),
        ("not Black_Hair", [[0, 0, 0, 0], [1, 0, 1, 0]]),
    ],
)
def test_translation_changes_one_attribute_of_what_the_critic_sees(to, codes):
    logits = torch.tensor([[-1.0, 3.0, -2.0, -0.1], [0.5, -1.0, 2.0, -9.0]])
    model = attributes(G=Echo(), D=Sure(logits))
    assert model.targets == (*NAMES, *(f"not {name}" for name in NAMES))
    assert model.translate(images(2), to)[:, :, 0, 0].tolist() == codes


def test_pictures_of_other_sizes():
    model = attributes()
    assert model.translate(images(2)[..., :12], "Smiling").shape == (2, CHANNELS, SIDE, 12)
    large = images(2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert model.translate(large, "Smiling").shape == large.shape
    assert model.D.classify(large).shape == (2, len(NAMES))
    x = images(2)
    assert torch.equal(model.D.classify(x), model.D.heads(x)[1])


@pytest.mark.parametrize(
    ("resolution", "side"), [(28, 3), (32, 2), (64, 2), (128, 2), (178, 2), (256, 4)]
)
def test_critic_halves_down_to_a_few_patches(resolution, side):
    D = StarGANDiscriminator(channels=1, resolution=resolution, num_classes=5, width=1)
    source, logits = D.heads(torch.zeros(1, 1, resolution, resolution))
    assert source.shape == (1, 1, side, side) and logits.shape == (1, 5)


def test_a_patch_sees_as_much_as_six_strided_kernels_and_its_own():
    D = StarGANDiscriminator(channels=1, resolution=512, num_classes=2, width=1)
    x = torch.rand(1, 1, 512, 512, requires_grad=True)
    D.eval()(x)[0, 0, 4, 4].backward()
    rows = (x.grad[0, 0] != 0).any(1).nonzero()
    field = 1
    for kernel, stride in [(3, 1), *[(4, 2)] * 6]:
        field = (field - 1) * stride + kernel
    assert rows.max() - rows.min() + 1 == field


def test_what_cannot_be():
    with pytest.raises(ValueError, match="classes or attributes"):
        code_dim(None, [])
    with pytest.raises(ValueError, match="classes or attributes"):
        code_dim(3, ["Smiling"])
    with pytest.raises(ValueError, match="multiple of 4"):
        StarGANGenerator(channels=1, resolution=30, num_classes=2)
    with pytest.raises(ValueError, match=r"\['Bald'\] are not among"):
        build(num_classes=None, domains=NAMES, exclusive=[["Smiling", "Bald"]])


SMALL = [f"model.{player}.{size}" for player in "GD" for size in ("width=4", "blocks=1")]


@pytest.mark.parametrize(
    ("words", "channels", "side", "codes"),
    [
        (["data=mnist"], 1, 28, 10),
        (["data=celeba", "data.attributes=[Smiling,Male]"], 3, 64, 2),
    ],
)
def test_configuration_trains_both_players(words, channels, side, codes):
    config = check_overrides(["model=stargan", "metrics=none", *words, *SMALL])
    model = instantiate(config["model"])
    image = torch.rand(10, channels, side, side) * 2 - 1
    label = torch.rand(10, 2).round().long() if codes == 2 else torch.arange(10)
    before = copy.deepcopy(model.state_dict())
    fit(model, image, label)
    still = {k for k, v in model.state_dict().items() if torch.equal(v, before[k])}
    assert not still and model.images_seen == 10 and model.n_critic == 5
    assert model.translate(image, model.targets[-1]).shape == image.shape


def test_unlabelled_data_are_refused():
    with pytest.raises(ConfigErrors, match="'celeba' have no labels"):
        check_overrides(["model=stargan", "data=celeba", "metrics=none"])
