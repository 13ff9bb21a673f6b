import os
import signal
import threading
import time

import pytest

from lightning_gen.runs.preemption import StopRequest

LOOP = """
import sys, time
from lightning_gen.runs.preemption import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_sets_a_flag_and_nothing_else(signum):
    before = [signal.getsignal(s) for s in StopRequest.SIGNALS]
    with StopRequest() as stop:
        assert stop.signum is None
        os.kill(os.getpid(), signum)
        assert stop.signum == signum
        assert stop.is_interrupt(signum) == (signum == signal.SIGINT)
    assert [signal.getsignal(s) for s in StopRequest.SIGNALS] == before


def test_the_first_reason_stays_and_saving_is_not_disturbed():
    with StopRequest() as stop:
        for signum in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), signum)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.signum == signal.SIGUSR1


@pytest.mark.parametrize("signum, limit", [(signal.SIGINT, 2), (signal.SIGTERM, 3)])
def test_insisting_ends_the_process_at_once(popen, signum, limit):
    process = popen(LOOP)
    assert process.stdout.readline() == "ready\n"
    for _ in range(limit - 1):
        process.send_signal(signum)
        time.sleep(0.2)
        assert process.poll() is None
    process.send_signal(signum)
    assert process.wait(20) == 128 + signum


def test_entering_twice_and_leaving_twice():
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest()
    stop.__exit__(None, None, None)
    with stop, stop:
        assert signal.getsignal(signal.SIGTERM) == stop._handle
    assert signal.getsignal(signal.SIGTERM) == before


def test_another_thread_cannot_install_handlers():
    seen = []

    def enter():
        with StopRequest() as stop:
            seen.append(stop.signum)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [None]
