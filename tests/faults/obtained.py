"""Where the long tests leave what they obtained: one small file a goal figure."""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "experiments" / "results" / "faults"


def write(figure, goal, obtained, *, count, failures):
    """Record a figure.

    Args:
        figure: Its name, e.g. ``R13``.
        goal: What was to be reached.
        obtained: What was.
        count: Cases tried.
        failures: Cases that were not as promised.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    facts = {"figure": figure, "goal": goal, "obtained": obtained, "count": count}
    text = json.dumps({**facts, "failures": failures}, indent=2, ensure_ascii=False)
    (FOLDER / f"{figure}.json").write_text(text + "\n", encoding="utf-8")
