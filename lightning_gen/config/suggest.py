"""The nearest right word for a wrong one."""

from collections.abc import Iterable

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

ELSEWHERE = 0.8  # similarity of a key whose last part is right and which lies elsewhere


def nearest(word: str, choices: Iterable[str], n: int = 3, cutoff: float = 0.5) -> list[str]:
    """The choices most like a word, by edit distance (a swap of two letters is one edit).

    Args:
        word: What was written.
        choices: What could have been meant.
        n: At most so many.
        cutoff: Least similarity in [0, 1].

    Example:
        >>> nearest("dcgna", ["gan", "wgan_gp", "dcgan"])
        ['dcgan']
    """
    return _best(_similarities(word, choices), n, cutoff)


def nearest_key(key: str, keys: Iterable[str], n: int = 3) -> list[str]:
    """The dotted keys most like a dotted key, or those of the same last part elsewhere.

    Example:
        >>> keys = ["trainer.devices", "model.optimizers.G.lr", "data.batch_size"]
        >>> nearest_key("trainer.device", keys), nearest_key("lr", keys)
        (['trainer.devices'], ['model.optimizers.G.lr'])
    """
    leaf = key.rpartition(".")[2]
    scores = _similarities(key, keys)
    for k in (k for k in scores if k.rpartition(".")[2] in {leaf}):
        scores[k] = max(scores[k], ELSEWHERE)
    return _best(scores, n, 0.65)


def did_you_mean(words: list[str]) -> str:
    """A clause for an error message, empty without suggestions."""
    return f"; did you mean {' or '.join(repr(w) for w in words)}?" if words else ""


def _similarities(word: str, choices: Iterable[str]) -> dict[str, float]:
    similarity = OSA.normalized_similarity
    found = extract(word, list(choices), scorer=similarity, processor=str.casefold, limit=None)
    return {choice: score for choice, score, _ in found}


def _best(scores: dict[str, float], n: int, cutoff: float) -> list[str]:
    top = sorted(scores.items(), key=lambda item: -item[1])[:n]
    return [word for word, score in top if score >= cutoff and score >= top[0][1] - 0.25]
