"""Pictures that belong together in pairs.

Isola, Zhu, Zhou, Efros. Image-to-Image Translation with Conditional Adversarial Networks. 2016,
arXiv:1611.07004.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning_gen.data.arrays import Writer
from lightning_gen.data.folder_pairs import FolderPairs
from lightning_gen.data.folders import BadFiles, Listing, divide, write_decoded
from lightning_gen.data.picture_pairs import decode_halves, decode_partners
from lightning_gen.data.pictures import decode_all
from lightning_gen.errors import DataError

FOLDERS = {"train": "train", "val": "valid", "test": "test"}


class PairedFolders(FolderPairs):
    """Pictures in pairs: two side by side in a file, or two files of one name.

    ``folder`` is in the layout of pix2pix's sets: each file holds a picture A and, right of it, its
    partner B. Or ``a`` and ``b`` are two folders, and files whose relative paths differ only in the
    suffix are partners; their sizes are equal, or as ``resolution_a`` to ``resolution``.
    Sub-folders train, val and test are the splits train, valid and test (val is the split test
    where there is no other, as in half of pix2pix's sets); without them the pictures are divided
    by ``test_fraction``. A file without partner or of odd width is a bad file.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2016,
        arXiv:1611.07004.

    Args:
        root: Folder of all data sets; the arrays go to ``root/name``.
        cache: Folder for downloads; unused.
        direction: What a model learns: the first domain is A and the second B ("AtoB"), or the
            other way round.
        palette: Colours (K, 3) in [0, 255] of the classes, where the second domain is one of label
            maps: then these are scored by pixel and class accuracy and mean IoU.
        family: Arguments of :class:`FolderPairs`; partners are flipped and shifted alike.
    """

    aligned: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("pairs", "paired")

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        direction: Literal["AtoB", "BtoA"] = "AtoB",
        palette: list[list[int]] | None = None,
        **family: Any,
    ) -> None:
        super().__init__(root, cache, **family)
        self.palette = palette
        self.order = {"AtoB": ("a", "b"), "BtoA": ("b", "a")}[direction]

    def recipe(self) -> dict[str, Any]:
        """The direction too."""
        return {**super().recipe(), "order": self.order}

    def write(self, writer: Writer) -> str:
        """Decode every pair of every split."""
        listings, bad = self.found(), self.bad_files()
        bad.add(self.refused(listings))
        pairs, read = self._pairs(listings, bad)
        if not pairs:
            raise DataError("no two files are partners", where=bad.where, fix="files of one name")
        names, _ = divide(
            list(pairs),
            list(FOLDERS),
            test_fraction=self.test_fraction,
            seed=self.split_seed,
            where=next(iter(self.source.values())),
        )
        policies = tuple(self.policies[domain] for domain in self.order)
        shapes = {"a": self.shape_a, "b": self.shape}
        for folder, chosen in names.items():
            split = (FOLDERS if "test" in names else FOLDERS | {"val": "test"})[folder]
            files = [pairs[name] for name in chosen]
            decoded = decode_all(files, policies, read)
            arrays = {f"{split}_{domain}_image": shapes[domain] for domain in self.order}
            firsts = [str(file[0] if isinstance(file, tuple) else file) for file in files]
            write_decoded(writer, arrays, firsts, decoded, bad)
        ignored = sum(found.ignored for found in listings.values())
        writer.note.update(skipped=bad.found, ignored=ignored)
        return str(bad.where)

    def _pairs(
        self, listings: Mapping[str, Listing], bad: BadFiles
    ) -> tuple[dict[str, Any], Callable[[Any, Any], Any]]:
        """The pairs by their relative names, and what reads one."""
        if "folder" in self.source:
            place = self.source["folder"]
            return {name: place / name for name in listings["folder"].pictures}, decode_halves
        stems = {d: self._stems(d, listings[d].pictures, bad) for d in self.domains}
        for domain, other in ("ab", "ba"):
            alone = [file for stem, file in stems[domain].items() if stem not in stems[other]]
            bad.add({str(file): f"has no partner in {self.source[other]}" for file in alone})
        both = sorted(set(stems["a"]) & set(stems["b"]))
        return {stem: (stems["a"][stem], stems["b"][stem]) for stem in both}, decode_partners

    def _stems(self, domain: str, names: list[str], bad: BadFiles) -> dict[str, Path]:
        """Files by their relative paths without suffix; two of one stem are bad."""
        place = self.source[domain]
        counts = Counter(Path(name).with_suffix("") for name in names)
        twice = [name for name in names if counts[Path(name).with_suffix("")] > 1]
        bad.add({str(place / name): "has a namesake of another suffix" for name in twice})
        return {
            Path(name).with_suffix("").as_posix(): place / name
            for name in names
            if name not in set(twice)
        }
