"""Where the long tests leave what they obtained: one small file a goal figure."""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "experiments" / "results" / "faults"


def keep(goal, held, tried, **more):
    """Record a figure for the table of docs/FAULTS.md.

    Args:
        goal: Its name, e.g. ``R13``.
        held: Cases that were as promised.
        tried: All of them.
        more: What else was measured, by name.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"goal": goal, "held": held, "tried": tried, **more}, indent=2)
    (FOLDER / f"{goal}.json").write_text(text + "\n", encoding="utf-8")


def write(figure, goal, obtained, *, count, failures):
    """Record a figure with the promise and the outcome in words.

    Args:
        figure: Its name.
        goal: What was to be reached.
        obtained: What was.
        count: Cases tried.
        failures: Cases that were not as promised.
    """
    keep(figure, count - failures, count, promised=goal, obtained=obtained)
