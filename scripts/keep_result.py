"""Keep what a finished run came to: experiments/results/NAME.json and NAME.png.

Usage: python scripts/keep_result.py run=PATH [name=NAME]
"""

import shutil
import sys
from pathlib import Path

from lightning_gen.cli.arguments import bind
from lightning_gen.errors import ConfigError
from lightning_gen.runs.atomic import write_json
from lightning_gen.runs.run import Run

RESULTS = Path(__file__).resolve().parent.parent / "experiments" / "results"


def keep(run: Path, name: str | None = None) -> Path:
    """Write the result file of a run.

    Args:
        run: Folder of a finished run.
        name: Name of the result; by default the experiment's.
    """
    opened = Run.read(run)
    if opened.status["state"] not in {"finished"} or not opened.scores():
        raise ConfigError(f"{run} is {opened.status['state']} or has no scores", where="run")
    name = name or opened.config["experiment_name"]
    about = opened.provenance
    costs = [row["values"] for row in opened.history(["system"])]
    known = ("python", "platform", "cpus", "devices", "versions")
    machine = {k: about[k] for k in known if k in about}
    machine["threads"] = opened.config["trainer"]["threads"] or machine.get("cpus")
    write_json(
        RESULTS / f"{name}.json",
        {
            "command": about.get("command"),
            "commit": (about.get("package_git") or {}).get("commit"),
            "machine": machine,
            "seed": opened.config["seed"],
            "images_seen": opened.status["images_seen"],
            "device_hours": costs[-1]["device_hours"] if costs else None,
            "alerts": [title for title, _, _ in opened.alerts()],
            "scores": opened.scores()[-1]["scores"],
        },
    )
    newest = sorted((run / "samples").glob("samples-*.png"))[-1]
    shutil.copyfile(newest, RESULTS / f"{name}.png")
    return RESULTS / f"{name}.json"


if __name__ == "__main__":
    print(keep(**bind(keep, sys.argv[1:])))
