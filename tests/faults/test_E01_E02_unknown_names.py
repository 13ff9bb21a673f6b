"""E1, E2: a name that does not exist is met with the nearest ones that do."""

import pytest

from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paths import group_files
from lightning_gen.config.problems import ConfigErrors
from lightning_gen.config.schema import keys
from tests.config.refusal import EXPERIMENTS, leaves, refusal


def test_E01_misspelt_keys_are_led_to_the_right_one():
    total = right = 0
    done: set[str] = set()
    for name in EXPERIMENTS[::8]:  # all of them, in R14
        config = check_overrides([f"experiment={name}"])
        known, wrong = keys(config), {}
        for key in leaves(config):
            leaf = key.rpartition(".")[2]
            if len(leaf) < 3 or "_" in leaf[:1]:
                continue
            stem, middle = key[: -len(leaf)], len(leaf) // 2
            dropped = stem + leaf[:middle] + leaf[middle + 1 :]
            swapped = stem + leaf[:-2] + leaf[-1] + leaf[-2]
            wrong |= {w: key for w in (dropped, swapped) if w not in {*known, *done}}
        done |= set(wrong)
        if not wrong:
            continue
        with pytest.raises(ConfigErrors) as info:
            check_overrides([f"experiment={name}", *(f"{w}=1" for w in wrong)])
        suggested = {p.key: p.near for p in info.value.problems}
        assert set(suggested) == set(wrong)
        total += len(wrong)
        right += sum(f"did you mean '{key}'" in suggested[w] for w, key in wrong.items())
    assert total > 250 and right / total >= 0.95, (right, total)


@pytest.mark.parametrize(
    "group", ["model", "data", "metrics", "experiment", "trainer", "callbacks"]
)
def test_E02_misspelt_choices_are_led_to_the_right_one(group):
    names = list(group_files(group))
    for name in [n for n in names if len(n) > 3][:: 1 + 4 * (group in {"experiment"})]:
        wrong = name[:2] + name[3:]
        if wrong not in names:
            text = refusal(f"{group}={wrong}")
            assert f"there is no {group} {wrong!r}; did you mean " in text and f"'{name}'" in text
