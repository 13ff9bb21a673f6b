"""R24, B19, B20: runs started at the same moment never share a folder; the rest are told why.

Half of the starts name one and the same run, which one start gets; the others are to begin afresh
(`run.fresh`), and each gets a folder of its own. The first of these may be the one that gets the
run's own name, since nothing stood there: then each start of the other half is told so.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest

from lightning_gen.config.compose import check_overrides
from lightning_gen.errors import OutputError
from tests.faults.obtained import write

CONTEXT = multiprocessing.get_context("fork")


def begin(config, gate, answers, release):
    """Open the run when the gate opens; say what came of it, and hold it."""
    from lightning_gen.runs.run import Run

    gate.wait()
    try:
        run = Run.open(config, command=["lightning-gen", "train"])
    except OutputError as error:
        answers.put(
            ("refused afresh" if config["run"]["fresh"] else "refused", str(error), os.getpid())
        )
        return
    except BaseException as error:
        answers.put(("failed", repr(error), os.getpid()))
        return
    run.log("train", 1, 64, {"pid": float(os.getpid())})
    answers.put(("opened", str(run.path), os.getpid()))
    release.wait()
    run.close()


def start_at_once(count, folder):
    """Answers of so many starts of a run and as many fresh ones."""
    same = check_overrides(["experiment=gan_ring", f"paths.runs={folder}", "logger=none"])
    fresh = {**same, "run": {**same["run"], "fresh": True}}
    gate, release, answers = CONTEXT.Event(), CONTEXT.Event(), CONTEXT.Queue()
    jobs = [same] * (count // 2) + [fresh] * (count - count // 2)
    started = [CONTEXT.Process(target=begin, args=(c, gate, answers, release)) for c in jobs]
    for process in started:
        process.start()
    time.sleep(0.2)
    gate.set()
    said = [answers.get(timeout=120) for _ in started]
    release.set()
    for process in started:
        process.join(60)
    return said


def collisions(said):
    """What is not as promised."""
    opened = [path for what, path, _ in said if what == "opened"]
    wrong = [f"{path} was opened twice" for path in set(opened) if opened.count(path) > 1]
    wrong += [text for what, text, _ in said if what in ("failed", "refused afresh")]
    for what, text, _ in said:
        if what == "refused" and not ("is in use by" in text and "pid" in text):
            wrong.append(text)
    for what, path, pid in said:
        if what == "opened":
            with open(f"{path}/metrics.jsonl") as file:
                rows = [json.loads(line) for line in file]
            if [row["values"]["pid"] for row in rows if row["kind"] == "train"] != [float(pid)]:
                wrong.append(f"{path} holds rows of another")
    return wrong


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_R24_eight_starts_at_once(tmp_path):
    said = start_at_once(8, tmp_path)
    assert collisions(said) == []
    opened = {Path(path).name for what, path, _ in said if what == "opened"}
    assert min(opened, key=len) + "-fresh2" in opened, opened  # the run's own name is had by one
    assert len(opened) in (4, 5), said  # four afresh, one of which may have that name


@pytest.mark.slow
def test_R24_a_hundred_starts_at_once(tmp_path):
    wrong, refused = [], 0
    for trial in range(5):
        said = start_at_once(100, tmp_path / str(trial))
        wrong += collisions(said)
        refused += [what for what, *_ in said].count("refused")
    write(
        "R24",
        "0 collisions in 100 simultaneous starts; the lock message in all",
        f"{len(wrong)} collisions in 5 times 100 starts; {refused} were told who has the run",
        count=500,
        failures=len(wrong),
    )
    assert wrong == []
