"""Say aloud, while it happens, that a generator has collapsed."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.core import GenerativeModule, ImageBatch
from lightning_gen.functional.spectral import layer_norms
from lightning_gen.metrics.protocol import Evaluation
from lightning_gen.randomness import fold
from lightning_gen.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt

SURE = math.log(0.99 / 0.01)  # the logit of probability .99


@contextmanager
def unchanged(module: GenerativeModule) -> Iterator[None]:
    """Put running statistics and torch's generators back afterwards."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    devices = [module.device] if module.device.type in {"cuda"} else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(fold("watchdog"))
            yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)


@torch.no_grad()
def discriminator_health(module: Any, data: Any, n: int = 256) -> dict[str, float]:
    r"""See how the discriminator tells training data from the samples it plays against.

    It sees a batch of each, in the mode it is trained in: batch norm takes the batch's statistics.
    Where the data have a split that is not trained on, it sees a batch of that too: what it has
    learnt by heart are the training images that it holds for more real than those.

    References:
        Karras et al., Training Generative Adversarial Networks with Limited Data, 2020,
        arXiv:2006.06676, equation 1: r_v is 0 without overfitting, and 1 when held-out images are
        taken for generated ones.

    Args:
        module: A model with ``discriminate(x, labels) -> (N,)`` logits.
        data: Its data module.
        n: Samples of each kind.

    Returns:
        ``D_saturation``: share put on the right side with probability above .99;
        ``D_gap``: mean logit of real samples less that of generated ones;
        ``D_heldout_gap``: mean logit of training samples less that of held-out ones;
        ``D_overfitting``: r_v, the latter over the former, where D tells real from generated
        samples beyond doubt (by eight standard errors), for otherwise it is noise over noise;
        ``D_spectral_max``, ``D_spectral_ratio``: largest spectral norm of D's layers, and that over
        the smallest.
    """

    def real(split: str) -> ImageBatch:
        size = data.size(split)
        rows = torch.arange(min(n, size)) * size // min(n, size)  # files may be sorted by class
        return data.real(split, rows, module.device)

    def logits(x: Tensor, labels: Tensor | None) -> Tensor:
        return module.discriminate(x, labels if module.requires_labels else None).float()

    train, *others = data.splits
    x, labels = real(train)
    generator = torch.Generator().manual_seed(fold("watchdog"))
    with unchanged(module), module.raw_weights():
        asked = labels if module.requires_labels else None
        fake = logits(module.sample(len(x), labels=asked, generator=generator), labels)
        seen = logits(x, labels)
        unseen = logits(*real(others[-1])) if others else None
        norms = [norm for D in _discriminators(module) for norm in layer_norms(D).values()]
    sure = torch.cat([seen > SURE, fake < -SURE])
    gap = float(seen.mean() - fake.mean())
    found = {"D_saturation": float(sure.float().mean()), "D_gap": gap}
    if unseen is not None:
        found["D_heldout_gap"] = float(seen.mean() - unseen.mean())
        if gap > 8 * float(((seen.var() + fake.var()) / len(seen)).sqrt()):
            found["D_overfitting"] = found["D_heldout_gap"] / gap
    if norms:
        largest, smallest = float(max(norms)), float(min(norms))
        found["D_spectral_max"] = largest
        found["D_spectral_ratio"] = largest / smallest if smallest > 0 else math.inf
    return found


def _discriminators(module: Any) -> Iterator[torch.nn.Module]:
    """The networks that play against the generator."""
    for name in getattr(module, "adversaries", ()):
        if isinstance(network := getattr(module, name, None), torch.nn.Module):
            yield network


SMALLEST = 1e-12  # a gradient norm counts as at least this
BEYOND_FID = {"copied"}  # a better FID is no excuse: copies of training images have the best


class CollapseWatchdog(RunCallback):
    r"""Compare each evaluation with limits, and say which were crossed.

    Each evaluation is a "collapse" row of all diagnostics. One that is beyond its limit in
    ``patience`` evaluations in a row is a reason, which names value, limit and meaning: it stands
    in the run's status as long as it holds, and is an alert (console, history, W&B) when it begins.
    What is not measured (no classifier, no discriminator) is not judged.

    Note:
        The limits lie between what was measured at 2000 samples on MNIST, by the features of the
        classifier that ships: the DCGAN of ``experiments/dcgan_mnist.yaml`` from 60,000 images on
        (worst value of 300,000 images), and planted samplers.

        ================= ===== ======= ===== ======== ====== ====== ====== ======= =======
        \                 limit healthy  real one mode  3 of   blur   blur   noise  mean
                                               + noise 10     std 1  std 2          image
        ================= ===== ======= ===== ======== ====== ====== ====== ======= =======
        modes_share       > .9     1.00  1.00      .10    .30   1.00    .00     .00     .00
        class_kl          < .5      .25   .00     2.30   1.18    .00    .97     .33    2.30
        mean_confidence   > .5      .73   .99      .97    .99    .96    .33     .10     .27
        recall            > .05     .27   .95      .00    .39    .01    .00     .00     .00
        coverage          > .05     .10   .93      .00    .33    .12    .00     .00     .00
        pairwise_ratio    > .4      .63  1.02      .04    .84    .69    .15     .01     .00
        duplicate_rate    < .3      .00   .05     1.00    .16    .14   1.00    1.00    1.00
        D_saturation      < .95     .02
        gradient ratio    < 1e4     230
        ================= ===== ======= ===== ======== ====== ====== ====== ======= =======

        Limits of other kinds of collapse, at the same number of samples: healthy is the worst of
        seven trained GANs of six papers, the others are images of the test set (real) or of the
        training set, a sixth of which the evaluations looked at.

        ================= ===== ======= ===== ======== ====== ====== ======== ===== =====
        \                 limit healthy  real training one a  ten a  half the 3 of  mean
                                               copies   class  class  same     10    image
        ================= ===== ======= ===== ======== ====== ====== ======== ===== =====
        ms_ssim_excess    < .3      .16   .02     -.01    .63    .08      .08  -.08   .65
        bin_js_excess     < .25     .11   .00      .00    .51    .18      .20   .26   .64
        copied            < .3      .00   .00      .97   1.00   1.00      .38  1.00   .00
        D_overfitting     < .5      .18
        ================= ===== ======= ===== ======== ====== ====== ======== ===== =====

        FID never rose above 1.03 times its best in that run. Of 64 published training logs 15 end
        at twice their own best FID or more, and one of those would have recovered. WGAN-GP on the
        ring had 11 % of its points near a mode after 250,000 images and 61 % after a million.

    Args:
        action: Say it; or also stop the run; or also go back to the weights of the best checkpoint
            and stop.
        patience: Evaluations in a row that a limit has to be crossed in.
        warmup_images: Nothing is judged before, for no untrained model is collapsed.
        learning: A FID below this share of the run's best before is progress: the model still
            learns, and this evaluation is not judged, but for copies of training images.
        min_modes: Least share of the classes or modes that a perfect model would show.
        max_class_kl: Most KL (nats) of the class histogram to uniform, beyond that of a perfect
            model.
        min_confidence: Least mean probability the classifier gives to the class it sees.
        min_high_quality: Least share of points within 3 standard deviations of a mode.
        min_recall: Least share of real samples within reach of a generated one.
        min_coverage: Least share of real samples that have a generated one within reach.
        min_pairwise_ratio: Least mean distance between samples, relative to real ones.
        max_duplicate_rate: Most samples with a near copy; a perfect model has 1 %.
        max_ms_ssim_excess: Most similarity (MS-SSIM) of two samples of a class beyond that of two
            training images of it.
        max_bin_js_excess: Most JS divergence (nats, at most .69) of the shares of samples in cells
            of the training images, beyond that of a perfect model.
        max_copied: Most samples that are copies of training images.
        max_fid_ratio: Most FID relative to the run's best before, of as many samples.
        max_D_saturation: Most samples, real and generated, that the discriminator is right about
            with probability above .99: G has nothing left to learn from.
        max_D_overfitting: Most share of the gap between real and generated logits that lies between
            training and held-out images.
        max_gradient_ratio: Most one player's gradient norm may be times the other's.
    """

    def __init__(
        self,
        *,
        action: Literal["alert", "stop", "rollback"] = "alert",
        patience: PositiveInt = 2,
        warmup_images: NonNegativeInt = 50_000,
        learning: Fraction = 0.95,
        min_modes: Fraction = 0.9,
        max_class_kl: NonNegativeFloat = 0.5,
        min_confidence: Fraction = 0.5,
        min_high_quality: Fraction = 0.05,
        min_recall: Fraction = 0.05,
        min_coverage: Fraction = 0.05,
        min_pairwise_ratio: Fraction = 0.4,
        max_duplicate_rate: Fraction = 0.3,
        max_ms_ssim_excess: Fraction = 0.3,
        max_bin_js_excess: Fraction = 0.25,
        max_copied: Fraction = 0.3,
        max_fid_ratio: NonNegativeFloat = 2.0,
        max_D_saturation: Fraction = 0.95,
        max_D_overfitting: NonNegativeFloat = 0.5,
        max_gradient_ratio: NonNegativeFloat = 10_000.0,
    ) -> None:
        self.stops, self.rolls_back = action != "alert", action == "rollback"
        self.patience, self.warmup_images, self.learning = patience, warmup_images, learning
        self.at_least = {
            "modes_share": (min_modes, "classes or modes of the data are missing"),
            "mean_confidence": (min_confidence, "samples look like no class: noise or blur"),
            "high_quality": (min_high_quality, "samples lie between the modes"),
            "recall": (min_recall, "most real samples are out of the generator's reach"),
            "coverage": (min_coverage, "most real samples have no sample near them"),
            "pairwise_ratio": (min_pairwise_ratio, "samples are alike"),
        }
        self.at_most = {
            "class_kl": (max_class_kl, "few classes have most of the samples"),
            "duplicate_rate": (max_duplicate_rate, "samples are copies of each other"),
            "ms_ssim_excess": (max_ms_ssim_excess, "the samples of a class are alike"),
            "bin_js_excess": (max_bin_js_excess, "samples crowd into parts of the data"),
            "copied": (max_copied, "samples are copies of training images"),
            "fid_ratio": (max_fid_ratio, "FID has left the run's best"),
            "D_saturation": (max_D_saturation, "the discriminator is never in doubt"),
            "D_overfitting": (max_D_overfitting, "the discriminator knows its images by heart"),
            "gradient_imbalance": (max_gradient_ratio, "one player has stopped learning"),
        }
        self.restore_best: Callable[[Any], bool] | None = None
        self.best_fid: dict[str, float] = {}
        self.streak: dict[str, int] = {}
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        """Remember the best FID of each protocol, and how long each limit has been crossed."""
        return {"best_fid": dict(self.best_fid), "streak": dict(self.streak)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Recall them."""
        self.best_fid, self.streak = dict(state_dict["best_fid"]), dict(state_dict["streak"])

    def on_evaluation(self, trainer: pl.Trainer, pl_module: Any, evaluation: Evaluation) -> None:
        """Diagnose, write the row, and say what is new."""
        found = self.diagnose(trainer, pl_module, evaluation)
        learns = found.get("fid_ratio", 1.0) < self.learning
        crossed = self.crossed(found) if pl_module.images_seen >= self.warmup_images else {}
        if learns:
            crossed = {name: why for name, why in crossed.items() if name in BEYOND_FID}
        before = {name for name, n in self.streak.items() if n >= self.patience}
        self.streak = {name: self.streak.get(name, 0) + 1 for name in crossed}
        reasons = {name: crossed[name] for name, n in self.streak.items() if n >= self.patience}
        if self.run is not None:
            row = found | {"reasons": float(len(reasons))}
            self.run.log("collapse", pl_module.iteration, pl_module.images_seen, row)
        if self.stopped or reasons.keys() == before:
            return
        if new := [reason for name, reason in reasons.items() if name not in before]:
            self.act(trainer, pl_module, new)
        if self.run is not None:
            state = "collapsed" if self.stopped else "running"
            self.run.set_status(state, reason="; ".join(reasons.values()) or None)

    def act(self, trainer: pl.Trainer, module: Any, reasons: list[str]) -> None:
        """Say the reasons; stop, after going back to the best weights, where that is asked for."""
        text = "; ".join(reasons)
        if self.rolls_back:
            restored = self.restore_best is not None and self.restore_best(module)
            weights = "back at the best checkpoint" if restored else "left: no checkpoint is best"
            text += f". The run stops; its weights are {weights}"
        elif self.stops:
            text += ". The run stops"
        if self.stops:
            self.stopped = trainer.should_stop = True
        if self.run is not None:
            self.run.alert("collapse", text)
        else:
            self.say(trainer, f"collapse: {text}")

    def crossed(self, found: dict[str, float]) -> dict[str, str]:
        """Name the limits that diagnostics are beyond, each with its reason.

        Example:
            >>> CollapseWatchdog().crossed({"modes_share": 0.3, "recall": 0.4})
            {'modes_share': 'modes_share 0.3 < 0.9: classes or modes of the data are missing'}
        """
        low = {k: (v, "<", *self.at_least[k]) for k, v in found.items() if k in self.at_least}
        high = {k: (v, ">", *self.at_most[k]) for k, v in found.items() if k in self.at_most}
        return {
            name: f"{name} {value:.3g} {sign} {limit:g}: {meaning}"
            for name, (value, sign, limit, meaning) in (low | high).items()
            if (value < limit if name in low else value > limit)
        }

    def diagnose(
        self, trainer: pl.Trainer, module: Any, evaluation: Evaluation
    ) -> dict[str, float]:
        """Collect every diagnostic there is, equal on all ranks."""
        extras = evaluation.extras
        names = (*self.at_least, *self.at_most)
        found = {name: float(extras[name]) for name in names if extras.get(name) is not None}
        if extras.get("n_classes"):
            n, classes = sum(extras["class_histogram"]), extras["n_classes"]
            n_fake = next(s.protocol.n_fake for s in evaluation.scores if s.metric in {"modes"})
            expected = classes * -math.expm1(-n_fake / classes)  # seen by a perfect model
            found["modes_share"] = extras["modes_found"] / expected
            found["class_kl"] = max(0.0, found["class_kl"] - (classes - 1) / (2 * max(n, 1)))
        for score in evaluation.scores:
            if score.metric in {"fid"} and score.value is not None:
                best = self.best_fid.get(score.name, score.value)
                self.best_fid[score.name] = min(score.value, best)
                found["fid_ratio"] = score.value / best if best > 0 else 1.0
        if hasattr(module, "discriminate"):
            found |= discriminator_health(module, trainer.datamodule)  # type: ignore[attr-defined]
        norms = [module.recorded.get(f"grad_norm_{player}") for player in ("G", "D")]
        if None not in norms:  # a hinge that nobody crosses leaves D no gradient at all
            G, D = (max(float(norm), SMALLEST) for norm in norms)
            ratio = G / D
            found |= {"gradient_ratio": ratio, "gradient_imbalance": max(ratio, 1 / ratio)}
        return {k: v for k, v in trainer.strategy.broadcast(found).items() if math.isfinite(v)}
