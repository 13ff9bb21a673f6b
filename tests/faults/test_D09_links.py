"""D9: links out of the folder are refused, and nothing outside is read."""

import pytest

from lightning_gen.data.image_folder import list_pictures
from lightning_gen.errors import DataError
from tests.data.drawn import draw, opened


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_D09_links(tmp_path, source):
    outside = draw(tmp_path / "secret" / "x.png")
    draw(source / "a.png")
    (source / "inside.png").symlink_to(source / "a.png")
    assert list_pictures(source).pictures == ["a.png", "inside.png"]
    (source / "out.png").symlink_to(outside)
    (source / "gone.png").symlink_to(source / "nothing.png")
    (source / "folder").symlink_to(outside.parent, target_is_directory=True)
    (source / "loop").symlink_to(source, target_is_directory=True)
    found = list_pictures(source)
    assert found.pictures == ["a.png", "inside.png"]
    assert found.refused == {
        "out.png": "is a link that leaves the folder",
        "folder": "is a link that leaves the folder",
        "gone.png": "is not a file",
        "loop": "is a link to a folder",
    }
    with pytest.raises(DataError, match=r"is a link|is not a file"):
        opened(tmp_path, source)
    assert not list(tmp_path.glob("image_folder/arrays*"))
    assert opened(tmp_path, source, on_error="skip").size("train") == 2
