"""R14: of names with one or two wrong letters, the right one is suggested first.

Drawn from all one- and two-letter edits of the keys and the choices of every experiment. A typo
that is a name of its own is none; names of one or two letters, and two edits of names of four or
fewer, hold too little of themselves.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_gen.config import schema
from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paths import conf_dir, group_files
from lightning_gen.config.problems import ConfigErrors
from lightning_gen.config.suggest import nearest, nearest_key
from tests.config.refusal import EXPERIMENTS
from tests.faults.obtained import write
from tests.faults.wrong import typos

GROUPS = [g.name for g in conf_dir().iterdir() if g.is_dir()] + ["experiment"]
SHORTEST = {1: 3, 2: 5}


def misspelt_keys(names, rng, per_key):
    """(typo, key, all keys) for the keys of some experiments, each key once."""
    done = set()
    for name in names:
        config = check_overrides([f"experiment={name}"])
        known = schema.keys(config)
        for key in (k for k in known if k not in done):
            done.add(key)
            stem, dot, leaf = key.rpartition(".")
            for edits in SHORTEST:
                for _ in range(per_key if len(leaf) >= SHORTEST[edits] else 0):
                    wrong = f"{stem}{dot}{typos(leaf, rng, edits)}"
                    if wrong not in known:
                        yield wrong, key, known


def misspelt_choices(rng, per_name):
    """(typo, name, choices) for the choices of every group."""
    for group in GROUPS:
        names = [n for n in group_files(group) if not n.startswith("_")]
        for name in names:
            for edits in SHORTEST:
                for _ in range(per_name if len(name) >= SHORTEST[edits] else 0):
                    wrong = typos(name, rng, edits)
                    if wrong not in names:
                        yield wrong, name, names


def hits(drawn, suggest):
    """How many of the typos have the right name first, and how many there are."""
    first = [(suggest(wrong, known) or [None])[0] == right for wrong, right, known in drawn]
    return sum(first), len(first)


def test_R14_the_first_suggestion_is_right():
    rng = random.Random(0)
    of_keys = hits(misspelt_keys(EXPERIMENTS[::12], rng, 1), nearest_key)
    of_choices = hits(misspelt_choices(rng, 1), nearest)
    right, total = (a + b for a, b in zip(of_keys, of_choices, strict=True))
    assert total > 400 and right / total >= 0.95, (of_keys, of_choices)


KNOWN = schema.keys(check_overrides(["experiment=dcgan_mnist"]))


@settings(deadline=None, max_examples=20)
@given(key=st.sampled_from([k for k in KNOWN if len(k.rpartition(".")[2]) > 6]), seed=st.integers())
def test_R14_what_is_suggested_is_in_the_report(key, seed):
    wrong = key.rpartition(".")[0] + "." * ("." in key)
    wrong += typos(key.rpartition(".")[2], random.Random(seed), 1)
    if wrong in KNOWN:
        return
    with pytest.raises(ConfigErrors) as info:
        check_overrides(["experiment=dcgan_mnist", f"{wrong}=1"])
    (problem,) = info.value.problems
    assert problem.key == wrong and problem.near.startswith(f"; did you mean '{key}'")


@pytest.mark.slow
def test_R14_the_first_suggestion_is_right_for_all_names():
    rng = random.Random(1)
    of_keys = hits(misspelt_keys(EXPERIMENTS, rng, 5), nearest_key)
    of_choices = hits(misspelt_choices(rng, 20), nearest)
    right, total = (a + b for a, b in zip(of_keys, of_choices, strict=True))
    write(
        "R14",
        "the first suggestion is right for >= 95 % of one- and two-letter typos",
        f"{right / total:.1%} of {total:,} (keys {of_keys[0] / of_keys[1]:.1%}, choices "
        f"{of_choices[0] / of_choices[1]:.1%})",
        count=total,
        failures=total - right,
    )
    assert right / total >= 0.95
