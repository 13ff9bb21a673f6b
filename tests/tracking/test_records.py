"""Runs read back: whole, live, torn, damaged, hostile; from disk and from a W&B server."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from lightning_gen.cli import main
from lightning_gen.errors import ConfigError
from lightning_gen.metrics.protocol import Score
from lightning_gen.tracking.records import Problem, Record, find, from_disk, read

KEY = "0123456789" * 4


def only(source) -> Record | Problem:
    (found,) = read([str(source)])
    return found


def test_a_run_is_read_whole(make_run, how):
    record = only(make_run("dcgan", 3, alert="3 modes"))
    assert isinstance(record, Record)
    assert (record.experiment, record.seed, record.state) == ("dcgan", 3, "finished")
    assert record.images_seen == 4000 and record.scored_at == 4000
    assert list(record.curves["train/loss_D"].images[:2]) == [100, 200]
    assert record.curves["train/loss_D"].values[-1] == 0
    (score,) = record.scores
    assert (score.name, score.value, score.protocol) == ("fid_mnist@10k_test", 10.0, how)
    (alert,) = record.alerts
    assert (alert.images_seen, alert.title, alert.text) == (4000, "collapse", "3 modes")
    assert [p.images_seen for p in record.pictures if p.key == "samples"] == [
        1000,
        2000,
        3000,
        4000,
    ]
    assert record.pictures[0].load().startswith(b"\x89PNG")


def test_hours_pass_evenly_between_the_rows_that_say_them(make_run):
    record = from_disk(make_run(hours=2.0))  # rows at 1000 (0.5 h), 2000, 3000, 4000 (2 h)
    hours = record.hours(np.array([0, 500, 1000, 1500, 4000, 4001]))
    np.testing.assert_allclose(hours, [0, 0.25, 0.5, 0.75, 2, np.nan])
    assert from_disk(make_run("other", hours=None)).hours(np.array([100])) is None


def test_a_run_that_trains_is_read_as_far_as_it_is(make_run):
    folder = make_run(state="running", scores=(), pictures=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "iterat')  # a row half written
    record = only(folder)
    assert record.state == "running" and record.scores == [] and record.scored_at is None
    assert len(record.curves["train/loss_D"].values) == 40 and record.pictures == []


def test_values_that_are_not_finite_are_counted(make_run):
    record = only(make_run(loss=lambda step: float("nan") if step in (3, 4) else 1.0))
    assert record.nonfinite == {"train/loss_D": 2}
    assert len(record.curves["train/loss_D"].values) == 38


def damage_line(folder: Path):
    lines = (folder / "metrics.jsonl").read_bytes().splitlines()
    (folder / "metrics.jsonl").write_bytes(b"\n".join([b"{", *lines]) + b"\n")


def change(name, **values):
    def damage(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return damage


def change_score(**values):
    def damage(folder):
        path = folder / "scores.json"
        evaluations = json.loads(path.read_text())
        evaluations[-1]["scores"][0] |= values
        path.write_text(json.dumps(evaluations))

    return damage


def hostile_row(folder: Path):
    with (folder / "metrics.jsonl").open("a") as file:
        row = {"kind": "train", "iteration": 41, "images_seen": 4100, "values": {"x": "<script>"}}
        file.write(json.dumps(row) + "\n")


@pytest.mark.parametrize(
    "damage",
    [
        damage_line,
        hostile_row,
        change("status.json", images_seen="many"),
        change_score(value="<b>"),
        change_score(metric=["fid"]),
        change_score(protocol="none"),
        lambda folder: (folder / "status.json").unlink(),
        lambda folder: (folder / "status.json").write_text("[]"),
        lambda folder: (folder / "scores.json").write_text("{"),
        lambda folder: (folder / "scores.json").write_text("[" * 100_000),
        lambda folder: (folder / "config.yaml").write_text("- a\n- list\n"),
        lambda folder: (folder / "config.yaml").write_text("a: [\n"),
        lambda folder: (folder / "config.yaml").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "config.yaml").write_text("experiment_name: x\n"),
    ],
)
def test_a_damaged_run_is_named_and_left_out(make_run, damage):
    good, bad = make_run(), make_run("bad", 1)
    damage(bad)
    first, second = read([str(good), str(bad)])
    assert isinstance(first, Record)
    assert isinstance(second, Problem) and second.source == str(bad) and second.reason


def test_a_damaged_picture_costs_the_pictures_alone(make_run):
    folder = make_run()
    next(folder.glob("samples/*.png")).write_bytes(b"no picture")
    record = only(folder)
    assert record.pictures == [] and "pictures cannot be read" in record.notes[0]
    assert record.scores


def test_runs_are_found_in_folders_once(make_run, tmp_path):
    a, b, c = make_run("one", 0), make_run("one", 1), make_run("two", 0)
    assert find([str(a.parent)]) == [str(a), str(b)]
    assert find([str(tmp_path / "runs")]) == [str(a), str(b), str(c)]
    assert find([str(c), str(a.parent), str(a)]) == [str(c), str(a), str(b)]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("runs/onne", "does not exist; did you mean 'one'?"),
        ("empty", "holds no run"),
        ("wandb://entity/project", "is not a W&B run"),
    ],
)
def test_what_is_no_run_is_said(make_run, tmp_path, monkeypatch, word, said):
    make_run("one")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        find([word])


# W&B's own client and service against a server of this machine that knows one run.


class Server(BaseHTTPRequestHandler):
    run: ClassVar[dict] = {}
    rows: ClassVar[list[str]] = []
    picture = b""
    known = True

    def reply(self, body: bytes):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(self.picture)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data: dict = {}
        if "viewer" in asked["query"]:
            data["viewer"] = {
                "id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}",
                "teams": {"edges": []},
            }  # fmt: skip
        if "project(" in asked["query"]:
            data["project"] = {"internalId": "7", "run": self.answer() if self.known else None}
        self.reply(json.dumps({"data": data}).encode())

    def answer(self):
        url = f"http://127.0.0.1:{self.server.server_address[1]}/picture.png"
        file = {
            "id": "1", "name": "media/images/samples_1.png", "url": url, "directUrl": url,
            "sizeBytes": str(len(self.picture)), "mimetype": "image/png", "md5": "",
            "updatedAt": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        return self.run | {
            "parquetHistory": {"liveData": [], "parquetUrls": []},
            "history": self.rows,
            "files": {
                "edges": [{"node": file, "cursor": "a"}],
                "pageInfo": {"hasNextPage": False, "endCursor": "a"},
            },
        }

    def log_message(self, *args):
        pass


@pytest.fixture
def wandb_server(tmp_path, monkeypatch, how):
    """A server with a run as the W&B view writes it; this process only talks to loopback."""
    for name in [n for n in os.environ if n.startswith("WANDB_") or "proxy" in n.lower()]:
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    name = "fid_mnist@10k_test"
    rows = [
        {"_step": i, "images_seen": 64 * i, "train/loss_D": 1 / i if i != 3 else "NaN"}
        for i in range(1, 11)
    ]
    rows[9] |= {
        f"eval/{name}": 9.5,
        "system/device_hours": 0.5,
        "samples": {"_type": "image-file", "path": "media/images/samples_1.png"},
    }
    config = {"seed": 4, "experiment_name": "dcgan", "protocols": {name: asdict(how)}}
    summary = {"status": "collapsed", f"scores/{name}": 9.5}
    Server.known, Server.picture = True, (tmp_path / "picture.png").read_bytes()
    Server.rows = [json.dumps(row) for row in rows]
    Server.run = {
        "id": "UnVu", "name": "r1", "projectId": "7", "displayName": "abc-seed4", "group": "dcgan",
        "state": "failed", "tags": [], "jobType": "train", "commit": None, "readOnly": False,
        "createdAt": "2026-01-01T00:00:00Z", "heartbeatAt": "2026-01-01T00:00:00Z",
        "description": "", "notes": "", "systemMetrics": "{}", "historyLineCount": 10,
        "historyKeys": {"lastStep": 10, "keys": {}}, "user": {"name": "me", "username": "me"},
        "sweepName": None, "summaryMetrics": json.dumps(summary),
        "config": json.dumps({key: {"value": value} for key, value in config.items()}),
    }  # fmt: skip
    yield server
    server.shutdown()
    server.server_close()


# W&B's service outlives its first server: each test reads in a process of its own.
READ = """
import json, sys
from lightning_gen.errors import LightningGenError
from lightning_gen.tracking.records import Problem, read
try:
    (r,) = read(["wandb://me/proj/r1"])
except LightningGenError as error:
    print(json.dumps([type(error).__name__, str(error)]))
    sys.exit()
if isinstance(r, Problem):
    print(json.dumps(["Problem", r.reason]))
    sys.exit()
curve = r.curves["train/loss_D"]
print(json.dumps({
    "name": r.name, "seed": r.seed, "state": r.state, "scored_at": r.scored_at,
    "images_seen": r.images_seen, "config": sorted(r.config), "nonfinite": r.nonfinite,
    "images": list(curve.images), "values": list(curve.values),
    "scores": [s.to_json() for s in r.scores],
    "pictures": [[p.key, p.images_seen, len(p.load())] for p in r.pictures],
    "hours": r.last("system/device_hours"), "torch": "torch" in sys.modules,
}))
"""


def read_there():
    command = [sys.executable, "-c", READ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_is_read_from_wandb(wandb_server, how):
    found = read_there()
    steps = [i for i in range(1, 11) if i != 3]
    assert found == {
        "name": "dcgan/abc-seed4",
        "seed": 4,
        "state": "collapsed",
        "scored_at": 640,
        "images_seen": 640,
        "config": ["experiment_name", "seed"],
        "nonfinite": {"train/loss_D": 1},
        "images": [64 * i for i in steps],
        "values": [1 / i for i in steps],
        "scores": [
            {"name": "fid_mnist@10k_test", "metric": "fid", "value": 9.5, "protocol": asdict(how),
             "ci": None, "note": None}
        ],
        "pictures": [["samples", 640, len(Server.picture)]],
        "hours": 0.5,
        "torch": False,
    }  # fmt: skip


def test_a_run_that_wandb_does_not_have_is_said(wandb_server):
    Server.known = False
    kind, text = read_there()
    assert kind == "ConfigError" and "wandb://me/proj/r1" in text and "fix: entity" in text


def test_a_foreign_run_in_wandb_is_left_out(wandb_server):
    Server.run = Server.run | {"config": json.dumps({"lr": {"value": 1}})}
    assert read_there() == ["Problem", "KeyError: 'seed'"]


def test_without_a_key_or_a_server_the_way_out_is_said(monkeypatch, tmp_path, capsys):
    for name in [n for n in os.environ if n.startswith("WANDB_") or "proxy" in n.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert main(["compare", "wandb://me/proj/r1"]) == 2
    said = capsys.readouterr().err
    assert "no API key" in said and "fix: `wandb login`, or set WANDB_API_KEY" in said
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert main(["compare", "wandb://me/proj/r1"]) == 3
    said = capsys.readouterr().err
    assert "cannot be reached" in said and "or compare the run's own folder" in said


def test_scores_of_evaluate_count_when_they_are_of_the_same_step(make_run, how):
    path = make_run()
    raw = [Score("fid", 12.0, replace(how, weights="raw")), Score("fid", 99.0, how)]

    def evaluated(iteration):
        text = {"iteration": iteration, "scores": [score.to_json() for score in raw]}
        (path / "evaluation.json").write_text(json.dumps(text))
        return [(s.value, s.protocol.weights) for s in from_disk(path).scores]

    assert evaluated(40) == [(10.0, "ema"), (12.0, "raw")]  # the run's own comes first
    assert evaluated(30) == [(10.0, "ema")]
