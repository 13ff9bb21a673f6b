"""Which process of a distributed run was lost, and how."""

import faulthandler
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

import torch.distributed as dist

from lightning_gen.errors import RankError

PATIENCE = 8.0  # seconds in which the other ranks notice by themselves that one has died
ORDERLY = 60.0  # likewise, after one that ended with an exit code of its own
_LOST = re.compile("gloo|nccl|connection|timed? ?out|broken pipe|socket", re.IGNORECASE)


class Peer(NamedTuple):
    """A process of the run.

    Args:
        rank: Its rank.
        pid: Its process.
        host: Its machine.
        agreed: What all have to agree on.
    """

    rank: int
    pid: int
    host: str
    agreed: str

    def __str__(self) -> str:
        return f"rank {self.rank} (pid {self.pid} on {self.host})"

    def state(self) -> str:
        """Say whether it runs, as far as can be seen from here: R, T (stopped), X (gone)."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return "X"
        letter = text.rpartition(")")[2].split()[0]
        return "X" if letter in "ZX" else "T" if letter in "Tt" else "R"


def meet(agreed: str) -> list[Peer]:
    """Make the ranks known to one another.

    Args:
        agreed: What must be the same on all of them.

    Returns:
        All ranks, in order.

    Raises:
        RankError: On all of them, if one differs from rank 0.
    """
    peers: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(peers, Peer(dist.get_rank(), os.getpid(), socket.gethostname(), agreed))
    differing = [peer for peer in peers if peer.agreed != peers[0].agreed]
    if differing:
        raise RankError(
            f"{differing[0]} has another configuration than rank 0: {differing[0].agreed}, "
            f"and not {peers[0].agreed}",
            where="what differs between the ranks: command, environment, or code",
            fix="start every rank with the same command and environment",
        )
    # A rank that is found to hang is asked by this signal for what it is doing.
    if sys.__stderr__ is not None and hasattr(signal, "SIGUSR2"):
        faulthandler.register(signal.SIGUSR2, file=sys.__stderr__, all_threads=True)
    return peers


def find(error: Exception, strategy: Any) -> RankError | None:
    """Tell which rank is behind an error of the communication.

    Args:
        error: What this rank saw of it.
        strategy: The trainer's strategy.

    Returns:
        None if the error is none of communication.
    """
    if not getattr(strategy, "peers", None) or not _LOST.search(str(error)):
        return None
    here = [p for p in strategy.peers if p.host == socket.gethostname() and p.pid != os.getpid()]
    deadline = time.monotonic() + PATIENCE / 2
    while not (gone := [p for p in here if p.state() == "X"]) and time.monotonic() < deadline:
        if any(p.state() == "T" for p in here):
            break
        time.sleep(0.1)
    if gone:
        return RankError(
            f"{gone[0]} has died{_how(gone[0], strategy)}",
            where=" ".join(str(error).split())[:200],
            fix="see its own message above; the same command continues from the last checkpoint",
        )
    hung = [p for p in here if p.state() == "T"] or here
    _dump_and_kill(hung)
    return RankError(
        f"{' or '.join(map(str, hung)) or 'a rank of another machine'} did not answer within "
        f"{strategy.wait:g} s",
        where=" ".join(str(error).split())[:200],
        fix="its stack is above; trainer.rank_timeout=SECONDS to wait longer",
    )


def _how(peer: Peer, strategy: Any) -> str:
    procs: Sequence[Popen[bytes]] = getattr(strategy.launcher, "procs", ())
    codes = [proc.poll() for proc in procs if proc.pid == peer.pid]
    return "" if not codes or codes[0] is None else f": {_ended(codes[0])}"


def _ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _dump_and_kill(peers: Sequence[Peer]) -> None:
    """Have each rank print its stacks, and end it: nobody waits for it any more."""
    for wanted in (signal.SIGUSR2, signal.SIGCONT):
        for peer in peers:
            with suppress(OSError):
                os.kill(peer.pid, wanted)
    time.sleep(1)
    for peer in peers:
        with suppress(OSError):
            os.kill(peer.pid, signal.SIGKILL)


class Watch(threading.Thread):
    """End all ranks when one has died and no other has noticed.

    Args:
        procs: The ranks that this process started, from rank 1.
    """

    def __init__(self, procs: Sequence["Popen[bytes]"]) -> None:
        super().__init__(daemon=True, name="watch over the ranks")
        self.procs = procs

    def run(self) -> None:
        """Look each second."""
        while not (ended := [i for i, p in enumerate(self.procs, 1) if p.poll()]):
            if all(p.poll() == 0 for p in self.procs):
                return
            time.sleep(1)
        code = self.procs[ended[0] - 1].poll() or 0
        time.sleep(PATIENCE if code < 0 else ORDERLY)
        what = f"rank {ended[0]} has died: {_ended(code)}; rank 0 waited in vain"
        print(RankError(what, fix="the same command continues"), file=sys.stderr, flush=True)
        for process in self.procs:
            process.kill()
        os._exit(RankError.exit_code)
