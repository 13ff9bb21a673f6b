"""Turn a file of two pictures, or two files, into a pair of arrays.

This module is imported by the decoding processes, so it needs no more than Pillow and numpy.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_gen.data.pictures import BadPicture, Policy, reasons, to_array, upright

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def decode_halves(path: Path, policies: tuple[Policy, Policy]) -> Pair:
    """Read a picture that is two, side by side.

    Args:
        path: The file.
        policies: What is wanted of the left and of the right half.

    Returns:
        Both halves, (C, H, W) each.

    Raises:
        BadPicture: It cannot be read, cannot be halved, or a policy refuses it.
    """
    with reasons():
        image = upright(path)
        if image.width % 2:
            raise BadPicture(f"is {image.width} x {image.height}: an odd width has no halves")
        half = image.width // 2
        boxes = [(left, 0, left + half, image.height) for left in (0, half)]
        left, right = (to_array(image.crop(box), p) for box, p in zip(boxes, policies, strict=True))
        return left, right


def decode_partners(paths: tuple[Path, Path], policies: tuple[Policy, Policy]) -> Pair:
    """Read two pictures of equal size, or of the sizes that their policies have.

    Args:
        paths: The files.
        policies: What is wanted of the first and of the second.

    Returns:
        Both, (C, H, W) each.

    Raises:
        BadPicture: One of them cannot be read, a policy refuses it, or their sizes differ.
    """
    first, second = paths
    with reasons():
        image = upright(first)
        one = to_array(image, policies[0])
    try:
        with reasons():
            partner = upright(second)
            two = to_array(partner, policies[1])
    except BadPicture as error:
        raise BadPicture(f"has a partner, {second}, that cannot be used: {error}") from error
    here, there = (policy.resolution for policy in policies)
    sides = zip(image.size, partner.size, strict=True)
    if image.size != partner.size and any(x * there != y * here for x, y in sides):
        sizes = f"is {image.width} x {image.height}"
        raise BadPicture(f"{sizes}, its partner {second} is {partner.width} x {partner.height}")
    return one, two
