"""What comes next is a function of what came before, and what counts is comparable."""

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_gen.sweeps.space import Parameter, Space
from lightning_gen.sweeps.trials import Trial, best, propose

LR = Parameter("lr", (), "log_uniform_values", 1e-5, 1e-1)
N = Parameter("n", (), "int_uniform", 1, 8)
KIND = Parameter("kind", ("a", "[0.5,0.9]", "null"))
SPACE = Space("s", "bayes", "fid_mnist@10k_test", "minimize", (LR, N, KIND), None, {})


def search(space, count, value, seed=0):
    trials = []
    while len(trials) < count:
        point = propose(space, trials, seed)
        score = value(point)
        state = "failed" if score is None else "finished"
        trials.append(Trial(len(trials), point, "", state, score))
    return trials


def bowl(point):
    """Best at lr = 1e-3; there is none above 3e-2, where training diverges."""
    from math import log10

    return None if point["lr"] > 3e-2 else (log10(point["lr"]) + 3) ** 2


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_proposal_is_a_function_of_the_trials_so_far(method):
    space = replace(SPACE, method=method)
    trials = search(space, 12, bowl)
    for n in (0, 3, 11):
        assert propose(space, trials[:n], 0) == trials[n].parameters
    assert search(space, 3, bowl, seed=1)[0].parameters != trials[0].parameters
    for trial in trials:
        assert 1e-5 <= trial.parameters["lr"] <= 1e-1 and trial.parameters["kind"] in KIND.values
        assert trial.parameters["n"] in range(1, 9)


def test_bayes_learns_from_scores_and_from_failures():
    found = {}
    for method in ("random", "bayes"):
        late = [search(replace(SPACE, method=method), 30, bowl, s)[15:] for s in range(3)]
        scores = [bowl(t.parameters) for trials in late for t in trials]
        found[method] = sum(s is not None and s < 0.5 for s in scores) / len(scores)
    assert found["bayes"] > found["random"] + 0.2


def test_maximising_is_the_other_way_round():
    space = replace(SPACE, goal="maximize", metric="recall_mnist@10k_test")
    late = search(space, 30, lambda p: -(bowl(p) or 9.0))[15:]
    assert sum((bowl(t.parameters) or 9) < 0.5 for t in late) > len(late) / 2


def test_trials_at_the_same_time_differ():
    trials = search(SPACE, 8, bowl)
    for _ in range(4):
        trials.append(Trial(len(trials), propose(SPACE, trials, 0), ""))
    assert len({tuple(t.parameters.items()) for t in trials}) == len(trials)


def test_no_point_twice_and_an_end():
    space = replace(SPACE, method="random", parameters=(KIND,))
    trials = search(space, 3, lambda p: 1.0)
    assert {t.parameters["kind"] for t in trials} == set(KIND.values)
    assert propose(space, trials, 0) is None


def test_best():
    trials = [Trial(n, {}, "", value=v) for n, v in enumerate([None, 2.0, 1.0, 1.0])]
    assert best(trials, "minimize") is trials[2] and best(trials, "maximize") is trials[1]
    assert best(trials[:1], "minimize") is None


def test_no_pickle_in_the_room():
    import lightning_gen.sweeps

    for path in Path(lightning_gen.sweeps.__file__).parent.glob("*.py"):
        assert "pickle" not in path.read_text()
