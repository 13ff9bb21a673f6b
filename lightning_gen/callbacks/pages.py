"""Texts as pictures, and as files."""

import textwrap
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image

WIDTH = 96  # half-width characters in a line
FONTS = ("DejaVu Sans Mono", "Noto Sans Mono CJK JP", "Noto Sans CJK JP", "IPAGothic", "MS Gothic")
"""The first comes with matplotlib; the others have Japanese, where one of them is installed."""
SHOWN: dict[int, int | str] = {i: 0x2400 + i for i in range(32)}
SHOWN |= {9: "    ", 10: "\n", 13: "", 127: 0x2421}
"""Control characters are drawn as Unicode's pictures of them."""


def written(texts: Sequence[str]) -> str:
    """Texts one after the other, each below its number.

    Example:
        >>> print(written(["a", "b"]), end="")
        ----- 0 -----
        a
        ----- 1 -----
        b
    """
    return "".join(f"----- {i} -----\n{text}\n" for i, text in enumerate(texts))


def page(texts: Sequence[str]) -> Image.Image:
    """Draw texts one below the other, long lines broken.

    Characters that no font has are boxes; the text itself is for a file beside it.

    Args:
        texts: Any strings.

    Example:
        >>> page(["To be, or not to be:", "that is the question."]).mode
        'RGB'
    """
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [part for text in texts for part in [*_lines(text), "\u2500" * WIDTH]]
    height = 0.17 * len(lines) + 0.2
    figure = Figure(figsize=(8.4, height), dpi=100)
    canvas = FigureCanvasAgg(figure)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in FONTS if name in installed]
    for i, line in enumerate(lines):
        y = 1 - (0.1 + 0.17 * i) / height
        figure.text(0.01, y, line, family=fonts, size=8, va="top", parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _lines(text: str) -> list[str]:
    """The lines of a text, none longer than the page is wide."""
    broken = (
        textwrap.wrap(part, WIDTH, replace_whitespace=False, drop_whitespace=False)
        for part in text.translate(SHOWN).split("\n")
    )
    return [line for part in broken for line in (part or [""])]
