"""B4: a folder that cannot be written is refused with exit code 7, before data are touched."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lightning_gen.errors import OutputError
from lightning_gen.runs.checkpoint import CheckpointStore
from lightning_gen.runs.run import Run
from tests.faults.stores import payload
from tests.system.harness import tiny, train


def reopen(config):
    return Run.open(config, command=["x"])


def test_a_file_where_the_runs_should_be(config):
    Path(config["paths"]["runs"]).write_text("")
    with pytest.raises(OutputError, match="cannot write to") as caught:
        reopen(config)
    assert caught.value.exit_code == 7


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else(tmp_path, python, config):
    run = reopen(config)
    run.close()
    for folder in [run.path, *run.path.parents][:3] + [tmp_path, *tmp_path.parents][:3]:
        os.chmod(folder, 0o755)
    script = """
import json, os, sys
from lightning_gen.errors import OutputError
from lightning_gen.runs.run import Run
os.setuid(65534)
for name in (None, "another"):
    config = json.loads(sys.argv[1])
    config["run"]["name"] = name
    try:
        Run.open(config, command=["x"])
    except OutputError as error:
        print(error)
"""
    done = python(script, json.dumps(config))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("error [7]: cannot write to") == 2
    assert done.stdout.count("permission denied (user nobody)") == 2


def test_a_file_where_the_checkpoints_should_be(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        CheckpointStore(tmp_path / "checkpoints").save(payload(), 1, 64)


def test_refused_before_the_data_are_touched(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    assert train(tiny("dcgan", tmp_path / "runs", tmp_path / "data")) == 7
    assert not (tmp_path / "data").exists()


def test_a_file_system_that_is_read_only(tmp_path, config):
    folder = tmp_path / "runs"
    folder.mkdir()
    mounts = [["--bind", folder, folder], ["-o", "remount,ro,bind", folder]]
    if os.getuid() != 0 or any(
        subprocess.run(["mount", *map(str, words)], capture_output=True).returncode
        for words in mounts
    ):
        pytest.skip("only root, where it may, can mount a folder read-only")
    try:
        with pytest.raises(OutputError, match="read-only file system"):
            reopen(config)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert not list(folder.iterdir())
