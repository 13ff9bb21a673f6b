"""The base of pairs that are made of other data sets and have no arrays of their own."""

from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_gen.data.arrays import Prepared, fingerprint
from lightning_gen.data.module import DataModule
from lightning_gen.data.pairs import PairModule
from lightning_gen.errors import DataError


class SourcedPairs(PairModule):
    """Pairs made of other data sets, which are prepared and opened with them.

    Args:
        sources: The data sets, of single images; those for both domains or for one each.
        family: Arguments of :class:`PairModule` but the folders, which are those of the sources.

    Raises:
        DataError: A source is not of single images, or is told to augment them: pairs do it.
    """

    def __init__(self, *sources: DataModule, **family: Any) -> None:
        for source in sources:
            if "images" not in source.gives or len(source.shape) != 3:
                what = f"pairs are made of single images, which {source.name} does not give"
                raise DataError(what, where="data.source", fix="data@data.source=mnist")
            for key in ("flip", "shift", "resident"):
                if value := getattr(source, key):
                    raise DataError(
                        f"data.source.{key} has no effect: it is the pairs that are augmented",
                        where=f"data.source.{key}",
                        fix=f"data.{key}={str(value).lower()}",
                    )
        super().__init__(str(sources[0].root), str(sources[0].cache), **family)
        self.sources = sources

    @property
    def folder(self) -> Path:
        """The sources' folder."""
        return self.sources[0].folder if len(self.sources) == 1 else self.root

    def decode(self, image: Tensor) -> Tensor:
        """Bytes to floats as in the sources."""
        return self.sources[0].decode(image)

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Prepare the sources."""
        for source in self.sources:
            source.prepare_data(fresh=fresh)

    def verify(self) -> None:
        """Check the sources."""
        for source in self.sources:
            source.verify()

    def setup(self, stage: str | None = None) -> None:
        """Open the sources; the fingerprint is theirs and the recipe's."""
        for source in self.sources:
            source.setup(stage)
        prints = {"sources": [source.fingerprint for source in self.sources]}
        where = ", ".join(str(source.folder) for source in self.sources)
        meta = {"fingerprint": fingerprint(self.recipe(), prints), "source": where, "note": {}}
        self.prepared = Prepared(self.folder, meta)
        self._sets = self.open(self.prepared)
