"""Two sets of handwritten digits as two real domains."""

from collections.abc import Callable
from typing import Any, Literal

from lightning_gen.data.arrays import Prepared
from lightning_gen.data.mnist import MNIST
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.data.sourced import SourcedPairs
from lightning_gen.data.uci_digits import UCIDigits
from lightning_gen.data.usps import USPS
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt

SETS: dict[str, Callable[..., DataModule]] = {"mnist": MNIST, "uci": UCIDigits, "usps": USPS}


class Digits(SourcedPairs):
    """Digits of two sets, unpaired and labelled: what was learnt on one, does it hold on the other?

    Each is prepared as a set of its own: :class:`~lightning_gen.data.mnist.MNIST`,
    :class:`~lightning_gen.data.uci_digits.UCIDigits` (which needs no download) or
    :class:`~lightning_gen.data.usps.USPS`, white on black and scaled to one size.

    References:
        Hoffman et al., CyCADA: Cycle-Consistent Adversarial Domain Adaptation, 2017,
        arXiv:1711.03213.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        a: The first domain.
        b: The second.
        batch_size: Images of a minibatch of each domain over all devices.
        name: Name of the pair.
        channels: 1.
        resolution: Pixels of a side.
        channels_a: 1.
        resolution_a: As ``resolution``.
        num_classes: 10.
        split_seed: Of the division of UCI's digits into training and test digits.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training splits on the device.

    Raises:
        DataError: Both domains are the same.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        a: Literal["mnist", "uci", "usps"] = "mnist",
        b: Literal["mnist", "uci", "usps"] = "uci",
        name: str = "digits",
        channels: Literal[1] = 1,
        resolution: Literal[28, 32] = 28,
        channels_a: Literal[1] = 1,
        resolution_a: Literal[28, 32] | None = None,
        num_classes: Literal[10] = 10,
        split_seed: NonNegativeInt = 0,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        check_facts(
            channels=(channels, 1),
            channels_a=(channels_a, 1),
            resolution_a=(resolution_a or resolution, resolution),
            num_classes=(num_classes, 10),
        )
        if a in {b}:
            other = next(key for key in SETS if key not in {a})
            raise DataError(f"both domains are {a}", where="data.b", fix=f"data.b={other}")
        special = {"uci": {"split_seed": split_seed}}
        sources = [
            SETS[key](
                root, cache, batch_size=batch_size, resolution=resolution, **special.get(key, {})
            )
            for key in (a, b)
        ]
        super().__init__(
            *sources,
            batch_size=batch_size,
            name=name,
            shape=sources[1].shape,
            shape_a=sources[0].shape,
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits of each domain."""
        return {
            f"{split}_{domain}": source._set(split)
            for split in ("train", "test")
            for domain, source in zip(self.domains, self.sources, strict=True)
        }

    def recipe(self) -> dict[str, Any]:
        """Which set is which domain."""
        return {d: source.name for d, source in zip(self.domains, self.sources, strict=True)}
