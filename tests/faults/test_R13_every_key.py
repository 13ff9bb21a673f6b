"""R13: every key of every shipped configuration x {typo, wrong type, out of range, unknown choice}.

All are caught by the very function that the command calls, without torch; a handful go through the
command itself, under strace where there is one: exit code 2, and no file of the data, of torch or
to be written is opened.
"""

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest

from lightning_gen.config import schema
from lightning_gen.config.compose import check_overrides
from lightning_gen.config.problems import ConfigErrors
from tests.config.refusal import EXPERIMENTS
from tests.faults.obtained import write
from tests.faults.wrong import keys, typos, wrong_choices, wrong_numbers, wrong_types

KINDS = {"type": wrong_types, "range": wrong_numbers, "choice": wrong_choices}


def named(words):
    """The keys of the problems that a command line has."""
    try:
        check_overrides(words)
    except ConfigErrors as error:
        assert error.exit_code == 2
        return [problem.key for problem in error.problems]
    return []


def missing(experiment, pairs):
    """Of some wrong values those that are not named, tried together and, for the rest, alone.

    Together, a wrong value may explain another one away.
    """

    def left(some, found):
        ends = (".", "=")
        return [
            (key, text)
            for key, text in some
            if not any(f == key or f.startswith(tuple(key + e for e in ends)) for f in found)
        ]

    words = [f"experiment={experiment}"]
    some = left(pairs, named([*words, *(f"{key}={text}" for key, text in pairs)]))
    return [pair for pair in some if left([pair], named([*words, "=".join(pair)]))]


def layers(wanted, make, most):
    """The wrong values of some keys, so divided that no key lies in another, each once a layer."""
    by_depth = {}
    for key in wanted:
        depth = key.name.count(".") if isinstance(key.value, Mapping) else -1
        for at, text in enumerate(make(key)[:most]):
            by_depth.setdefault((depth, at), []).append((key.name, text))
    return by_depth.values()


def try_all(experiments, most=None):
    """Wrong values by kind, at most so many a key: how many, and those that were not caught."""
    count, missed, done = dict.fromkeys(["typo", *KINDS], 0), [], set()
    rng = random.Random(0)
    for experiment in experiments:
        config = check_overrides([f"experiment={experiment}"])
        new = [k for k in keys(config) if (k.name, str(k.annotation)) not in done]
        done |= {(key.name, str(key.annotation)) for key in new}
        for kind, make in KINDS.items():
            for pairs in layers(new, make, most):
                count[kind] += len(pairs)
                missed += [(experiment, *pair) for pair in missing(experiment, pairs)]
        known = set(schema.keys(config))
        misspelt = {misspell(key.name, rng): "1" for key in new if len(key.name) > 1}
        pairs = [pair for pair in misspelt.items() if pair[0] not in known]
        count["typo"] += len(pairs)
        missed += [(experiment, *pair) for pair in missing(experiment, pairs)]
    return count, missed


def misspell(key, rng):
    stem, dot, leaf = key.rpartition(".")
    return f"{stem}{dot}{typos(leaf, rng, 1)}"


def test_R13_every_key_of_an_experiment_is_checked():
    count, missed = try_all(["gan_ring"], most=1)
    assert missed == [] and min(count.values()) > 10, count
    assert sum(count.values()) > 250, count


# The command itself

COMMAND = """
import sys
sys.dont_write_bytecode = True
from lightning_gen.cli import main
code = main(["train", *sys.argv[1:]])
print(sorted({"torch", "torchvision", "pytorch_lightning", "wandb"} & set(sys.modules)))
sys.exit(code)
"""
WRONG = {
    "typo": "trainer.devcies=2",
    "type": "model.optimizers.G.lr=abc",
    "range": "data.batch_size=0",
    "choice": "model.D.norm=bach",
    "group": "model=dcgna",
}


def refuse(words, folder, prefix=()):
    """Run the command in an empty folder: its report, and the seconds it took."""
    begin = time.monotonic()
    done = subprocess.run(
        [*prefix, sys.executable, "-c", COMMAND, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == "[]\n", "torch was imported"
    assert "Traceback" not in done.stderr
    return done.stderr, time.monotonic() - begin


def test_R13_R15_the_command_lists_all_and_touches_nothing(tmp_path):
    data, empty, trace = tmp_path / "data", tmp_path / "empty", tmp_path / "trace"
    data.mkdir()
    empty.mkdir()
    words = ["experiment=dcgan_mnist", f"paths.data={data}", f"paths.runs={empty}/runs"]
    strace = shutil.which("strace")
    prefix = [strace, "-f", "-e", "trace=openat,open,creat,mkdir,mkdirat", "-o", str(trace)]
    said, _ = refuse([*words, *WRONG.values()], empty, prefix if strace else ())
    assert said.splitlines()[0].endswith(f"{len(WRONG)} configuration mistakes")
    for word in WRONG.values():
        assert word.partition("=")[0] in said
    assert list(empty.iterdir()) == [] and list(data.iterdir()) == []
    if strace is None:
        pytest.skip("strace is not installed: what is opened was not watched")
    calls = trace.read_text()
    assert "openat(" in calls and "config.yaml" in calls
    assert f'"{data}' not in calls and "mkdir(" not in calls
    assert not re.search(r'"[^"]*/torch/(_C|lib/|__init__\\.pyc?)', calls), "torch is not loaded"
    made = re.findall(r'"([^"]+)", [^)]*O_CREAT', calls)
    assert [name for name in made if not name.startswith("/dev/")] == []


@pytest.mark.slow
def test_R13_every_key_of_every_experiment_is_checked(tmp_path):
    count, missed = try_all(EXPERIMENTS)
    took = []
    for word in [*WRONG.values(), *random.Random(0).sample(sorted(EXPERIMENTS), 15)]:
        words = [word] if "=" in word else [f"experiment={word}", "seed=-1"]
        took.append(refuse(words, tmp_path)[1])
    total = sum(count.values())
    write(
        "R13",
        "every key x {typo, wrong type, out of range, unknown choice}: caught, exit 2, no torch",
        f"{total - len(missed)} of {total} caught ({json.dumps(count)}); the command answers in "
        f"{statistics.median(took):.1f} s (median), {max(took):.1f} s (worst), load "
        f"{os.getloadavg()[0]:.0f}",
        count=total,
        failures=len(missed),
    )
    assert missed == []
