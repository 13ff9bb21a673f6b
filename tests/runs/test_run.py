import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from lightning_gen.errors import CheckpointError, ConfigError
from lightning_gen.runs.run import STATES, Run, SilentRun

COMMAND = ["/opt/bin/lightning-gen", "train", "seed=0"]


def contents(folder):
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reopen(config):
    return Run.open(config, command=COMMAND)


@pytest.fixture
def run(config):
    run = reopen(config)
    yield run
    run.close()


class Notes:
    """A view that notes what it is shown, and may fail at something."""

    how_to_open = "look here"

    def __init__(self, failing=None):
        self.seen, self.failing = [], failing

    def __getattr__(self, method):
        def note(*args, **kwargs):
            if method == self.failing:
                raise OSError("server gone")
            self.seen.append((method, *args))

        return note


def test_a_new_run_says_what_and_where_from_at_once(run, config):
    other = Run.read(run.path)
    assert other.config == config
    assert other.status["state"] == "starting"
    assert other.provenance["command"] == "lightning-gen train seed=0"
    assert other.provenance["seed"] == 0
    assert other.provenance["devices"] == "accelerator=cpu devices=1"
    assert other.provenance["wandb_id"] == run.provenance["wandb_id"]
    assert {"versions", "python", "git", "time", "data_fingerprint"} <= set(other.provenance)
    run.update_provenance(data_fingerprint="abc")
    assert Run.read(run.path).provenance["data_fingerprint"] == "abc"
    with pytest.raises(RuntimeError, match="not open for writing"):
        other.log("train", 1, 64, {})


def test_the_same_command_is_the_same_run(run, config):
    run.set_status("running")
    run.log("train", 7, 448, {"loss": 1.0})
    run.set_status("preempted", reason="SIGTERM")
    run.close()
    again = reopen({**config, "budget": {"images": 5000}})
    assert again.path == run.path
    assert again.status["state"] == "preempted"
    assert (again.status["iteration"], again.status["images_seen"]) == (7, 448)
    assert again.provenance["wandb_id"] == run.provenance["wandb_id"]
    again.set_status("running")
    again.close()
    facts = Run.read(run.path).provenance
    assert [entry["command"] for entry in facts["resumed"]] == ["lightning-gen train seed=0"]
    assert [(c["key"], c["old"], c["new"]) for c in facts["changes"]] == [
        ("budget.images", 1000, 5000)
    ]
    assert Run.read(run.path).config["budget"]["images"] == 5000


def test_a_finished_run_is_left_alone(run, config):
    run.log("train", 1, 64, {"loss": 1.0})
    run.checkpoints.save({"iteration": 1}, 1, 64)
    run.set_status("finished", iteration=1, images_seen=64)
    run.close()
    before = contents(run.path)
    again = reopen(config)
    assert again.checkpoints.latest()[0] == {"iteration": 1}
    again.set_status("finished")
    again.close()
    assert contents(run.path) == before


def reopen_path(config):
    run = reopen(config)
    run.close()
    return run.path


class reopen_closing:
    def __init__(self, config):
        self.run = reopen(config)

    def __enter__(self):
        return self.run

    def __exit__(self, *exc_info):
        self.run.close()


def test_fresh_makes_a_run_beside_and_deletes_nothing(config, monkeypatch):
    first = reopen(config)
    first.log("train", 1, 64, {"loss": 1.0})
    config["run"]["fresh"] = True
    runs = [first, reopen(config), reopen(config)]
    names = [run.path.name for run in runs]
    assert names == [names[0], f"{names[0]}-fresh2", f"{names[0]}-fresh3"]
    assert len({run.provenance["wandb_id"] for run in runs}) == 3
    for run in runs:
        run.close()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert reopen_path(config).name == names[2], "a requeued job finds its state"
    assert len(list(Run.read(first.path).history())) == 1


def test_secrets_are_nowhere_on_disk(config, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", "s3cret-of-env")
    config["logger"] = {"project": "p", "api_key": "s3cret-key"}
    config["model"]["note"] = "see s3cret-of-env"
    config["model"]["num_tokens"] = 512
    run = Run.open(config, command=[*COMMAND, "logger.api_key=s3cret-key"])
    assert run.config["logger"]["api_key"] == "s3cret-key"
    run.record_exception(RuntimeError("bad key s3cret-of-env"))
    run.close()
    reopen(config).close()
    for path in run.path.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path
    assert Run.read(run.path).config["model"]["num_tokens"] == 512


def test_status(run):
    with pytest.raises(ValueError, match="state must be one of starting, running"):
        run.set_status("done")
    for state in STATES:
        run.set_status(state, iteration=3, images_seen=192, reason="why", detail=[1])
        status = json.loads((run.path / "status.json").read_text())
        assert status["state"] == state
        assert (status["iteration"], status["images_seen"]) == (3, 192)
        assert (status["reason"], status["detail"]) == ("why", [1])
        assert status["updated"].endswith("+00:00")
    run.log("train", 4, 256, {})
    run.set_status("running")
    assert run.status["iteration"] == 4
    assert run.status["reason"] is None


def fill(run, first, last):
    for k in range(first, last + 1):
        run.log("train", k, 64 * k, {"loss": 1 / k})
        if k % 2 == 0:
            run.picture("samples/ema", Image.new("L", (8, 8), k), k, 64 * k)
            run.record_scores([{"name": "fid", "value": float(k)}], k, 64 * k)
            run.alert("modes lost", f"at {k}")


def test_rewound_and_repeated_is_the_unbroken_run(run, config):
    fill(run, 1, 9)
    run.set_status("finished")
    unbroken = contents(run.path)
    for step in (4, 5, 0, 9):
        run.rewind(step)
        assert run.status["iteration"] == step
        assert run.status["images_seen"] == 64 * step
        assert all(row["iteration"] <= step for row in run.history())
        assert len(run.alerts()) == len(run.scores()) == len(run.pictures()) == step // 2
        assert len(run.status["alerts"]) == step // 2
        fill(run, step + 1, 9)
        run.set_status("finished")
        for path, (data, _, _) in contents(run.path).items():
            if path.name not in ("status.json", ".lock.json"):
                assert data == unbroken[path][0], path
    assert [row["iteration"] for row in run.history()] == list(range(1, 10))


def test_what_a_view_is_shown(run, caplog):
    view = Notes()
    run.views.append(view)
    run.log("eval", 1, 64, {"fid": float("nan")})
    path = run.picture("real", Image.new("L", (8, 8)), 1, 64)
    run.alert("title", "text")
    run.record_scores([{"name": "fid"}], 1, 64)
    assert run.view_hints() == ["look here"]
    run.set_status("finished")
    run.close()
    row = {"kind": "eval", "iteration": 1, "images_seen": 64, "values": {"fid": None}}
    assert view.seen == [
        ("log", {**row, "nonfinite": {"fid": "nan"}}),
        ("picture", "real", path, {**row, "kind": "picture", "values": {}}),
        ("alert", "title", "text"),
        ("scores", [{"name": "fid"}]),
        ("close", "finished"),
    ]
    assert path.name == "real-000000000064.png"
    assert "title: text" in caplog.text


@pytest.mark.parametrize("failing", ["log", "picture", "alert", "scores", "close"])
def test_a_failing_view_is_dropped_with_one_warning(run, caplog, failing):
    sound = Notes()
    run.views += [Notes(failing), sound]
    for k in (1, 2):
        run.log("train", k, 64 * k, {})
        run.picture("real", Image.new("L", (8, 8)), k, 64 * k)
        run.alert("title", "text")
        run.record_scores([], k, 64 * k)
    run.close()
    assert len(sound.seen) == 9
    assert caplog.text.count("Notes failed and is off, training goes on: OSError: server gone") == 1
    assert len(list(Run.read(run.path).history(["train"]))) == 2


def test_pictures_are_the_same_bytes_each_time(run):
    image = Image.effect_noise((32, 32), 50)
    first = run.picture("a/b c", image, 1, 64).read_bytes()
    path = run.picture("a/b c", image, 1, 64)
    assert path.read_bytes() == first
    assert path.name == "a_b_c-000000000064.png"
    assert [picture[:2] for picture in run.pictures()] == [("a/b c", path)]
    with Image.open(path) as saved:
        assert saved.tobytes() == image.tobytes()


def test_error_log_keeps_tracebacks(run):
    for number in (1, 2):
        try:
            raise ValueError(f"bad step {number}")
        except ValueError as error:
            run.record_exception(error)
    text = (run.path / "error.log").read_text()
    assert text.count("Traceback") == 2
    assert "test_error_log_keeps_tracebacks" in text
    assert "ValueError: bad step 2" in text


def test_changed_data_are_said_aloud(run, caplog):
    run.update_provenance(data_fingerprint="a")
    assert not caplog.records
    run.update_provenance(data_fingerprint="b")
    assert "data_fingerprint of this run was a and is b" in caplog.text
    assert run.provenance["changes"][0]["old"] == "a"


def test_orphans_are_swept_when_opened(run, config):
    run.close()
    (run.path / "checkpoints").mkdir()
    orphans = [
        run.path / ".status.json.1-a.tmp~",
        run.path / "checkpoints" / ".000000000064.ckpt.1-a.tmp~",
    ]
    for orphan in orphans:
        orphan.touch()
    with pytest.raises(CheckpointError):
        (run.path / "checkpoints" / "000000000064.ckpt").touch()
        reopen_checkpoints(config)
    assert not any(orphan.exists() for orphan in orphans)


def reopen_checkpoints(config):
    with reopen_closing(config) as run:
        run.checkpoints.latest()


def test_a_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(ConfigError, match="is not a run"):
        Run.read(tmp_path)


def test_the_other_ranks_write_nothing(config, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        silent = SilentRun(config)
        silent.log("train", 1, 64, {"loss": 1.0})
        silent.alert("title", "text")
        silent.picture("a", Image.new("L", (8, 8)), 1, 64)
        silent.record_scores([], 1, 64)
        silent.set_status("running", iteration=1)
        silent.update_provenance(a=1)
        silent.record_exception(ValueError())
        silent.start_view(config, resumed=False)
        silent.rewind(0)
        silent.close()
    assert not Path(config["paths"]["runs"]).exists()
    assert not caplog.records
    run = reopen(config)
    saved = run.checkpoints.save({"iteration": 1}, 1, 64)
    assert silent.path == run.path
    assert silent.checkpoints.load(saved) == {"iteration": 1}
    run.close()
    writers = {name for name in vars(Run) if not name.startswith("_")} - set(vars(SilentRun))
    assert writers == {
        "open", "read", "history", "alerts", "scores", "last_scores", "pictures", "checkpoints",
        "view_hints",
    }  # fmt: skip
