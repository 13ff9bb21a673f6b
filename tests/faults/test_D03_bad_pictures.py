"""D3: a picture that cannot be read is named; it stops the preparation, or is skipped."""

import pytest
import torch

from lightning_gen.data.pictures import BadPicture, decode
from lightning_gen.errors import DataError
from tests.data.drawn import RGB, draw, hostile, meta, opened


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_D03_hostile_files_are_each_refused(tmp_path):
    said = {}
    for file in hostile(tmp_path):
        with pytest.raises(BadPicture) as caught:
            decode(file, RGB)
        said[file.name] = str(caught.value)
    assert "truncated" in said["cut.jpg"]
    assert "decompression bomb" in said["bomb.png"].lower()
    assert "decompression bomb" in said["large.png"]
    assert "cannot identify" in said["text.jpg"] and "cannot identify" in said["script.png"]


def test_D03_hostile_file_stops_by_name_or_is_skipped_and_listed(tmp_path, source):
    for k in range(20):
        draw(source / f"{k:02}.png", colour=(k, k, k))
    names = {str(source / file.name) for file in hostile(source)} - {
        str(source / f"{k:02}.png") for k in range(20)
    }
    with pytest.raises(DataError) as caught:
        opened(tmp_path, source)
    assert caught.value.where in names and caught.value.fix == "data.on_error=skip"
    with pytest.raises(DataError, match=r"4 bad files, data.max_skipped=3"):
        opened(tmp_path, source, on_error="skip", max_skipped=3)
    data = opened(tmp_path, source, on_error="skip")
    assert set(meta(data)["note"]["skipped"]) == names
    assert data.size("train") + data.size("test") == 20
    seen = torch.cat([data.real(s).image[:, 0, 0, 0] for s in data.splits])
    assert sorted(((seen + 1) * 127.5).round().int().tolist()) == list(range(20))
    with pytest.raises(DataError) as caught:  # The same arrays, for one who does not skip.
        opened(tmp_path, source)
    assert caught.value.where in names


def test_D03_labels_stay_with_their_pictures_when_some_are_skipped(tmp_path, source):
    for at, name in enumerate(("a", "b")):
        for k in range(10):
            draw(source / name / f"{k}.png", colour=(at, 0, 0))
        (source / name / "0.png").write_bytes(b"no")
        (source / name / "5.png").write_bytes(b"no")
    data = opened(tmp_path, source, num_classes=2, on_error="skip", test_fraction=0.3)
    assert data.size("train") + data.size("test") == 16
    for split in data.splits:
        image, label = data.real(split)
        assert torch.equal(((image[:, 0, 0, 0] + 1) * 127.5).round().long(), label)
