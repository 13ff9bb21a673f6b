"""D11: data that change between two starts are noticed: other arrays, another fingerprint."""

import pytest

from tests.data.drawn import draw, opened


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_D11_arrays_follow_the_folder(tmp_path, source):
    for k in range(4):
        draw(source / f"{k}.png")
    one = opened(tmp_path, source, test_fraction=0)
    stamp = (one.folder / "meta.json").stat().st_mtime_ns
    again = opened(tmp_path, source, test_fraction=0)
    assert (again.folder / "meta.json").stat().st_mtime_ns == stamp
    draw(source / "4.png")
    more = opened(tmp_path, source, test_fraction=0)
    assert more.size("train") == 5 and more.fingerprint != one.fingerprint
    (source / "4.png").rename(source / "5.png")
    assert opened(tmp_path, source, test_fraction=0).fingerprint != more.fingerprint
    other = opened(tmp_path, source, test_fraction=0, resolution=4)
    assert other.folder != one.folder and other.shape == (3, 4, 4)
