"""Randomness without state: a seed for everything is a function of what it is for.

No generator's state is ever saved. Step k of rank r, epoch e of the data, block j of the evaluation
each have the seed ``fold(seed, purpose, ...)``; resuming is a matter of knowing k.
"""

import hashlib
import operator


def fold(*parts: int | str) -> int:
    """Hash integers and words to a 63-bit seed, the same on every machine and Python.

    Args:
        parts: What the seed is for, e.g. ``(seed, "epoch", 3)``; integers of any kind are equal.

    Returns:
        An integer in [0, 2**63).

    Example:
        >>> fold(0, "epoch", 1) == fold(0, "epoch", 1), fold(0, "epoch", 1) == fold(0, "epoch", 2)
        (True, False)
    """
    plain = tuple(p if isinstance(p, str) else operator.index(p) for p in parts)
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
