"""D4: hidden files and files that are no pictures are ignored and counted."""

import pytest

from tests.data.drawn import draw, meta, opened


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_D04_other_files_are_ignored_and_counted(tmp_path, source):
    draw(source / "a.png")
    draw(source / ".hidden.png")
    draw(source / ".thumbs" / "b.png")
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "labels.csv"):
        (source / name).write_text("x")
    data = opened(tmp_path, source)
    assert data.size("train") == 1 and meta(data)["note"]["ignored"] == 5
