"""D1: a folder of data that is missing, empty or without classes is named, with the remedy."""

import pytest

from lightning_gen.errors import DataError
from tests.data.drawn import draw, opened


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_D01_folder_that_holds_nothing_or_is_not_there(tmp_path, source):
    (source / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"no pictures in the folder \(1 ignored") as caught:
        opened(tmp_path, source)
    assert ".jpg" in caught.value.fix and caught.value.exit_code == 3
    with pytest.raises(DataError, match="there is no such folder"):
        opened(tmp_path, tmp_path / "nothing")


def test_D01_pictures_outside_class_folders_are_refused(tmp_path, source):
    draw(source / "a" / "x.png")
    draw(source / "y.png")
    with pytest.raises(DataError, match="some pictures lie in no class folder"):
        opened(tmp_path, source, num_classes=1)
