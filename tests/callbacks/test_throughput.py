import math
from types import SimpleNamespace

import pytest
import torch

from lightning_gen.callbacks import base, throughput
from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.throughput import Throughput, peak_memory
from lightning_gen.core import GenerativeModule
from tests.callbacks.conftest import Idle


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Pause(RunCallback):
    def __init__(self, evaluates):
        self.evaluates = evaluates


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(base, "time", clock)
    monkeypatch.setattr(throughput, "time", clock)
    return clock


class Drive:
    """Steps of 10 images and 2 seconds on 4 devices, 20 of them."""

    def __init__(self, clock, recorder, iteration=0, state=None):
        self.clock, self.module = clock, GenerativeModule()
        self.module.iteration, self.module.images_seen = iteration, 10 * iteration
        self.module.images_per_iteration = 10
        self.throughput = Throughput(every_images=40)
        self.throughput.run = recorder
        if state is not None:
            self.throughput.load_state_dict(state)
        self.scores, self.grid = Pause(True), Pause(False)
        callbacks = [self.scores, self.grid, self.throughput]
        self.trainer = SimpleNamespace(
            world_size=4, callbacks=callbacks, datamodule=SimpleNamespace(stop_iteration=20)
        )
        self.throughput.on_train_start(self.trainer, self.module)

    def step(self, scoring=0.0, drawing=0.0):
        self.clock.now += 2
        self.module.iteration += 1
        self.module.images_seen += 10
        for callback, seconds in ((self.scores, scoring), (self.grid, drawing)):
            with callback.pausing():
                self.clock.now += seconds
        self.throughput.on_train_batch_end(self.trainer, self.module)


def test_training_alone_is_timed(clock, recorder):
    drive = Drive(clock, recorder)
    for _ in range(3):
        drive.step()
    drive.step(scoring=30, drawing=2)
    (kind, iteration, images, values) = recorder.rows[0]
    assert (kind, iteration, images) == ("system", 4, 40)
    assert values["images_per_second"] == 5.0  # 10 images in 2 seconds, the first step left out
    assert values["evaluation_share"] == 30 / 40
    assert values["device_hours"] == pytest.approx(4 * 40 / 3600)
    assert values["seconds_left"] == pytest.approx(16 * 10)  # ten seconds a step, all told
    assert values["peak_memory_bytes"] > 1e7


def test_device_hours_go_on_after_a_resume(clock, recorder):
    first = Drive(clock, recorder)
    for _ in range(8):
        first.step()
    state = first.throughput.state_dict()
    clock.now += 1e6  # the machine was another's
    second = Drive(clock, recorder, iteration=8, state=state)
    for _ in range(12):
        second.step()
    second.throughput.on_train_end(second.trainer, second.module)
    hours = [values["device_hours"] for _, values in recorder.of("system")]
    assert hours == sorted(hours) and hours[-1] == pytest.approx(4 * 40 / 3600)
    assert recorder.of("system")[-1][1]["seconds_left"] == 0


def test_state_is_a_number_that_a_safe_loader_takes(clock, recorder, tmp_path):
    drive = Drive(clock, recorder)
    drive.step()
    torch.save(drive.throughput.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state == {"device_hours": pytest.approx(4 * 2 / 3600)}


def test_rows_of_a_real_fit_are_finite(fit, ring, recorder):
    fit(Idle(lambda *a: None), ring, [Throughput(every_images=128)], 6)
    rows = recorder.of("system")
    assert [i for i, _ in rows] == [2, 4, 6, 6]
    assert all(math.isfinite(v) for _, values in rows for v in values.values())
    assert all(values["images_per_second"] > 0 for _, values in rows[:3])


def test_memory_only_grows():
    before = peak_memory(torch.device("cpu"))
    block = torch.zeros(int(before) // 4 + 8_000_000)  # floats: as much again, and 32 MB
    assert peak_memory(torch.device("cpu")) - before > 0 and block.sum() == 0
