"""The README says what the result files say, and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

from lightning_gen.cli import verbs
from lightning_gen.config.compose import check_overrides, parse_argv
from lightning_gen.config.paths import group_files

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tables_are_made_from_the_result_files():
    command = [sys.executable, str(ROOT / "scripts" / "readme.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_commands_are_right():
    lines = re.findall(r"^(?:lightning-gen|torchrun .*?scripts/train.py) .*", README, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        words = line.partition("#")[0].split()
        if words[0] == "torchrun":
            words = ["lightning-gen", "train", *words[words.index("scripts/train.py") + 1 :]]
        assert words[1] in verbs(), line
        if words[1] == "train" and not parse_argv(words[2:]).multirun:
            check_overrides(words[2:])


def test_names_of_experiments_exist():
    named = set(re.findall(r"experiment=(\w+)", README)) - {"NAME"}
    assert named <= set(group_files("experiment"))


def test_pictures_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
