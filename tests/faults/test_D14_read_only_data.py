"""D14: prepared data are used from a folder that nobody may write to; one that must be is named."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from lightning_gen.data.arrays import prepare
from lightning_gen.errors import DataError
from tests.data.test_arrays import IMAGE, RECIPE, refuse, write


@pytest.fixture
def nobody():
    """A folder in a place open to all, and rights that root's do not override."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    user = os.geteuid()
    try:
        yield place, (lambda: os.seteuid(65534)) if user == 0 else (lambda: None)
    finally:
        os.seteuid(user)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(place)


def test_D14_prepared_data_are_used_from_a_read_only_folder(nobody):
    place, drop_rights = nobody
    prepare(place / "toy/arrays", RECIPE, write)
    before = sorted(place.rglob("*"))
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    drop_rights()
    found = prepare(place / "toy/arrays", RECIPE, refuse)
    found.verify()
    assert (found.array("image") == IMAGE).all() and sorted(place.rglob("*")) == before


def test_D14_a_folder_that_cannot_be_written_is_named(nobody):
    place, drop_rights = nobody
    place.chmod(0o555)
    drop_rights()
    with pytest.raises(DataError, match="cannot be prepared: Permission denied") as caught:
        prepare(place / "toy/arrays", RECIPE, write)
    assert str(place) in str(caught.value.where) and "paths.data" in caught.value.fix
