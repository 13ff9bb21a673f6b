"""E3, E4: a value of a wrong type, out of its range, or that is no choice is refused by its key."""

import copy

import yaml

from lightning_gen.config import rules, schema
from lightning_gen.config.compose import check_overrides
from tests.config.refusal import EXPERIMENTS
from tests.faults.wrong import keys, wrong_choices, wrong_numbers, wrong_types

KINDS = {"type": wrong_types, "range": wrong_numbers, "choice": wrong_choices}


def set_at(config, key, value):
    """A copy of a configuration with another value at a dotted key."""
    changed = copy.copy(config)
    node, (*path, leaf) = changed, key.split(".")
    for part in path:
        node[part] = copy.copy(node[part])
        node = node[part]
    node[leaf] = value
    return changed


def problems(config):
    """What the check says of a composed configuration."""
    values, found = schema.validate(config)
    return rules.merge(found, rules.check(values))


def test_E03_E04_every_key_refuses_what_is_wrong_for_it():
    missed, count, done = [], dict.fromkeys(KINDS, 0), set()
    for name in EXPERIMENTS[::8]:  # all of them: R13
        config = check_overrides([f"experiment={name}"])
        for key in keys(config):
            if (key.name, str(key.annotation)) in done:
                continue
            done.add((key.name, str(key.annotation)))
            for kind, make in KINDS.items():
                for text in make(key):
                    count[kind] += 1
                    found = problems(set_at(config, key.name, yaml.safe_load(text)))
                    named = (key.name, f"{key.name}.")
                    if not any(p.key == named[0] or p.key.startswith(named[1]) for p in found):
                        missed.append((name, key.name, text))
    assert missed == []
    assert len(done) > 300 and min(count.values()) > 50, (len(done), count)


def test_E03_every_key_has_a_type():
    """A key that takes anything could not be checked."""
    config = check_overrides(["experiment=dcgan_mnist"])
    assert [key.name for key in keys(config) if not wrong_types(key)] == []
