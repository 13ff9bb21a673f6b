"""The ``paper:`` block of an experiment: what was published, how it was measured, what passes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_gen.types import NonNegativeFloat, PositiveInt

Evidence = Literal["read", "transcribed", "unconfirmed", "derived"]
Tier = Literal["minutes", "hour", "gpu"]


@dataclass(frozen=True)
class Measurement:
    """How a number was measured: fields of a score's protocol; those left out are not fixed.

    The fields are those of :class:`lightning_gen.metrics.protocol.Protocol`.
    """

    extractor: str | None = None
    extractor_sha256: str | None = None
    resize: str | None = None
    n_real: int | None = None
    n_fake: int | None = None
    split: str | None = None
    weights: Literal["ema", "raw"] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def fixed(self) -> dict[str, Any]:
        """The fields that are given, options as ``options.<name>``."""
        given = {k: v for k, v in vars(self).items() if v is not None and k != "options"}
        return given | {f"options.{k}": v for k, v in self.options.items()}


def words(band: tuple[float | None, float | None]) -> str:
    """Write a band: ``4 to 5``.

    Args:
        band: Lowest and highest value; null is no limit, at one side at most.
    """
    low, high = band
    if low == high:
        return f"exactly {low:g}"
    if low is None or high is None:
        return f"at most {high:g}" if high is not None else f"at least {low:g}"
    return f"{low:g} to {high:g}"


@dataclass(frozen=True)
class Early:
    """Where the numbers are to be after fewer images than the paper trains on.

    Args:
        images: Images of the shorter run.
        bands: By metric, the lowest and highest figure that is on course, as is a better one; null
            is no limit.
        why: How they follow from a learning curve: of a longer run, or of other seeds.
        seeds: Seeds that gave the bands, which are silent of them and judge the others alone.
    """

    images: PositiveInt
    bands: dict[str, tuple[float | None, float | None]]
    why: str
    seeds: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """One published number.

    Args:
        metric: Name of the score's metric.
        value: The number.
        band: Lowest and highest mean over seeds, or best seed (``over``), that count as reproduced;
            null is no limit.
        why: Where the band comes from.
        better: Which side of the band is better than the paper; null: leaving it is a failure.
        over: What of the seeds is held against the band: their mean or, where the paper shows the
            best of its runs, the best one (without ``better``, the nearest to the paper's).
        spread: What the paper prints after +-.
        spread_is: What that is.
        protocol: Fields of the protocol that this number has beside those of the whole block.
    """

    metric: str
    value: float
    band: tuple[float | None, float | None]
    why: str
    better: Literal["higher", "lower"] | None = None
    over: Literal["mean", "best"] = "mean"
    spread: NonNegativeFloat | None = None
    spread_is: str | None = None
    protocol: dict[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> str:
        """The band in words."""
        return words(self.band)


@dataclass(frozen=True)
class Cost:
    """Minutes of one seed on two CPU cores and on one GPU; null where it is not known."""

    cpu_minutes: NonNegativeFloat | None = None
    gpu_minutes: NonNegativeFloat | None = None


@dataclass(frozen=True)
class Paper:
    """What an experiment is measured by.

    Args:
        citation: Authors, title, venue, year.
        link: arXiv:..., doi:... or an address.
        table: Where in the paper the numbers stand; null where there are none.
        evidence: ``read`` in the paper or its authors' code, ``transcribed`` from somebody's
            copy, ``unconfirmed`` from memory, ``derived`` in closed form or by an exact count.
        source: Where exactly they were found.
        results: The published numbers; none where the paper has none for this.
        protocol: How they were measured.
        metrics: The choice of ``conf/metrics`` that measures so; null takes the experiment's own.
        images: Images that the paper trains on; null where nothing is trained or none is given.
        early: An :class:`Early`, by which a run of a smaller budget is judged; null: it is not.
        checkpoint: Which weights of a run the paper scores; ours are the last.
        departures: What the experiment does otherwise than the paper.
        seeds: Seeds of the repeats.
        tier: ``minutes``: among those that take half an hour on a CPU, all seeds of all together;
            ``hour``: hours on a CPU at most; ``gpu``.
        cost: Minutes of one seed.
    """

    citation: str
    link: str
    table: str | None = None
    evidence: Evidence = "unconfirmed"
    source: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    protocol: dict[str, Any] = field(default_factory=dict)
    metrics: str | None = None
    images: PositiveInt | None = None
    early: dict[str, Any] | None = None
    checkpoint: str | None = None
    departures: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    tier: Tier = "hour"
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def numbers(self) -> list[Result]:
        """The published numbers, typed."""
        return [Result(**result) for result in self.results]

    def early_at(self, images: int) -> Early | None:
        """The bands of a smaller budget, if a run has seen its images to a hundredth.

        Args:
            images: Images that the run has seen.
        """
        early = Early(**self.early) if self.early else None
        return early if early and early.images <= images <= 1.01 * early.images else None

    def measurement(self, result: Result) -> dict[str, Any]:
        """Every field of the protocol that one number fixes."""
        return Measurement(**merged(self.protocol, result.protocol)).fixed()

    @property
    def url(self) -> str:
        """The link as an address."""
        kind, _, name = self.link.partition(":")
        prefixes = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}
        return prefixes[kind] + name if kind in prefixes else self.link


def merged(protocol: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Lay fields of a protocol over others, option by option.

    Example:
        >>> merged({"n_fake": 10, "options": {"k": 3}}, {"n_fake": 5, "options": {"j": 1}})
        {'n_fake': 5, 'options': {'k': 3, 'j': 1}}
    """
    options = {**(protocol.get("options") or {}), **(more.get("options") or {})}
    return {**protocol, **more} | ({"options": options} if options else {})


def read_paper(block: Mapping[str, Any] | None) -> Paper | None:
    """Type a checked block.

    Args:
        block: The value of ``paper`` in a checked configuration.
    """
    return None if block is None else Paper(**block)
