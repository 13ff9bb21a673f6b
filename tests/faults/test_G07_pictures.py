"""G7: a picture that cannot be written is a warning and is counted; training goes on."""

import copy

import pytest
from PIL import Image

from lightning_gen.runs.run import Run
from tests.runs.conftest import CONFIG


@pytest.fixture
def run(tmp_path):
    config = copy.deepcopy(CONFIG)
    config["paths"]["runs"] = str(tmp_path / "runs")
    run = Run.open(config, command=["lightning-gen", "train"])
    yield run
    run.close()


def test_G07_a_picture_that_cannot_be_written_is_counted_not_fatal(run, caplog):
    (run.path / "samples").write_text("in the way")
    for k in (1, 2):
        assert run.picture("real", Image.new("L", (8, 8)), k, k) is None
    run.set_status("finished")
    assert run.status["failed_pictures"] == 2
    assert caplog.text.count("a picture was not saved") == 1
