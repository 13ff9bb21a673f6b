"""W&B's sweep from the same file, against a server of ours on the loopback."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from lightning_gen.errors import ConfigError
from lightning_gen.sweeps import wandb_agent
from lightning_gen.sweeps.space import Space

ME = {"id": "e", "name": "me"}
VIEWER = {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
BASE = ["experiment=gan_ring", "trainer.threads=1", "model.G.units=8", "model.D.units=8",
        "budget.images=1000", "callbacks.scores.final_n_fake=100", "callbacks.progress=null",
        "trainer.accelerator=cpu", "trainer.devices=1"]  # fmt: skip
SPACE = """
method: random
metric: {name: reverse_kl_ring@100, goal: minimize}
parameters:
  model.optimizers.G.lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}
  model.optimizers.G.betas: {values: [[0.5, 0.999], [0.5, 0.9]]}
"""


class Server(ThreadingHTTPServer):
    """Takes sweeps, and gives an agent one point to try and then the end."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent, self.commands, self.seen = [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, query, variables):
        if "upsertSweep" in query:
            self.sent.append(variables)
            project = {"id": "p", "name": variables["projectName"], "entity": ME}
            sweep = {"name": "abc123", "project": project}
            return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}
        if "SweepWithRuns" in query:
            sweep = {"name": "abc123", "config": self.sent[-1]["config"], "runs": {"edges": []}}
            return {"project": {"sweep": sweep}}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "agentHeartbeat" in query:
            running = json.loads(variables["runState"])
            due = [] if running or not self.commands else [self.commands.pop(0)]
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(due)}}
        return {"viewer": VIEWER}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.path)
        try:
            asked = json.loads(body)
        except ValueError:
            self.reply({})
            return
        self.reply({"data": self.server.answer(asked["query"], asked.get("variables"))})

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        del args


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()


def sweep(tmp_path, *words, **environment):
    (tmp_path / "mine.yaml").write_text(SPACE)
    places = [f"paths.{k}={tmp_path}/{k}" for k in ("data", "cache", "runs")]
    command = [sys.executable, "-m", "lightning_gen", "sweep", f"sweep={tmp_path}/mine.yaml",
               "engine=wandb", "trials=1", *BASE, *places, *words]  # fmt: skip
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    kept |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment
    done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_the_sweep_sent_is_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(SPACE)
    space = Space.read(str(tmp_path / "mine.yaml"))
    sent = wandb_agent.sweep_config(space, BASE, 7)
    assert sent["command"][:5] == ["${env}", "${interpreter}", "-m", "lightning_gen", "train"]
    assert sent["command"][5:] == [*BASE, "${args_no_hyphens}"]
    assert sent["metric"] == {"name": "scores/reverse_kl_ring@100", "goal": "minimize"}
    assert (sent["method"], sent["run_cap"]) == ("random", 7)
    theirs = sent["parameters"]["model.optimizers.G.lr"]
    assert theirs == {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2}
    assert sent["parameters"]["model.optimizers.G.betas"]["values"] == ["[0.5,0.999]", "[0.5,0.9]"]


def test_the_agent_trains_an_ordinary_run_with_the_id_that_wandb_gave(tmp_path, server):
    arguments = {"model.optimizers.G.lr": 3e-05, "model.optimizers.G.betas": "[0.5,0.9]"}
    arguments = {key: {"value": value} for key, value in arguments.items()}
    run = {"type": "run", "id": "1", "run_id": "given123", "args": arguments, "program": None}
    server.commands += [run, {"type": "exit", "id": "2"}]
    url = f"http://127.0.0.1:{server.server_port}"
    code, out = sweep(tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY="a" * 40)
    assert code == 0, out
    sent = yaml.safe_load(server.sent[0]["config"])
    assert sent["command"][-1] == "${args_no_hyphens}" and server.sent[0]["projectName"]
    assert "sweep_id=me/lightning_gen/abc123" in out
    (config,) = (tmp_path / "runs").glob("gan_ring/*/config.yaml")
    run = config.parent
    optimiser = yaml.safe_load(config.read_text())["model"]["optimizers"]["G"]
    assert (optimiser["lr"], optimiser["betas"]) == (3e-5, [0.5, 0.9])
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert json.loads((run / "provenance.json").read_text())["wandb_id"] == "given123"


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ([], {}, "no API key"),
        ([], {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
        ([], {"WANDB_MODE": "offline"}, "W&B is offline"),
        (["logger=none"], {}, "no W&B view"),
    ],
)
def test_without_a_server_there_is_an_error_block(words, environment, said, tmp_path):
    code, out = sweep(tmp_path, *words, **environment)
    assert code == 2 and said in out and "engine=optuna" in out and "Traceback" not in out


def test_what_wandb_refuses_is_an_error_block(server, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    import wandb

    def refuse(*args, **kwargs):
        raise wandb.errors.CommError("permission denied")

    monkeypatch.setattr(wandb, "sweep", refuse)
    with pytest.raises(ConfigError, match="permission denied"):
        wandb_agent.create({}, "project", None)
