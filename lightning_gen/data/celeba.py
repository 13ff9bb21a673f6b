"""CelebA: faces with forty attributes, by the partition of its authors.

Liu, Luo, Wang, Tang. Deep Learning Face Attributes in the Wild. 2015, arXiv:1411.7766.
"""

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_gen.data.arrays import Prepared, Writer, read, sha256_of
from lightning_gen.data.folders import BadFiles, list_pictures, write_pictures
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.data.pictures import CentreCrop, Member, Source
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt

PICTURES, ARCHIVE = "img_align_celeba", "img_align_celeba.zip"
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
PAGE = "mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
SPLITS = ("train", "valid", "test")  # 0, 1 and 2 of the partition
MAX_TEXT_BYTES = 128 * 2**20

log = logging.getLogger(__name__)


class CelebA(DataModule):
    """202,599 aligned faces, 178 x 218 pixels in colour, with forty binary attributes.

    Read from the authors' files: the pictures, in a folder ``img_align_celeba`` or in
    ``img_align_celeba.zip`` (which is not unpacked), ``list_attr_celeba.txt`` and
    ``list_eval_partition.txt``. Where ``folder`` lacks them, torchvision's download is tried. The
    arrays are made anew when these files change; once made, they do without them.

    The middle square of each picture is scaled by Lanczos' filter. All attributes are kept with the
    pictures, so others may be chosen without decoding anew.

    References:
        Liu et al., Deep Learning Face Attributes in the Wild, 2015, arXiv:1411.7766.

    Args:
        root: Folder of all data sets; the arrays go to ``root/name``.
        cache: Folder for downloads.
        folder: Folder of the authors' files.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set.
        channels: 3.
        resolution: Height and width in pixels to which the middle is scaled.
        num_classes: None: a set of attributes is not a class.
        attributes: Those that labels (N, A) of zeros and ones tell; none for no labels.
        crop: Height and width of the middle square, in pixels of the pictures; at most 178.
        train_on: The training split of the partition, or all pictures.
        on_error: "stop" at a bad file or "skip" it; either way it is named.
        max_skipped: Most files that may be skipped.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training split on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        folder: str,
        batch_size: PositiveInt,
        name: str = "celeba",
        channels: Literal[3] = 3,
        resolution: PositiveInt = 64,
        num_classes: None = None,
        attributes: list[str] | None = None,
        crop: PositiveInt = 148,
        train_on: Literal["train", "all"] = "train",
        on_error: Literal["stop", "skip"] = "stop",
        max_skipped: NonNegativeInt = 100,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        check_facts(channels=(channels, 3), num_classes=(num_classes, None))
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(channels, resolution, resolution),
            num_classes=None,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.given, self.attributes = Path(folder).expanduser(), list(attributes or [])
        self.policy = CentreCrop(channels, resolution, "convert", "center_crop", crop)
        self.whole = {"train": False, "all": True}[train_on]
        self.allowed = {"stop": 0, "skip": max_skipped}[on_error]

    def recipe(self) -> dict[str, Any]:
        """Crop and resolution."""
        return asdict(self.policy)

    def listing(self) -> dict[str, Any]:
        """Hashes of both lists, and of the names and sizes of the pictures."""
        source = self._source()
        self.found = find_pictures(source)  # for write() as well
        lists = {name: sha256_of(source / name) for name in (ATTRIBUTES, PARTITION)}
        return {**lists, PICTURES: self.found.digest}

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Decode the pictures, unless it was done; they need not be there if it was."""
        if fresh or not missing(self.given) or not self.folder.is_dir():
            super().prepare_data(fresh=fresh)
        note = read(self.folder).meta["note"]
        BadFiles(self.given, self.allowed, note["skipped"]).check()
        columns(self.attributes, note["attributes"])

    def write(self, writer: Writer) -> str:
        """Decode every picture of the partition: training, validation and test split in a row."""
        found, source = self.found, self.found.place.parent
        names, part = read_partition(source / PARTITION)
        attributes, row, table = read_attributes(source / ATTRIBUTES)
        columns(self.attributes, attributes)  # Rather now than after an hour.
        if strangers := [name for name in names if name not in row]:
            what = f"{len(strangers)} pictures have no attributes: {strangers[0]} ..."
            raise DataError(what, where=source / ATTRIBUTES)
        bad = BadFiles(found.place, self.allowed)
        order = [i for i in np.argsort(part, kind="stable").tolist() if names[i] in found.pictures]
        for name in (name for name in names if name not in found.pictures):
            bad.add({str(found.place / name): found.refused.get(name, "is not there")})
        files = [found.pictures[names[i]] for i in order]
        good = np.array(order)[write_pictures(writer, "image", files, self.policy, bad)]
        writer.save("attribute", table[[row[names[i]] for i in good]])
        writer.note.update(
            attributes=attributes,
            counts=np.bincount(part[good], minlength=len(SPLITS)).tolist(),
            skipped=bad.found,
            ignored=found.ignored + len(set(found.pictures) - set(names)),
        )
        return str(source)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits that are not empty, and pick the labels."""
        note, image = prepared.meta["note"], prepared.array("image")
        chosen = columns(self.attributes, note["attributes"])
        label = prepared.array("attribute")[:, chosen].astype(np.int64) if chosen else None
        end = np.cumsum(note["counts"]).tolist()
        places = {
            split: slice(stop - n, stop)
            for split, stop, n in zip(SPLITS, end, note["counts"], strict=True)
            if n
        }
        if self.whole:
            places["train"] = slice(None)
        return {
            split: ImageSet(image[rows], None if label is None else label[rows])
            for split, rows in places.items()
        }

    def conditions(self, n: int, start: int = 0) -> Tensor | None:
        """The attributes of training images in turn."""
        labels = self.labels("train")
        return None if labels is None else labels[torch.arange(start, start + n) % len(labels)]

    @property
    def domains(self) -> tuple[str, ...]:
        """The chosen attributes."""
        return tuple(self.attributes)

    def domain(self, split: str, name: str, *, inside: bool = True) -> tuple[str, Tensor]:
        """Images that have an attribute, or that lack it.

        Args:
            split: "train", "valid" or "test".
            name: One of :attr:`domains`, or "not" and one of them.
            inside: Those of the domain, or the others.

        Returns:
            The name of the split, and indices (n,) in it.
        """
        labels, (attribute, present) = self.labels(split), wish(name)
        if labels is None or attribute not in self.domains:
            known = ", ".join(self.domains) or "none: choose data.attributes"
            raise DataError(f"{self.name} has no domain '{name}'", fix=f"one of: {known}")
        has = labels[:, self.domains.index(attribute)] == 1
        return split, torch.nonzero(has == (present == inside)).flatten()

    def _source(self) -> Path:
        """The folder that has the authors' files, after a download where there is none."""
        for place in (self.given, self.cache / "celeba"):
            if not missing(place):
                return place
        return download(self.given, self.cache / "celeba")


def wish(text: str) -> tuple[str, bool]:
    """An attribute, and whether it is to be present.

    Example:
        >>> wish("Smiling"), wish("not Smiling"), wish("-Smiling")
        (('Smiling', True), ('Smiling', False), ('Smiling', False))
    """
    name = text.strip()
    bare = name.removeprefix("not ").removeprefix("-").strip()
    return bare, bare == name


def columns(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Where attributes are among those that are known.

    Raises:
        DataError: One is not, or is named twice.
    """
    if strangers := [name for name in names if name not in known]:
        raise DataError(
            f"there is no attribute '{strangers[0]}'",
            where="data.attributes",
            fix=f"some of {', '.join(known)}",
        )
    if len(set(names)) < len(names):
        raise DataError(f"an attribute is named twice: {names}", where="data.attributes")
    return [known.index(name) for name in names]


class Pictures(NamedTuple):
    """The pictures that were found."""

    place: Path
    """Their folder or archive."""
    pictures: dict[str, Source]
    """By their names in the lists."""
    refused: dict[str, str]
    """Files that are not read, each with the reason."""
    ignored: int
    """Number of files that are no pictures."""
    digest: str
    """SHA-256 of their names and sizes, and of their checksums in an archive."""


def find_pictures(source: Path) -> Pictures:
    """List the pictures of a folder ``img_align_celeba``, or of the archive.

    Raises:
        DataError: The archive is not a zip file.
    """
    place = source / PICTURES
    if place.is_dir():
        found = list_pictures(place)
        pictures: dict[str, Source] = {name: place / name for name in found.pictures}
        state = repr((found.pictures, found.sizes, sorted(found.refused)))
        return Pictures(place, pictures, found.refused, found.ignored, _hash(state))
    place = source / ARCHIVE
    try:
        with zipfile.ZipFile(place) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"not a whole zip file: {error}", where=place) from error
    inside = [info for info in files if info.filename.startswith(f"{PICTURES}/")]
    pictures = {i.filename.removeprefix(f"{PICTURES}/"): Member(place, i.filename) for i in inside}
    state = repr([(info.filename, info.file_size, info.CRC) for info in inside])
    return Pictures(place, pictures, {}, len(files) - len(pictures), _hash(state))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def missing(folder: Path) -> list[str]:
    """Which of the authors' files a folder lacks."""
    lacks = [name for name in (ATTRIBUTES, PARTITION) if not (folder / name).is_file()]
    here = (folder / PICTURES).is_dir() or (folder / ARCHIVE).is_file()
    return [*lacks, *([] if here else [f"{PICTURES} (or {ARCHIVE})"])]


def download(given: Path, target: Path) -> Path:
    """Have torchvision download the three files.

    Args:
        given: Where they were looked for, for the error.
        target: Folder for them.

    Returns:
        The target.

    Raises:
        DataError: They cannot be had; says what to put where.
    """
    # A second's import that only a first preparation needs.
    from torchvision.datasets import CelebA, utils

    log.warning("celeba: downloading %s (1.4 GB) and its lists to %s", ARCHIVE, target)
    try:
        for file_id, md5, name in CelebA.file_list:
            if name in {ARCHIVE, ATTRIBUTES, PARTITION}:
                utils.download_file_from_google_drive(file_id, target, name, md5)
    except Exception as error:  # gdown raises all sorts; each says why there is no download.
        raise DataError(
            f"CelebA lacks {', '.join(missing(given))}, and cannot be downloaded: {error}",
            where=given,
            fix=f"get {ARCHIVE}, {ATTRIBUTES} and {PARTITION} from {PAGE} (Align&Cropped Images, "
            f"Anno, Eval) and put them into {given}, or say data.folder=WHERE_THEY_ARE",
        ) from error
    return target


def _lines(file: Path) -> list[str]:
    """Lines of a list, blank ones left out."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise DataError(f"it has more than {MAX_TEXT_BYTES:,} bytes", where=file)
        lines = [line for line in data.decode("ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"it cannot be read: {error}", where=file) from error
    if not lines:
        raise DataError("it is empty", where=file)
    return lines


def read_partition(file: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Read which split each picture is of: lines of a name and 0, 1 or 2.

    Returns:
        Names, and the number (N,) of the split of each.

    Raises:
        DataError: A line says something else, a name comes twice, or nothing is for training.
    """
    part: dict[str, int] = {}
    for number, line in enumerate(_lines(file), 1):
        match line.split():
            case [name, "0" | "1" | "2" as which] if name not in part:
                part[name] = int(which)
            case _:
                raise _bad_line(number, line, "a new name and 0, 1 or 2", file)
    if 0 not in part.values():
        raise DataError("no picture is of the training split, 0", where=file)
    return list(part), np.array(list(part.values()))


def read_attributes(file: Path) -> tuple[list[str], dict[str, int], NDArray[np.int8]]:
    """Read the attributes: a count, a line of names, and lines of a picture's name and 1 or -1.

    Returns:
        Names of the A attributes, the row of each picture, and the table (N, A) of 0 and 1.

    Raises:
        DataError: It is something else.
    """
    count, *lines = _lines(file)
    names, lines = " ".join(lines[:1]).split(), lines[1:]
    if count.strip() != str(len(lines)):
        what = f"its first line is {count[:20]!r}, and {len(lines)} lines are of pictures"
        raise DataError(what, where=file)
    columns(names, names)
    row: dict[str, int] = {}
    table = np.zeros((len(lines), len(names)), np.int8)
    for at, line in enumerate(lines):
        name, *values = line.split()
        if len(values) != len(names) or not {"1", "-1"}.issuperset(values) or name in row:
            raise _bad_line(at + 3, line, f"a new name and {len(names)} times 1 or -1", file)
        row[name] = at
        table[at] = [value in {"1"} for value in values]
    return names, row, table


def _bad_line(number: int, line: str, wanted: str, file: Path) -> DataError:
    return DataError(f"line {number} is {line[:60]!r}, not {wanted}", where=file)
