"""Pictures of all runs, small enough to lie in one page."""

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from lightning_gen.tracking.records import DAMAGE, Picture, one_line
from lightning_gen.tracking.report.groups import Group

SIDE = 384  # pixels of the longer side
QUALITY = 80
MOST = 400  # pictures on the page
FEWEST, MOST_STEPS = 4, 40  # points in time of a run


def encode(data: bytes) -> str:
    """Turn a picture into the address of a small WebP.

    Args:
        data: A picture file.

    Returns:
        A ``data:`` address.
    """
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
        small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(buffer, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def films(groups: Sequence[Group]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Make a film of each run's pictures of each kind; equal real data are shown once.

    Args:
        groups: All groups.

    Returns:
        Films ready for JSON, ``frames`` being ``[images seen, address]`` in order; and how many
        pictures there were and are shown, and those that could not be read.
    """
    from PIL import Image

    records = [(i, record) for i, group in enumerate(groups) for record in group.records]
    steps = int(np.clip(MOST // max(len(records), 1), FEWEST, MOST_STEPS))
    count: dict[str, Any] = {"found": 0, "shown": 0, "steps": steps, "failed": []}
    made: list[dict[str, Any]] = []
    seen: set[str] = set()
    for i, record in tqdm(records, "pictures", unit="run", leave=False, disable=None):
        for key in dict.fromkeys(picture.key for picture in record.pictures):
            found = [picture for picture in record.pictures if picture.key == key]
            count["found"] += len(found)
            frames: list[tuple[int, str]] = []
            for picture in _spaced(found, steps):
                try:
                    frames.append((picture.images_seen, encode(picture.load())))
                except (*DAMAGE, Image.DecompressionBombError) as error:
                    count["failed"].append(
                        f"{record.name}, {key} at {picture.images_seen:,}: {one_line(error)}"
                    )
            is_real = key in {"real"}
            if is_real:
                new = hashlib.sha256("".join(src for _, src in frames).encode()).hexdigest()
                frames = [] if new in seen else frames
                seen.add(new)
            if frames:
                data = record.config.get("data")
                name = data.get("name") if isinstance(data, dict) else None
                label = f"real data: {name}" if is_real else f"seed {record.seed}"
                made.append(
                    {"key": key, "group": i, "label": label, "real": is_real, "frames": frames}
                )
                count["shown"] += len(frames)
    return made, count


def _spaced(pictures: list[Picture], steps: int) -> list[Picture]:
    """Keep so many points in time, evenly, with the first and the last."""
    if len(pictures) <= steps:
        return pictures
    return [pictures[i] for i in np.linspace(0, len(pictures) - 1, steps).round().astype(int)]
