"""A training process as W&B sees one: its own history, and the view of it, step after step.

It says on stdout where it is, and at each place waits for a line on stdin before it goes on:
``python wandb_training.py RUN STEPS FINISH_TIMEOUT [resume]``.
"""

import json
import sys
import time
from pathlib import Path

from PIL import Image

from lightning_gen.runs.history import History, make_row, read
from lightning_gen.tracking.wandb import WandbView

STEP = 0.01  # seconds a step of training takes
EVERY = 10  # steps between evaluations and pictures


def say(place, **facts):
    print(json.dumps({"place": place, **facts}), flush=True)
    sys.stdin.readline()


def start(run, finish_timeout, resume):
    """Open the view on what the run has so far."""
    view = WandbView(finish_timeout=finish_timeout)
    path = run / "metrics.jsonl"
    history = History(path)
    done = 0
    if resume:
        last = max((row["iteration"] for row in read(path)), default=0)
        done = last // EVERY * EVERY  # back to a checkpoint: the last steps are done again
        history.rewind(done)
    rows = list(read(path)) if resume else []
    pictures = [
        ("samples", run / f"samples-{k}.png", {"iteration": k, "images_seen": 64 * k})
        for k in range(EVERY, done + 1, EVERY)
    ]
    begin = time.monotonic()
    view.start(run, "r1", "seed0", {"seed": 0, "model": {"lr": 2e-4}}, ["tag"], "group",
               resumed=resume, history_rows=rows, pictures=pictures)  # fmt: skip
    return view, history, done, time.monotonic() - begin


def step(run, view, history, k):
    """One step; gives the seconds that W&B took of it."""
    rows = [make_row("train", k, 64 * k, {"loss_D": 1 / k, "loss_G": k / 7})]
    if k % EVERY == 0:
        rows.append(make_row("eval", k, 64 * k, {"fid_mnist@10k_test": abs(k - 20) + 0.5}))
    for row in rows:
        history.append(row)
    begin = time.perf_counter()
    for row in rows:
        view.log(row)
    if k % EVERY == 0:
        file = run / f"samples-{k}.png"
        if not file.exists():
            Image.new("RGB", (8, 8), (k % 256, 0, 0)).save(file)
        view.picture("samples", file, rows[-1])
    return time.perf_counter() - begin


def main():
    run, steps = Path(sys.argv[1]), int(sys.argv[2])
    say("begin")
    view, history, done, started = start(run, float(sys.argv[3]), sys.argv[4:] == ["resume"])
    helper = view._helper.process.pid if view._helper else None
    say("started", seconds=started, helper=helper)
    taken = []
    for k in range(done + 1, steps + 1):
        if k == (done + steps) // 2:
            say("mid")
        time.sleep(STEP)
        taken.append(step(run, view, history, k))
    view.alert("collapse", "1 of 10 modes")
    view.scores([{"name": "fid_mnist@10k_test", "value": 0.5, "protocol": {"n_fake": 10_000}}])
    say("last", median=sorted(taken)[len(taken) // 2], worst=max(taken))
    history.close()
    begin = time.monotonic()
    view.close()
    say("closed", seconds=time.monotonic() - begin, hint=view.how_to_open)


if __name__ == "__main__":
    main()
