"""The contract between a model and everything around it.

A model is a :class:`GenerativeModule`. What can be measured of it follows from the methods it has:

=================================================  ============================================
it has                                             then
=================================================  ============================================
``sample(n, *, labels=None, generator=None)``      sample grid, FID, IS, KID, PRDC, modes, watchdog
``log_likelihood(x, samples=, generator=)``        NLL and bits/dim
``reconstruct(x)``                                 reconstruction error, anomaly ROC-AUC
``encode(x)``                                      latent map, linear probe, 1-NN
``translate(x, to)``                               KID/FID both ways, cycle distance
``features(x)``                                    linear probe of reused features
=================================================  ============================================

Images are float in [-1, 1], of shape (N, C, H, W); two-dimensional mixtures are (N, 2). Binarised
pixels are -1 and 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_gen.randomness import fold


class ImageBatch(NamedTuple):
    """Images (N, C, H, W) in [-1, 1] or points (N, 2); labels (N,) or attributes (N, A), if any."""

    image: Tensor
    label: Tensor | None = None


class PairBatch(NamedTuple):
    """Images of two domains, paired or drawn side by side: floats (N, C, H, W) in [-1, 1]."""

    a: Tensor
    b: Tensor
    label_a: Tensor | None = None
    label_b: Tensor | None = None


class GenerativeModule(pl.LightningModule):
    """A model on one long stream of steps.

    Time is ``images_seen`` (real images consumed over all devices) and ``iteration`` (calls of
    ``training_step``, the present one included); Lightning's ``global_step`` is not used.

    All randomness of a step is a function of (seed, iteration, rank): :meth:`randn`, :meth:`rand`
    and :meth:`randint` draw for the *global* batch and keep this rank's rows, so the numbers do not
    depend on how many devices share it; anything else (dropout) draws from torch's generator,
    which is distinct on each rank.
    """

    requires_labels: ClassVar[bool] = False
    players: ClassVar[tuple[str, ...]] = ("model",)
    likelihood_kind: str = "exact"
    """Of a model with ``log_likelihood``: "exact", "lower bound", or "estimate"."""
    likelihood_space: str = "binary"
    """What its density is of: "binary" pixels, "unit" ([0, 1], dequantised), "logit", "bytes" (256
    levels), or "points"."""
    measured: ClassVar[tuple[str, ...]] = ()
    """What is measured of real images beside any samples: "likelihood", "reconstruction"."""
    takes: ClassVar[str] = "images"
    """What a batch has to be: "images", "pairs" of two domains, or "paired" images of them,
    "captions" beside images, or "text": windows of tokens (N, T) in place of images."""
    sampling: ClassVar[tuple[str, ...]] = ()
    """Names of attributes that say how samples are drawn, e.g. the number of steps: they may be
    changed after training, and are part of the protocol of every score of samples."""
    minibatches: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.seed = 0
        self.iteration = 0
        self.images_seen = 0
        self.images_per_iteration = 0
        self.recorded: dict[str, Tensor] = {}
        self._draws: torch.Generator | None = None
        self._raw = False

    def on_fit_start(self) -> None:
        """Show the mean of the data, where they tell it, to networks that start there."""
        mean = getattr(getattr(self.trainer, "datamodule", None), "mean", None)
        starting: list[Any] = [m for m in self.modules() if hasattr(m, "start_at")]
        if self.iteration == 0 and mean is not None and starting:
            image = mean(self.device)
            for network in starting:
                network.start_at(image)

    def first_images(self, n: int) -> Tensor | None:
        """Training images, chosen at random, that networks may start from in :meth:`on_fit_start`.

        Args:
            n: How many; those of a smaller set come again.

        Returns:
            Images (n, C, H, W) in [-1, 1] or points (n, 2), on this device; None without data, and
            in a run that goes on.
        """
        data = getattr(self.trainer, "datamodule", None)
        if self.iteration or data is None:
            return None
        split = data.splits[0]
        draws = torch.Generator().manual_seed(fold(self.seed, "first images"))
        rows = torch.randperm(data.size(split), generator=draws)
        return data.real(split, rows[torch.arange(n) % len(rows)], self.device).image

    def checked(self, labels: Tensor | None) -> Tensor | None:
        """Labels on this device, if they are there when they have to be and not otherwise.

        Raises:
            ValueError: They are not.
        """
        if (labels is None) == self.requires_labels:
            no, what = ("", "be given") if self.requires_labels else (" not", "be None")
            raise ValueError(f"{type(self).__name__} is{no} conditional: labels must {what}")
        return labels if labels is None else labels.to(self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Advance time, set every random stream of this step, and record anew."""
        self.recorded.clear()
        self.iteration += 1
        self.images_per_iteration = len(batch[0]) * self.trainer.world_size
        self.images_seen += self.images_per_iteration
        self.seed_iteration()

    @property
    def images_before(self) -> int:
        """Images seen before the present step."""
        return self.images_seen - self.images_per_iteration

    def seed_iteration(self) -> None:
        """Set the random streams of a step from (seed, iteration, rank)."""
        seed = fold(self.seed, "rank", self.iteration, self.global_rank)
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":  # torch.manual_seed would seed all, absent ones slowly
            torch.get_device_module(self.device).manual_seed(seed)
        if self._draws is None or self._draws.device != self.device:
            self._draws = torch.Generator(self.device)
        self._draws.manual_seed(fold(self.seed, "global", self.iteration))

    def record(self, **values: Tensor | float) -> None:
        """Keep this step's scalars, detached, for whoever logs; nothing is synchronised."""
        for name, value in values.items():
            self.recorded[name] = torch.as_tensor(value).detach()

    def randn(self, n: int, *shape: int) -> Tensor:
        """Draw this rank's (n, *shape) rows of a standard normal for the global batch."""
        return self._global_rows(torch.randn, n, shape, dtype=self.dtype)

    def rand(self, n: int, *shape: int) -> Tensor:
        """Draw this rank's (n, *shape) rows of U[0, 1) for the global batch."""
        return self._global_rows(torch.rand, n, shape, dtype=self.dtype)

    def randint(self, high: int, n: int, *shape: int) -> Tensor:
        """Draw this rank's (n, *shape) rows of integers in [0, high) for the global batch."""

        def draw(*size: int, **kwargs: Any) -> Tensor:
            return torch.randint(high, size, **kwargs)

        return self._global_rows(draw, n, shape)

    def _global_rows(self, draw: Any, n: int, shape: tuple[int, ...], **kind: Any) -> Tensor:
        world = self.trainer.world_size if self._trainer is not None else 1
        if self._draws is None:
            self.seed_iteration()
        rows = draw(n * world, *shape, generator=self._draws, device=self.device, **kind)
        return rows[self.global_rank * n : (self.global_rank + 1) * n]

    def compile_networks(self) -> None:
        """Compile the networks in place; a model without any to compile leaves this as it is."""

    @property
    def has_ema(self) -> bool:
        """Whether samples come from averaged weights."""
        return False

    @contextmanager
    def raw_weights(self) -> Iterator[None]:
        """Sample from the weights as trained instead of their moving average."""
        before, self._raw = self._raw, True
        try:
            yield
        finally:
            self._raw = before
