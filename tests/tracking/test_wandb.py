"""The W&B view against W&B itself: real offline runs, read back with W&B's own reader."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from lightning_gen.tracking import wandb as tracking
from lightning_gen.tracking.wandb import WandbView, check
from lightning_gen.tracking.wandb_process import has_key, unreachable

KEY = "0123456789abcdef" * 4
LAST = 30


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch, tmp_path):
    """No key, no prompt, and no server but a port of this machine on which nobody listens."""
    for name in [n for n in os.environ if n.startswith("WANDB_") or "proxy" in n.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def inspect(folder: Path) -> dict[str, list]:
    """All records of a W&B folder by type."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records: dict[str, list] = {}
    for line in out.splitlines():
        record = json.loads(line)
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


def summary(folder: Path) -> dict:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(folder)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def history(folder: Path) -> list[dict]:
    return [record["item"] for record in inspect(folder)["history"]]


def row(iteration: int, kind: str = "train", **values) -> dict:
    values = values or {"loss_D": 1 / iteration}
    return {"kind": kind, "iteration": iteration, "images_seen": 64 * iteration, "values": values}


def segments(run: Path) -> list[Path]:
    return sorted(p for p in (run / "wandb").glob("*run-*-r1") if not p.is_symlink())


def start(view: WandbView, run: Path, **options) -> WandbView:
    """Start a view, and wait for it as training would not."""
    run.mkdir(exist_ok=True)
    view.start(run, "r1", "seed0-abc", {"seed": 0}, **options)
    if view._opening is not None:
        view._opening.join(90)
    return view


def said(capfd) -> list[str]:
    """What was said on stderr, but for being late, which depends on the machine."""
    heard = capfd.readouterr()
    assert heard.out == ""
    return [
        line for line in heard.err.splitlines() if not line.endswith("training goes on meanwhile")
    ]


def test_an_offline_run_holds_everything(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SOME_TOKEN", "tops3cret-value")
    monkeypatch.setattr(sys, "argv", ["/x/lightning-gen", "train", "hub.api_key=12345", "seed=1"])
    run = tmp_path / "run"
    run.mkdir()
    config = {
        "model": {"latent_dim": 64, "optimizers": {"G": {"lr": 2e-4, "betas": [0.5, 0.999]}}},
        "hub": {"api_key": "12345", "url": "https://u:tops3cret-value@host"},
    }
    view = WandbView(project="p", job_type="train", tags=["extra"], finish_timeout=60)
    view.start(
        run, "r1", "seed0-abc", config, ["mnist"], "dcgan_mnist", provenance={"commit": "f00"}
    )  # fmt: skip
    view._opening.join(90)
    for i in range(1, LAST + 1):
        view.log(row(i))
        if i % 10 == 0:
            fid = abs(i - 20) + 0.5
            view.log(row(i, "eval", **{"fid_mnist@10k_test": fid, "recall_mnist@10k_test": i / 50}))
            view.log(row(i, "collapse", modes=10))
            view.log(row(i, "system", images_per_second=1e3))
            Image.new("RGB", (8, 8), (i, 0, 0)).save(run / f"samples-{i}.png")
            view.picture("samples", run / f"samples-{i}.png", row(i))
    nonfinite = row(LAST + 1, loss_D=None, loss_G=1.0) | {"nonfinite": {"loss_D": "nan"}}
    view.log(nonfinite)
    view.picture("samples", run / "gone.png", row(LAST + 1))
    view.alert("collapse", "1 of 10 modes")
    protocol = {"extractor": "mnist", "n_fake": 10_000}
    view.scores([{"name": "fid_mnist@10k_test", "value": 10.5, "protocol": protocol}])
    view.close("finished")

    assert said(capfd) == [
        f"W&B: offline, no API key; to upload: {view.how_to_open}",
        "W&B: pictures not shown: 1, the first: "
        f"[Errno 2] No such file or directory: '{run / 'gone.png'}'",
    ]
    (folder,) = segments(run)
    assert view.how_to_open == f"wandb sync {folder}"
    records, held = inspect(folder), summary(folder)
    (opened,) = records["run"]
    assert opened["run_id"] == "r1" and opened["project"] == "p"
    assert opened["run_group"] == "dcgan_mnist" and opened["job_type"] == "train"
    assert opened["tags"] == ["mnist", "extra"] and opened["display_name"] == "seed0-abc"
    assert held["config"]["model"] == config["model"]
    assert held["config"]["hub"] == {"api_key": "<redacted>", "url": "https://u:<redacted>@host"}
    assert held["config"]["provenance"] == {"commit": "f00"}
    assert held["config"]["protocols"] == {"fid_mnist@10k_test": protocol}
    assert held["summary"]["scores/fid_mnist@10k_test"] == 10.5
    assert held["summary"]["eval/fid_mnist@10k_test"] == {"min": 0.5, "last": 10.5}
    assert held["summary"]["eval/recall_mnist@10k_test"] == {"max": 0.6, "last": 0.6}
    assert held["summary"]["status"] == "finished" and held["exit_code"] == 0
    assert records["environment"][0]["args"] == ["train", "hub.api_key=<redacted>", "seed=1"]
    defined = {m.get("glob_name") or m["name"]: m.get("step_metric") for m in records["metric"]}
    assert defined["*"] == "images_seen" and "images_seen" in defined

    rows = [record["item"] for record in records["history"]]
    assert [r["_step"] for r in rows] == list(range(1, LAST + 2))
    assert all(r["images_seen"] == 64 * r["_step"] for r in rows)
    assert [r["train/loss_D"] for r in rows] == [1 / i for i in range(1, LAST + 1)] + ["NaN"]
    evaluated = [r for r in rows if "eval/fid_mnist@10k_test" in r]
    assert [r["_step"] for r in evaluated] == [10, 20, 30]
    for r in evaluated:
        assert r["collapse/modes"] == 10 and r["system/images_per_second"] == 1e3
        with Image.open(folder / "files" / r["samples.path"]) as image:
            assert image.getpixel((0, 0)) == (r["_step"], 0, 0)
    (alert,) = records["alert"]
    assert alert["title"] == "collapse" and alert["text"] == "1 of 10 modes"


# A training process: its own history is the truth, and each row goes to the view as well.
TRAINING = """
import json, sys, time
from pathlib import Path
from lightning_gen.tracking.wandb import WandbView

run, stop = Path(sys.argv[1]), int(sys.argv[2])
path = run / "metrics.jsonl"
rows = [json.loads(l) for l in path.read_text().splitlines()] if path.exists() else []
rows = rows[: len(rows) // 10 * 10]  # back to a checkpoint: the last steps are done again
path.write_text("".join(json.dumps(r) + "\\n" for r in rows))
grids = sorted(run.glob("samples-*.png"))
pictures = [("samples", g, {"iteration": int(g.stem[-2:]), "images_seen": 0}) for g in grids]
view = WandbView(finish_timeout=60)
view.start(run, "r1", "n", {}, resumed=bool(rows), history_rows=rows,
           pictures=[p for p in pictures if p[2]["iteration"] <= len(rows)])
view._opening.join()
print(view._helper.process.pid, flush=True)
with path.open("a") as file:
    for i in range(len(rows) + 1, stop + 1):
        row = {"kind": "train", "iteration": i, "images_seen": 64 * i, "values": {"loss": 1 / i}}
        print(json.dumps(row), file=file, flush=True)
        view.log(row)
        if i % 10 == 0:
            view.picture("samples", run / f"samples-{i:02}.png", row)
if stop == 40:
    view.close()
else:
    time.sleep(0.05)
    print("there", flush=True)
    time.sleep(600)
"""


def test_killed_twice_and_resumed_every_step_is_there_once(tmp_path):
    for i in (10, 20, 30, 40):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"samples-{i:02}.png")
    for stop in (15, 27):
        command = [sys.executable, "-c", TRAINING, str(tmp_path), str(stop)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
            helper = int(training.stdout.readline())
            assert training.stdout.readline() == "there\n"
            training.send_signal(signal.SIGKILL)
        while Path(f"/proc/{helper}").exists() and "Z" not in _state(helper):
            time.sleep(0.05)  # it writes out what it got, and ends
        killed = segments(tmp_path)[-1]
        # Nothing that reached the helper is lost, whatever W&B had not flushed.
        records = inspect(killed)
        assert [r["item"]["_step"] for r in records["history"]] == list(range(1, stop + 1))
        assert records["exit"][0]["exit_code"] == 1
    subprocess.run([sys.executable, "-c", TRAINING, str(tmp_path), "40"], check=True)

    (folder,) = segments(tmp_path)
    records = inspect(folder)
    rows = [record["item"] for record in records["history"]]
    assert [r["_step"] for r in rows] == list(range(1, 41))
    assert all(r["train/loss"] == 1 / r["_step"] for r in rows)
    assert all(r["images_seen"] == 64 * r["_step"] for r in rows if r["_step"] % 10)
    assert [r["_step"] for r in rows if "samples.path" in r] == [10, 20, 30, 40]
    assert len(list((tmp_path / "wandb" / "superseded").iterdir())) == 2
    opened = records["run"][0]
    assert opened["run_id"] == "r1" and opened["resume"]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


@pytest.mark.parametrize("kind", ["synced offline", "online"])
def test_what_was_uploaded_is_not_written_again(tmp_path, kind):
    view = start(WandbView(finish_timeout=60), tmp_path / "run")
    for i in range(1, 13):
        view.log(row(i))
    view.close("preempted")
    (first,) = segments(tmp_path / "run")
    if kind == "online":
        first = first.rename(first.with_name(first.name.removeprefix("offline-")))
    else:
        (first / "run-r1.wandb.synced").touch()

    time.sleep(1.1)  # W&B names its folders by the second
    past = [row(i) for i in range(1, 11)]  # back to a checkpoint at 10, and two steps lost since
    view = start(WandbView(finish_timeout=60), tmp_path / "run", resumed=True, history_rows=past,
                 alerts=[("old", "", row(5))])  # fmt: skip
    for i in range(11, 21):
        view.log(row(i))
    view.close()
    assert first in segments(tmp_path / "run")
    (second,) = set(segments(tmp_path / "run")) - {first}
    records = inspect(second)
    assert [r["item"]["_step"] for r in records["history"]] == list(range(13, 21))
    assert "alert" not in records


class Server(BaseHTTPRequestHandler):
    """Answers every page with one status; asked for data, it may never answer."""

    status = 200
    hangs = False

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def do_POST(self):
        if self.hangs:
            time.sleep(600)
        self.do_GET()

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def serve(monkeypatch):
    servers = []

    def serve(kind: str):
        if kind == "refused":
            return
        if kind == "silent":  # takes connections and never says a word
            server = socket.create_server(("127.0.0.1", 0))
            port, close = server.getsockname()[1], server.close
        else:
            handler = type("Handler", (Server,), {"status": 200, "hangs": kind == "hangs later"})
            handler.status = int(kind) if kind.isdigit() else 200
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            server.block_on_close = False
            port, close = server.server_port, server.shutdown
            threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(close)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")

    yield serve
    for close in servers:
        close()


@pytest.mark.parametrize("trouble", ["refused", "silent", "401", "hangs later"])
def test_without_a_server_it_goes_offline_and_says_so(
    tmp_path, monkeypatch, capfd, serve, trouble
):  # fmt: skip
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    serve(trouble)
    view = start(WandbView(start_timeout=6, finish_timeout=2), tmp_path / "run")
    for i in range(1, 4):
        view.log(row(i))
    view.close()
    (line,) = said(capfd)
    assert line.startswith("W&B: offline, ") and line.endswith(f"to upload: {view.how_to_open}")
    assert "no API key" not in line
    offline = [p for p in segments(tmp_path / "run") if p.name.startswith("offline")]
    assert [r["_step"] for r in history(offline[-1])] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["200", "404"])
def test_a_server_that_says_anything_is_there(serve, kind):
    serve(kind)
    assert unreachable(os.environ["WANDB_BASE_URL"], 1) is None


@pytest.mark.parametrize(
    ("kind", "why"), [("refused", "refused"), ("silent", "timed out"), ("500", "answers 500")]
)
def test_a_server_in_trouble_is_told_from_one_that_is_well(serve, kind, why):
    serve(kind)
    assert why in unreachable(os.environ["WANDB_BASE_URL"], 1)


def test_a_dead_proxy_is_a_dead_server(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "refused" in unreachable("http://wandb.invalid", 1)


def test_a_server_that_talks_nonsense_stops_nothing(tmp_path, monkeypatch, capfd, serve):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    serve("200")
    view = start(WandbView(start_timeout=6, finish_timeout=1), tmp_path / "run")
    for i in range(1, 4):
        view.log(row(i))
    view.close()
    assert len(said(capfd)) <= 2


def test_a_view_that_falls_behind_is_dropped(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(tracking, "_CAPACITY", 50)
    view = start(WandbView(), tmp_path / "run")
    helper = view._helper.process
    os.kill(helper.pid, signal.SIGSTOP)
    for i in range(1, 3000):
        view.log(row(i, text_that_fills_the_pipe=1.0 / i))
    view.close()
    assert "50 records behind; training goes on" in said(capfd)[1]
    assert helper.poll() is not None


def test_closing_does_not_wait_for_ever(tmp_path, capfd):
    view = start(WandbView(finish_timeout=0.5), tmp_path / "run")
    helper = view._helper.process
    os.kill(helper.pid, signal.SIGSTOP)
    view.log(row(1))
    view.close()
    line = said(capfd)[1]
    assert line.endswith(f"to upload: {view.how_to_open}")
    assert helper.poll() is not None


def test_disabled_does_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    view = start(WandbView(mode="auto"), tmp_path / "run")
    view.log(row(1))
    view.close()
    assert list((tmp_path / "run").iterdir()) == [] and capfd.readouterr().err == ""
    assert view.how_to_open is None


def test_an_unwritable_folder_stops_nothing(tmp_path, capfd):
    run = tmp_path / "run"
    run.mkdir()
    (run / "wandb").write_text("a file where the folder should be")
    view = start(WandbView(), run)
    view.log(row(1))
    view.close()
    assert all(line.startswith("W&B: ") for line in capfd.readouterr().err.splitlines())


def test_a_key_is_found_without_asking(tmp_path, monkeypatch):
    cloud, own = "https://api.example", "http://127.0.0.1:9"
    assert not has_key(own, cloud)
    Path(os.environ["NETRC"]).write_text(f"machine 127.0.0.1:9 login user password {KEY}\n")
    assert has_key(own, cloud) and not has_key(cloud, cloud)
    Path(os.environ["NETRC"]).write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert has_key(cloud, cloud) and not has_key(own, cloud)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert has_key(own, cloud)


def test_check_says_what_would_happen(monkeypatch):
    assert check() == {
        "mode": "offline",
        "server": "http://127.0.0.1:9",
        "key": False,
        "reason": "no API key",
    }
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    answer = check()
    assert answer["key"] and answer["mode"] == "offline" and "127.0.0.1:9" in answer["reason"]


def test_importing_the_view_imports_neither_wandb_nor_torch():
    code = """if True:
        import sys, lightning_gen.tracking.wandb as t
        t.WandbView()
        assert not {"wandb", "torch"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True)
