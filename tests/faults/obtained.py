"""Where the long tests leave what they obtained: one small file a goal figure."""

import fcntl
import json
from contextlib import contextmanager
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


@contextmanager
def counted(goal, group, case):
    """Count what is done in it as a case of a goal, once however often it is tried.

    Args:
        goal: Its name.
        group: What the case belongs to, such as a model.
        case: A letter or digit that tells it from the others of its group.
    """
    held = False
    try:
        yield
        held = True
    finally:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with open(FOLDER / f"{goal}.json", "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            facts = json.loads(file.read() or '{"cases": {}, "failed": {}}')
            for name, mine in (("cases", True), ("failed", not held)):
                others = set(facts[name].get(group, "")) - {str(case)}
                facts[name][group] = "".join(sorted(others | ({str(case)} if mine else set())))
            tried, failed = (sum(map(len, facts[k].values())) for k in ("cases", "failed"))
            failures = {k: v for k, v in facts["failed"].items() if v}
            facts |= {"goal": goal, "held": tried - failed, "tried": tried}
            file.truncate(0)
            file.write(json.dumps(facts | {"failed": failures}, indent=2) + "\n")
