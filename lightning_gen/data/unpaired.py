"""Pictures of two domains that do not belong together.

Zhu, Park, Isola, Efros. Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks. 2017, arXiv:1703.10593.
"""

from collections.abc import Mapping
from pathlib import Path

from lightning_gen.data.arrays import Writer
from lightning_gen.data.folder_pairs import FolderPairs
from lightning_gen.data.folders import Listing, divide, write_pictures
from lightning_gen.errors import DataError


class UnpairedFolders(FolderPairs):
    """Two folders of pictures, of any number each: horses and zebras.

    ``folder`` is in the layout of CycleGAN's sets, with sub-folders trainA, trainB, testA and
    testB; or ``a`` and ``b`` are any two folders, each with sub-folders train and test, or divided
    by ``test_fraction``. Each domain has a random order of its own.

    References:
        Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks,
        2017, arXiv:1703.10593.
    """

    def places(self) -> Mapping[str, Path]:
        """The four folders of the layout, or the two."""
        if "folder" not in self.source:
            return self.source
        ends = [f"{split}{domain}" for split in ("train", "test") for domain in "AB"]
        return {end: self.source["folder"] / end for end in ends}

    def write(self, writer: Writer) -> str:
        """Decode every picture of every split of each domain."""
        listings, bad = self.found(), self.bad_files()
        bad.add(self.refused(listings))
        for name, files in self._splits(listings).items():
            write_pictures(writer, f"{name}_image", files, self.policies[name[-1]], bad)
        ignored = sum(found.ignored for found in listings.values())
        writer.note.update(skipped=bad.found, ignored=ignored)
        return str(bad.where)

    def _splits(self, listings: Mapping[str, Listing]) -> dict[str, list[Path]]:
        """The files of each split."""
        if "folder" in self.source:
            return {
                f"{place.name[:-1]}_{place.name[-1].lower()}": [
                    place / name for name in listings[key].pictures
                ]
                for key, place in self.places().items()
            }
        files: dict[str, list[Path]] = {}
        for domain, place in self.source.items():
            splits, _ = divide(
                listings[domain].pictures,
                ("train", "test"),
                test_fraction=self.test_fraction,
                seed=self.split_seed,
                where=place,
            )
            files |= {f"{split}_{domain}": [place / n for n in s] for split, s in splits.items()}
        for domain, other in ("ab", "ba"):
            if f"test_{other}" in files and f"test_{domain}" not in files:
                raise DataError(
                    f"domain {domain} has no test picture of {len(files[f'train_{domain}'])}, "
                    f"domain {other} has {len(files[f'test_{other}'])}",
                    where=self.source[domain],
                    fix="pictures in its sub-folder test, or a larger data.test_fraction",
                )
        return files
