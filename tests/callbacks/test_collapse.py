"""Planted collapses are called within two evaluations; what is healthy stays silent."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torchvision.transforms.functional import gaussian_blur

from lightning_gen.callbacks.collapse import CollapseWatchdog, discriminator_health
from lightning_gen.callbacks.scores import Scores
from lightning_gen.metrics.evaluator import FeatureEvaluator, MixtureEvaluator
from lightning_gen.metrics.protocol import Evaluation, Protocol, Score
from lightning_gen.models.gan.dcgan import DCGAN
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from tests.callbacks.conftest import Idle

HEALTHY = 2  # evaluations before the collapse


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    return FeatureEvaluator(
        "mnist",
        n_real=1000,
        metrics=("fid", "prdc", "modes", "diversity"),
        cache=str(tmp_path_factory.mktemp("cache")),
    )


@pytest.fixture(scope="module")
def further(tmp_path_factory):
    """Looks at a tenth of the training images."""
    return FeatureEvaluator(
        "mnist",
        n_real=1000,
        n_train=6000,
        metrics=("fid", "modes", "diversity", "birthday", "memorisation", "ndb", "class_diversity"),
        cache=str(tmp_path_factory.mktemp("cache")),
    )


def unseen(mnist, n, generator):
    """n real test digits, of which no model can have copies."""
    return mnist.real("test", torch.randint(mnist.size("test"), (n,), generator=generator)).image


def some(mnist, n, generator, keep=lambda labels: labels >= 0):
    """n real training digits."""
    indices = keep(mnist.labels("train")).nonzero()[:, 0]
    chosen = indices[torch.randint(len(indices), (n,), generator=generator)]
    return mnist.real("train", chosen).image


def one_mode(mnist, n, generator):
    image = mnist.real("train", [0]).image.expand(n, -1, -1, -1)
    return (image + 0.05 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


def mean_image(mnist, n, generator):
    image = mnist.real("train", range(1000)).image.mean(0).expand(n, -1, -1, -1)
    return (image + 0.02 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


PLANTED = {
    "one mode": one_mode,
    "one digit": partial(some, keep=lambda labels: labels == 3),
    "3 of 10 digits": partial(some, keep=lambda labels: labels < 3),
    "blurred copies": lambda m, n, g: gaussian_blur(some(m, n, g) + 1, [11, 11], [1.5, 1.5]) - 1,
    "a few copies": partial(some, keep=lambda labels: torch.arange(len(labels)) < 50),
    "noise": lambda m, n, g: torch.rand(n, 1, 28, 28, generator=g) * 2 - 1,
    "mean image": mean_image,
}
MEANT = {
    "one mode": {"modes_share", "class_kl", "recall", "pairwise_ratio", "duplicate_rate"},
    "one digit": {"modes_share", "class_kl"},
    "3 of 10 digits": {"modes_share", "class_kl"},
    "blurred copies": {"recall", "coverage"},
    "a few copies": {"duplicate_rate"},
    "noise": {"modes_share", "mean_confidence", "recall", "coverage", "pairwise_ratio"},
    "mean image": {"modes_share", "mean_confidence", "recall", "coverage", "pairwise_ratio"},
}


def watch(fit, model, data, evaluator, iterations, n_fake=400, **options):
    watchdog = CollapseWatchdog(**({"warmup_images": 0} | options))
    scores = Scores(every_images=64, n_fake=n_fake)
    return watchdog, fit(model, data, [scores, watchdog], iterations, evaluator)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_collapse_is_called_within_two_evaluations(fit, mnist, recorder, evaluator, name):
    def make(iteration, n, labels, generator):
        sampler = some if iteration <= HEALTHY else PLANTED[name]
        return sampler(mnist, n, generator)

    watch(fit, Idle(make), mnist, evaluator, HEALTHY + 2)
    ((iteration, title, text),) = recorder.alerts
    assert (iteration, title) == (HEALTHY + 2, "collapse")
    assert {reason.split()[0] for reason in text.split("; ")} >= MEANT[name]
    assert recorder.states == [("running", text)]
    rows = recorder.of("collapse")
    assert [values["reasons"] > 0 for _, values in rows] == [False, False, False, True]


def copies(mnist, n, generator):
    image = some(mnist, n, generator)
    return (image + 0.02 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


def one_of_each_class(mnist, n, generator):
    labels = mnist.labels("train")
    firsts = torch.tensor([int((labels == c).nonzero()[0]) for c in range(10)])
    image = mnist.real("train", firsts[torch.randint(10, (n,), generator=generator)]).image
    return (image + 0.02 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


def half_constant(mnist, n, generator):
    same = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    return torch.where(same, mnist.real("test", [0]).image, unseen(mnist, n, generator))


FURTHER = {
    "training images and noise": (copies, {"copied"}),
    "one image of each class": (
        one_of_each_class,
        {"ms_ssim_excess", "bin_js_excess", "duplicate_rate"},
    ),
    "half of the samples constant": (half_constant, {"duplicate_rate"}),
}


@pytest.mark.parametrize("name", FURTHER)
def test_further_collapse_is_called_within_two_evaluations(fit, mnist, recorder, further, name):
    planted, meant = FURTHER[name]

    def make(iteration, n, labels, generator):
        return (unseen if iteration <= HEALTHY else planted)(mnist, n, generator)

    watch(fit, Idle(make), mnist, further, HEALTHY + 2)
    ((iteration, _, text),) = recorder.alerts
    assert iteration == HEALTHY + 2
    assert {reason.split()[0] for reason in text.split("; ")} >= meant
    reasons = [values["reasons"] > 0 for _, values in recorder.of("collapse")]
    assert reasons == [False, False, False, True]


def test_unseen_digits_raise_nothing_with_a_margin(fit, mnist, recorder, further):
    model = Idle(lambda i, n, labels, g: unseen(mnist, n, g))
    watchdog, _ = watch(fit, model, mnist, further, 1, n_fake=2000)
    assert recorder.alerts == recorder.states == []
    ((_, found),) = recorder.of("collapse")
    for name in ("ms_ssim_excess", "bin_js_excess", "copied"):
        assert found[name] < watchdog.at_most[name][0] / 3


def test_collapse_from_the_start_is_called_at_the_second_evaluation(
    fit, mnist, recorder, evaluator
):
    model = Idle(lambda i, n, labels, g: one_mode(mnist, n, g))
    watch(fit, model, mnist, evaluator, 3)
    assert [i for i, *_ in recorder.alerts] == [2]  # and is not said again


def test_real_digits_raise_nothing_with_a_margin(fit, mnist, recorder, evaluator):
    model = Idle(lambda i, n, labels, g: some(mnist, n, g))
    watchdog, _ = watch(fit, model, mnist, evaluator, 1, n_fake=2000)
    assert recorder.alerts == recorder.states == []
    ((_, found),) = recorder.of("collapse")
    assert found["modes_share"] == 1
    for name in ("mean_confidence", "recall", "coverage", "pairwise_ratio"):
        assert found[name] > (watchdog.at_least[name][0] + 1) / 2
    for name in ("class_kl", "duplicate_rate"):
        assert found[name] < watchdog.at_most[name][0] / 3


def test_untrained_and_learning_models_are_not_judged(fit, mnist, recorder, evaluator):
    def sharpening(iteration, n, labels, generator):  # noise that turns into digits
        share = min(iteration, 4) / 4
        noise = torch.rand(n, 1, 28, 28, generator=generator) * 2 - 1
        return share * some(mnist, n, generator) + (1 - share) * noise

    watch(fit, Idle(sharpening), mnist, evaluator, 5, warmup_images=65)
    assert recorder.alerts == []
    fid = [values["fid_ratio"] for _, values in recorder.of("collapse")]
    assert max(fid[1:4]) < 0.95


@pytest.mark.parametrize("lost", [1, 7])
def test_lost_modes_of_a_mixture(fit, ring, recorder, lost):
    centres, std = ring.mixture

    def make(iteration, n, labels, generator):
        kept = 8 if iteration <= HEALTHY else 8 - lost
        k = torch.randint(kept, (n,), generator=generator)
        return centres[k] + std * torch.randn(n, 2, generator=generator)

    watch(fit, Idle(make), ring, MixtureEvaluator(), HEALTHY + 2, n_fake=2500)
    ((iteration, _, text),) = recorder.alerts
    assert iteration == HEALTHY + 2 and f"modes_share {1 - lost / 8:.3g} < 0.9" in text


def test_noise_in_the_plane(fit, ring, recorder):
    model = Idle(lambda i, n, labels, g: torch.randn(n, 2, generator=g))
    watch(fit, model, ring, MixtureEvaluator(), 2, n_fake=2500)
    assert "high_quality" in recorder.alerts[0][2]


def test_many_classes_and_few_samples_are_no_collapse():
    """A perfect model of 1000 classes shows 918 of them in 2500 samples, at KL 0.2."""
    counts = torch.randint(1000, (2500,), generator=torch.Generator().manual_seed(0)).bincount()
    how = Protocol("mnist", "ab", "none", 2500, 2500, "test", "ema", 0, "cd")
    share = counts[counts > 0] / 2500
    extras = {
        "n_classes": 1000,
        "class_histogram": counts.tolist(),
        "modes_found": int((counts > 0).sum()),
        "class_kl": float((share * (share * 1000).log()).sum()),
    }
    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=lambda found: found))
    model = Idle(None)
    evaluation = Evaluation([Score("modes", extras["modes_found"], how)], extras)
    found = CollapseWatchdog().diagnose(trainer, model, evaluation)
    assert found["modes_share"] == pytest.approx(1, abs=0.05) and found["class_kl"] < 0.1


class ByFID:
    """An evaluator that gives a list of FIDs."""

    def __init__(self, *fids):
        self.fids = fids

    def evaluate(self, model, data, *, n_fake, **rest):
        how = Protocol("mnist", "ab", "none", 10, n_fake, "test", "ema", 0, "cd")
        fid = self.fids[model.iteration - 1]
        return Evaluation([Score("fid", fid, how)], {"fid": fid})


def test_fid_that_leaves_the_best_and_comes_back(fit, ring, recorder):
    evaluator = ByFID(4.0, 9.0, 5.0, 9.0, 9.0, 4.0, 9.0)
    watch(fit, Idle(None), ring, evaluator, 7)
    assert [(i, text) for i, _, text in recorder.alerts] == [
        (5, "fid_ratio 2.25 > 2: FID has left the run's best")
    ]
    assert recorder.states == [("running", recorder.alerts[0][2]), ("running", None)]


def test_what_it_remembers_survives_a_resume(fit, ring, recorder, tmp_path):
    first, _ = watch(fit, Idle(None), ring, ByFID(4.0, 9.0), 2)
    assert recorder.alerts == []
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = CollapseWatchdog(warmup_images=0)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    model = Idle(None)
    model.iteration, model.images_seen = 2, 128
    scores = Scores(every_images=64, n_fake=400)
    fit(model, ring, [scores, second], 3, ByFID(None, None, 9.0))
    assert [i for i, *_ in recorder.alerts] == [3]


def test_stop_ends_the_run_and_says_so(fit, ring, recorder):
    _, trainer = watch(fit, Idle(None), ring, ByFID(4, 9, 9, 9, 9), 5, action="stop")
    assert trainer.should_stop and trainer.lightning_module.iteration == 3
    assert recorder.alerts[0][2].endswith(". The run stops")
    assert recorder.states == [("collapsed", "fid_ratio 2.25 > 2: FID has left the run's best")]


def test_rollback_goes_back_and_scores_the_weights_it_went_back_to(fit, ring, recorder):
    seen = []

    class Weighs(ByFID):
        def evaluate(self, model, data, **rest):
            seen.append((model.iteration, model.weight.item()))
            return super().evaluate(model, data, **rest)

    def restore_best(model):
        model.weight.data.fill_(7.0)
        return True

    watchdog = CollapseWatchdog(warmup_images=0, action="rollback")
    watchdog.restore_best = restore_best
    callbacks = [Scores(every_images=64, n_fake=400), watchdog]
    fit(Idle(None), ring, callbacks, 5, Weighs(4, 9, 9, 9, 9))
    assert seen == [(1, 0.0), (2, 0.0), (3, 0.0), (3, 7.0)]
    assert "back at the best checkpoint" in recorder.alerts[0][2]
    assert [state for state, _ in recorder.states] == ["collapsed"]


def test_rollback_without_a_checkpoint_says_so(fit, ring, recorder):
    watch(fit, Idle(None), ring, ByFID(4, 9, 9, 9), 4, action="rollback")
    assert "no checkpoint is best" in recorder.alerts[0][2]


def test_without_a_run_the_console_is_told(fit, ring, capsys):
    callbacks = [Scores(every_images=64, n_fake=400), CollapseWatchdog(warmup_images=0)]
    fit(Idle(None), ring, callbacks, 3, ByFID(4, 9, 9), run=None)
    assert capsys.readouterr().err.count("collapse: fid_ratio 2.25 > 2") == 1


class Judge(nn.Module):
    """A discriminator whose logit is a multiple of the mean pixel, behind batch statistics."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.norm = nn.Parameter(torch.tensor(scale)), nn.BatchNorm2d(1)

    def forward(self, x):
        self.norm(x)
        return self.scale * (x.mean((1, 2, 3)) + 0.5)[:, None]


def gan(scale, shade=-1.0):
    class Shade(nn.Module):
        def __init__(self):
            super().__init__()
            self.shade = nn.Parameter(torch.tensor(shade))

        def forward(self, z):
            return self.shade.expand(len(z), 1, 28, 28)

    sgd = partial(torch.optim.SGD, lr=0.0)
    return DCGAN(G=Shade(), D=Judge(scale), optimizers={"G": sgd, "D": sgd}, latent_dim=2)


def test_discriminator_that_is_never_in_doubt(mnist):
    # Digits are mostly black: against white samples a steep judge of brightness is always right.
    steep = discriminator_health(gan(-200.0, 1.0), mnist)
    assert steep["D_saturation"] > 0.99 and steep["D_gap"] > 100
    flat = discriminator_health(gan(0.01), mnist)
    assert flat["D_saturation"] == 0 and abs(flat["D_gap"]) < 0.01


def test_looking_at_the_discriminator_changes_nothing(mnist):
    model = gan(1.0).train()
    with torch.no_grad():
        model.G.shade.fill_(0.5)  # away from the average, which is not what D plays against
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    gap = discriminator_health(model, mnist)["D_gap"]
    rows = [i * 60_000 // 256 for i in range(256)]
    real = mnist.real("train", rows).image.mean().item()
    assert gap == pytest.approx(real - 0.5, abs=1e-4)
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    assert (torch.get_rng_state() == random).all() and model.D.norm.training


class Knows(nn.Module):
    """A discriminator that has some images by heart; its layers stretch by 3 and by 0.5."""

    def __init__(self, images):
        super().__init__()
        self.register_buffer("images", images.flatten(1))
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        nn.init.eye_(self.layers[0].weight).data.mul_(3)
        nn.init.eye_(self.layers[1].weight).data.mul_(0.5)

    def forward(self, x):
        known = torch.cdist(x.flatten(1), self.images).amin(1) < 0.5
        weight = self.layers[0].weight[0, 0]
        return (weight * known + 0.1 * x.mean((1, 2, 3)))[:, None]


def by_heart(mnist):
    model = gan(1.0)
    model.D = Knows(mnist.real("train", [i * 60_000 // 256 for i in range(256)]).image)
    return model


def test_discriminator_that_knows_its_images_by_heart(fit, mnist, recorder):
    found = discriminator_health(by_heart(mnist), mnist)
    assert found["D_heldout_gap"] == pytest.approx(3, abs=0.05)
    assert found["D_overfitting"] == pytest.approx(found["D_heldout_gap"] / found["D_gap"])
    assert found["D_overfitting"] > 0.9
    assert found["D_spectral_max"] == pytest.approx(3)
    assert found["D_spectral_ratio"] == pytest.approx(6)
    watch(fit, by_heart(mnist), mnist, ByFID(4.0, 4.0), 2)
    ((iteration, _, text),) = recorder.alerts
    assert iteration == 2 and "by heart" in text


def test_discriminator_in_doubt_is_not_said_to_overfit(mnist):
    model = by_heart(mnist)
    model.D.images.fill_(9.0)  # knows nothing
    with torch.no_grad():
        model.G.shade.fill_(float(mnist.real("train", range(2000)).image.mean()))
    found = discriminator_health(model, mnist)
    assert abs(found["D_gap"]) < 0.01 and "D_overfitting" not in found
    assert abs(found["D_heldout_gap"]) < 0.01
    judge = discriminator_health(gan(-20.0, 1.0), mnist)  # sure by what all digits share
    assert abs(judge["D_overfitting"]) < 0.05


def test_spectrally_normalised_layers_are_as_they_were(mnist):
    model = gan(1.0).train()
    layer = spectral_norm(nn.Linear(5, 5))
    model.D.layer = layer
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = discriminator_health(model, mnist)
    assert found["D_spectral_max"] == pytest.approx(1, rel=0.3) and layer.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_players_out_of_balance(fit, mnist, recorder):
    model = gan(-200.0, 1.0)
    model.training_step = lambda *_: model.record(grad_norm_G=1e-3, grad_norm_D=100.0)
    watch(fit, model, mnist, ByFID(4.0, 4.0), 2)
    ((_, _, text),) = recorder.alerts
    assert "D_saturation 0.99" in text and "gradient_imbalance 1e+05 > 10000" in text


@pytest.mark.slow
def test_healthy_dcgan_raises_nothing(fit, mnist, recorder, evaluator):
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    model = DCGAN(
        G=DCGANGenerator(latent_dim=64, channels=1, resolution=28, width=32),
        D=DCGANDiscriminator(channels=1, resolution=28, width=32),
        optimizers={"G": adam, "D": adam},
        latent_dim=64,
    )
    scores, watchdog = Scores(every_images=20_000, n_fake=2000), CollapseWatchdog()
    fit(model, mnist, [scores, watchdog], 150_000 // 64, evaluator)
    rows = recorder.of("collapse")
    assert len(rows) == 8 and recorder.alerts == recorder.states == []
    last = rows[-1][1]
    assert last["modes_share"] == 1 and last["D_saturation"] < 0.9
    assert math.isfinite(last["D_gap"])
