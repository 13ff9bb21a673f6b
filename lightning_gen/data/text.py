"""Text of one's own, as bytes or characters."""

import hashlib
import json
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.data.arrays import Prepared, Writer, read
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.errors import DataError
from lightning_gen.types import Fraction, PositiveInt

BYTES = 256
FIX = "data.path=FILE, or a folder of .txt files"
UNKNOWN = 0
"""The character that stands for all that are not in the vocabulary."""
SCALARS = 0x110000 - 0x800
"""Characters that Unicode has room for: what an unknown one is told from."""


def help_text() -> str:
    """The language reference that Python's help() has: each paragraph once, in alphabetical order.

    Raises:
        DataError: This Python comes without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python comes without the text of its help()",
            where="data.path",
            fix="data.path=FILE, a text of yours",
        ) from error
    paragraphs = (p for name in sorted(topics) for p in topics[name].split("\n\n"))
    once = {" ".join(p.split()): p for p in paragraphs}  # topics quote one another
    return "\n\n".join(p for key, p in once.items() if key) + "\n"


def decoded(raw: bytes, where: Path) -> str:
    """Text of the bytes of a file, without a byte order mark.

    Raises:
        DataError: It is not UTF-8, or not text.

    Example:
        >>> decoded("夏草や".encode(), Path("basho.txt"))
        '夏草や'
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        offset = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        raise DataError(
            f"not UTF-8: byte 0x{raw[offset]:02x} at offset {offset} ({error.reason})",
            where=where,
            fix=f"iconv -f ENCODING -t UTF-8 {where.name}, with the encoding it has",
        ) from error
    if (offset := raw.find(b"\0")) >= 0:
        what = f"a NUL at offset {offset}: this is no text"
        raise DataError(what, where=where, fix="a file of UTF-8 text, without NUL")
    return text


def texts_in(path: Path) -> str:
    """The text of a file, or of all .txt files below a folder in the order of their names.

    Raises:
        DataError: There is none, or one is not text.
    """
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    try:
        text = "\n".join(decoded(file.read_bytes(), file) for file in files)
    except OSError as error:
        what = f"the text cannot be read: {error.strerror or error}"
        raise DataError(what, where=path, fix=FIX) from error
    if not text.strip():
        what = "there is no text" if files else "there is no .txt file"
        raise DataError(what, where=path, fix=FIX)
    return text


class TextSet(ImageSet):
    """Windows of a text, at every multiple of a stride and at its end.

    Args:
        tokens: (T,) of the whole text.
        length: Tokens of a window.
        stride: From one window to the next, no more than the length.

    Example:
        >>> windows = TextSet(np.arange(7, dtype=np.uint8), length=3, stride=2)
        >>> windows.gather(np.arange(len(windows))).image.tolist()
        [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    """

    def __init__(self, tokens: NDArray[Any], *, length: int, stride: int) -> None:
        super().__init__(tokens)
        self.shape, self.stride = (length,), stride

    def __len__(self) -> int:
        return -(-(len(self.images) - self.shape[0]) // self.stride) + 1

    def gather(self, indices: NDArray[np.int64], *, pin: bool = False) -> ImageBatch:
        """Copy some windows out of the text: tokens (n, length)."""
        (length,) = self.shape
        first = np.minimum(indices * self.stride, len(self.images) - length)
        rows = self.images[first[:, None] + np.arange(length)]
        tokens = torch.from_numpy(rows if rows.dtype == np.uint8 else rows.astype(np.int32))
        return ImageBatch(tokens.pin_memory() if pin else tokens)


class Text(DataModule):
    """A text in UTF-8: a file, or all .txt files below a folder, joined by line breaks.

    A sample is a window of the text. Its last part is the test split, cut between the same two
    characters for both kinds of tokens. Characters that are not in the vocabulary are one unknown
    token, whose number is 0; how many there are stands in ``meta.json``. Once the arrays are made,
    the text itself is not needed.

    Without a path the text is the language reference that Python's own help() has, 0.4 MB in
    English, which differs a little between Python's versions.

    Args:
        root: Folder of all data sets; the arrays go below ``root/name``.
        cache: Folder for downloads; unused.
        path: The file or folder; None is the text that comes with Python.
        batch_size: Windows of a minibatch over all devices.
        name: Name of the data set.
        channels: None: text, not images.
        resolution: None: text, not images.
        tokens: Tokens are "bytes" of UTF-8 or "characters".
        vocabulary: How many tokens there are: 256 bytes, or the most frequent characters of the
            training split and the unknown one.
        length: Tokens of a window.
        stride: From one training window to the next; null is the length, so that none overlap.
        holdout: Share of the text that is the test split.
        num_classes: None.
    """

    gives: ClassVar[tuple[str, ...]] = ("text",)

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        path: str | None = None,
        name: str = "text",
        channels: None = None,
        resolution: None = None,
        tokens: Literal["bytes", "characters"] = "bytes",
        vocabulary: PositiveInt = BYTES,
        length: PositiveInt = 128,
        stride: PositiveInt | None = 16,
        holdout: Fraction = 0.1,
        num_classes: None = None,
    ) -> None:
        nothing = {"channels": channels, "resolution": resolution, "num_classes": num_classes}
        check_facts(**{key: (said, None) for key, said in nothing.items()})
        if tokens in {"bytes"}:
            check_facts(vocabulary=(vocabulary, BYTES))
        super().__init__(
            root, cache, batch_size=batch_size, name=name, shape=(length,), num_classes=None
        )
        self.source = Path(path).expanduser() if path else None
        self.tokens, self.vocabulary, self.holdout = tokens, vocabulary, holdout
        self.length, self.stride = length, min(stride or length, length)

    def recipe(self) -> dict[str, Any]:
        """Tokens, and the share of the test split."""
        return {"tokens": self.tokens, "vocabulary": self.vocabulary, "holdout": self.holdout}

    def listing(self) -> dict[str, Any]:
        """Hash of the text."""
        return {"text": hashlib.sha256(self.text.encode()).hexdigest()}

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return help_text() if self.source is None else texts_in(self.source)

    @property
    def folder(self) -> Path:
        """Folder of the prepared arrays: each path has its own, and makes no other fingerprint."""
        where = str(self.source.resolve()) if self.source else None
        key = json.dumps([self.recipe(), where], sort_keys=True)
        return self.root / self.name / f"arrays-{hashlib.sha256(key.encode()).hexdigest()[:8]}"

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Make the arrays, unless it was done; the text need not be there if it was."""
        if fresh or self.source is None or self.source.exists() or not self.folder.is_dir():
            super().prepare_data(fresh=fresh)
            self.__dict__.pop("text", None)

    def write(self, writer: Writer) -> str:
        """Divide the text, and number its tokens."""
        cut = round(len(self.text) * (1 - self.holdout))
        parts = {"train": self.text[:cut], "test": self.text[cut:]}
        if not all(parts.values()):
            what = f"{len(self.text)} characters leave none for one of the splits"
            where = self.source or "data.path"
            raise DataError(what, where=where, fix="a longer text, or data.holdout=0.1")
        if self.tokens in {"characters"}:
            often = sorted(Counter(parts["train"]).items(), key=lambda pair: (-pair[1], pair[0]))
            known = [ord(c) for c, _ in often[: self.vocabulary - 1]]
            writer.save("characters", np.array([UNKNOWN, *known], np.int32))
            places = {chr(c): i for i, c in enumerate(known, 1)}
        for split, part in parts.items():
            if self.tokens in {"bytes"}:
                writer.save(split, np.frombuffer(part.encode(), np.uint8))
                continue
            ids = np.fromiter((places.get(c, UNKNOWN) for c in part), np.int32, len(part))
            writer.save(split, ids.astype(np.uint16 if self.vocabulary <= 2**16 else np.int32))
            writer.save(f"{split}_bytes", np.array([len(c.encode()) for c in part], np.uint8))
            writer.note[f"{split}_unknown"] = int((ids == UNKNOWN).sum())
        return str(self.source or "Python's help()")

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and test; windows of the latter do not overlap."""
        found: dict[str, ImageSet] = {}
        for split, stride in (("train", self.stride), ("test", self.length)):
            tokens = prepared.array(split)
            if len(tokens) < self.length:
                what = f"the {split} split has {len(tokens)} tokens, less than a window"
                fix = f"a longer text, or data.length={max(1, len(tokens))} or less"
                raise DataError(what, where=self.source or "data.path", fix=fix)
            found[split] = TextSet(tokens, length=self.length, stride=stride)
        return found

    def decode(self, image: Tensor) -> Tensor:
        """Tokens as what embeddings take."""
        return image.long()

    def text_fingerprint(self, split: str) -> str:
        """SHA-256 of the text and how it was divided, the same for both kinds of tokens."""
        recipe = read(self.folder).meta["recipe"]
        key = json.dumps([recipe["text"], recipe["holdout"], split])
        return hashlib.sha256(key.encode()).hexdigest()

    def stream_of(self, split: str) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        """The whole of a split.

        Returns:
            Tokens (T,), and how many bytes each has in UTF-8; None where each is one.
        """
        tokens = self._set(split).images
        assert self.prepared is not None
        return tokens, self.prepared.array(f"{split}_bytes") if self.unknown is not None else None

    @property
    def unknown(self) -> int | None:
        """The token of all characters that are not in the vocabulary; None of bytes."""
        return UNKNOWN if self.tokens in {"characters"} else None

    def ids(self, text: str) -> Tensor:
        """Tokens (t,) of a text."""
        if self.tokens in {"bytes"}:
            return torch.tensor(list(text.encode()), dtype=torch.long)
        places = {c: i for i, c in enumerate(self._characters) if i != UNKNOWN}
        return torch.tensor([places.get(c, UNKNOWN) for c in text], dtype=torch.long)

    def texts(self, tokens: Tensor) -> list[str]:
        """Texts of tokens (N, t); what is no text in them is the replacement character."""
        rows = tokens.tolist()
        if self.tokens in {"bytes"}:
            return [bytes(row).decode("utf-8", errors="replace") for row in rows]
        characters = self._characters
        return ["".join(characters[i] for i in row) for row in rows]

    @property
    def _characters(self) -> list[str]:
        """The character of each token; those that no training text has are unknown ones."""
        points = read(self.folder).array("characters").tolist()
        known = [chr(c) for c in points[1:]]
        return ["\ufffd", *known, *["\ufffd"] * (self.vocabulary - 1 - len(known))]
