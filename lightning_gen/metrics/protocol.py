"""What a score is: a number together with all that has to agree before it may be compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from lightning_gen.errors import MetricError


@dataclass(frozen=True)
class Protocol:
    """How a score was measured.

    Args:
        extractor: Network (``mnist``, ``inception``) or known mixture (``ring``) it is measured by.
        extractor_sha256: Hash of the network's weights file; empty for a mixture.
        resize: What was done to the size of the images before the network.
        n_real: Number of real samples.
        n_fake: Number of generated samples.
        split: Split the real samples are from; empty where there are none.
        weights: Whether samples are from averaged or raw weights.
        seed: Seed of the generated samples; repeats differ in it.
        data_fingerprint: Fingerprint of the prepared data.
        options: The metric's own parameters.
    """

    extractor: str
    extractor_sha256: str
    resize: str
    n_real: int
    n_fake: int
    split: str
    weights: Literal["ema", "raw"]
    seed: int
    data_fingerprint: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A measured number, or the reason why there is none.

    Args:
        metric: What is measured, e.g. ``fid``.
        value: The number; None when it was refused, and then ``note`` says why.
        protocol: How it was measured.
        ci: Half-width of what stands after +-; ``protocol.options["ci"]`` says what that is.
        note: A remark to print beside it.

    Example:
        >>> how = Protocol("mnist", "ab12", "none", 10000, 10000, "test", "ema", 0, "cd34")
        >>> score = Score("fid", 3.2, how)
        >>> score.name, Score.from_json(score.to_json()) == score
        ('fid_mnist@10k_test', True)
    """

    metric: str
    value: float | None
    protocol: Protocol
    ci: float | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """Metric, extractor, number of generated samples and split: ``fid_mnist@10k_test``."""
        n = self.protocol.n_fake
        count = f"{n // 1000}k" if n and n % 1000 == 0 else str(n)
        split = f"_{self.protocol.split}" if self.protocol.split else ""
        return f"{self.metric}_{self.protocol.extractor}@{count}{split}"

    def to_json(self) -> dict[str, Any]:
        """Give plain values for ``scores.json``, the name first."""
        return {"name": self.name} | asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_json`."""
        values = {k: v for k, v in row.items() if k != "name"}
        return cls(**(values | {"protocol": Protocol(**values["protocol"])}))


def comparable(a: Score, b: Score) -> list[str]:
    """Name what forbids comparing two scores; the seed does not, repeats differ in it.

    Returns:
        Differing fields, ``metric`` or a protocol's; an empty list means comparable.

    Example:
        >>> from dataclasses import replace
        >>> how = Protocol("mnist", "ab12", "none", 10000, 10000, "test", "ema", 0, "cd34")
        >>> other = replace(how, n_fake=5000, seed=1, options={"k": 3})
        >>> comparable(Score("recall", 0.5, how), Score("recall", 0.6, other))
        ['n_fake', 'options.k']
    """

    def flat(score: Score) -> dict[str, Any]:
        fields = {"metric": score.metric} | asdict(score.protocol)
        options = fields.pop("options")
        return {k: v for k, v in fields.items() if k != "seed"} | {
            f"options.{k}": v for k, v in options.items()
        }

    x, y = flat(a), flat(b)
    return [key for key in x | y if x.get(key) != y.get(key)]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one evaluation, and plain numbers of the same pass for the watchdog.

    Args:
        scores: One entry a metric, refused ones included.
        extras: Floats, integers and lists by name; only what was measured.
        pictures: Images to look at by name, bytes (N, C, H, W).
    """

    scores: list[Score]
    extras: dict[str, Any]
    pictures: dict[str, Any] = field(default_factory=dict, compare=False)

    def require(self) -> Self:
        """Return itself when every score has a value.

        Raises:
            MetricError: At least one score was refused; the reasons are named.
        """
        reasons = {s.note or "no value": s.name for s in self.scores if s.value is None}
        if reasons:
            raise MetricError("; ".join(reasons), where=", ".join(reasons.values()))
        return self
