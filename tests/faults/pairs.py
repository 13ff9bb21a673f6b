"""Two ranks of one run, each a process that a test started and can hurt."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

RING = [
    "logger=none", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
    "trainer.threads=1", "model=wgan_gp", "data=ring", "network@model=wgan_toy",
    "model.latent_dim=2", "model.G.units=16", "model.D.units=16", "data.batch_size=64",
    "model.n_critic=1", "callbacks.scores=null", "callbacks.collapse=null", "metrics=none",
    "callbacks.sample_grid=null", "callbacks.latents=null", "callbacks.progress=null",
    "callbacks.history.every_images=64", "callbacks.checkpoint.every_images=640",
    "callbacks.preemption.check_every=1",
]  # fmt: skip
RANKS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}
# What a rank does to itself in its k-th step, or nothing.
RANK = """
import os, signal, sys
from lightning_gen.core import GenerativeModule
fault, step = sys.argv.pop(1), int(sys.argv.pop(1))
original = GenerativeModule.on_train_batch_start
def hooked(self, *args):
    original(self, *args)
    if self.iteration == step:
        if fault == "raise":
            raise ZeroDivisionError("bad step")
        if fault == "nan":
            next(self.D.parameters()).register_hook(lambda g: g * float("nan"))
        elif fault != "none":
            os.kill(os.getpid(), getattr(signal, fault))
GenerativeModule.on_train_batch_start = hooked
from lightning_gen.cli import main
sys.exit(main(["train", *sys.argv[1:]]))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(**more):
    return {k: v for k, v in os.environ.items() if k not in RANKS} | more


def paths(folder):
    return [f"paths.{k}={folder}/{k}" for k in ("data", "cache", "runs")]


def start(folder, rank, port, fault="none", step=0, words=()):
    """Start one rank as torchrun does."""
    own = {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": "2"}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", RANK, fault, str(step), *RING, *paths(folder), *words]
    return subprocess.Popen(
        command, env=environment(**own, **where), stderr=subprocess.PIPE, text=True
    )


def both(folder, faults, step=5, words=(), timeout=240):
    """Run two ranks with a fault each; give exit codes and what each said."""
    with running(folder, faults, step, words) as ranks:
        said = [rank.communicate(timeout=timeout)[1] for rank in ranks]
    return [rank.returncode for rank in ranks], said


def timed(folder, faults, step, words=()):
    """Run two ranks of which one is lost; give also the seconds until the other ended."""
    lost = next(k for k, fault in enumerate(faults) if fault != "none")
    with running(folder, faults, step, words) as ranks:
        until(ranks[lost], os.WSTOPPED | os.WEXITED)
        began = time.monotonic()
        until(ranks[1 - lost], os.WEXITED)
        seconds = round(time.monotonic() - began, 1)
        said = [rank.communicate(timeout=60)[1] for rank in ranks]
    return [rank.returncode for rank in ranks], said, seconds


@contextmanager
def running(folder, faults, step, words):
    """Two ranks that are gone afterwards."""
    port = free_port()
    ranks = [
        start(folder, rank, port, fault, step, ("budget.images=3200", *words))
        for rank, fault in enumerate(faults)
    ]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.send_signal(signal.SIGCONT)
            rank.kill()


def until(rank, change, timeout=120):
    """Wait until a process has ended or stopped, and leave it so."""
    limit = time.monotonic() + timeout
    while os.waitid(os.P_PID, rank.pid, change | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > limit:
            raise TimeoutError(f"{rank.args} goes on")
        time.sleep(0.02)
