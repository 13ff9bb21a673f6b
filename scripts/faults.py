"""Write docs/FAULTS.md: every fault, how many tests prove what is promised, and the goal figures.

python scripts/faults.py [REPORT.xml]

REPORT.xml is what `pytest --junitxml` wrote; without it the short tests of tests/faults are run. A
test counts for the rows (A1 to G8) that its own name carries, or else for those of its file. The
figures are what the long tests (`make soak`) wrote to experiments/results/faults.
"""

import importlib.metadata
import json
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results" / "faults"
ROW = re.compile(r"(?<![A-Za-z0-9])([A-G])0?([0-9]{1,2})(?![A-Za-z0-9])")
GROUPS = {
    "A": (
        "Process death and preemption",
        "SIGKILL at a random moment; SIGKILL at every system call of a save; SIGTERM; "
        "a second SIGTERM while saving; SLURM's signal and requeue; a requeue that fails; "
        "SIGKILL soon after SIGTERM; Ctrl-C once and twice; an exception in a step; "
        "out of memory; killed while evaluating; resumed again and again; "
        "a run that is finished already",
    ),
    "B": (
        "Checkpoints",
        "disk full during a save; disk nearly full at the start; a disk that fails; "
        "a folder that cannot be written; a truncated checkpoint; a flipped bit or a hole; "
        "all checkpoints bad; a checkpoint of another class; of other sizes; "
        "resumed under a changed configuration; a malicious pickle; "
        "code named by a configuration; own checkpoints load safely; hostile tensors; "
        "a checkpoint of an older version; of a newer one; a folder that was moved; "
        "clocks and time zones; two runs in one folder; runs started at once; "
        "old checkpoints deleted, and killed then; state that is missing after resume; "
        "a file system without atomic rename, TMPDIR elsewhere",
    ),
    "C": (
        "Numbers",
        "a loss that is not finite; only one player, gradient, average or rank is not; "
        "overflow in mixed precision; a score that is not a number; "
        "scores of too few samples; images that are not finite into a metric; "
        "scores that depend on batch or processes; weights of Inception that are missing; "
        "the same seed twice; the same noise on all ranks",
    ),
    "D": (
        "Data",
        "a folder that is missing or empty; fewer images than a batch; a damaged image; "
        "files that are no images; grey, palette, 16 bits; mixed sizes; "
        "a download with a wrong sum; a download cut off; archives that leave their folder; "
        "decompression bombs; data that change before a resume; a worker that dies; "
        "a worker that hangs; a folder that is read-only",
    ),
    "E": (
        "Configuration",
        "an unknown key; an unknown name; a wrong type; out of range; "
        "settings that do not go together; a value that is missing; a class that is missing; "
        "several mistakes at once; YAML that cannot be read; secrets",
    ),
    "F": (
        "Devices and processes",
        "more GPUs than there are; a batch that does not divide; a rank that is killed; "
        "a rank that hangs; an exception on one rank; resumed on other devices; "
        "ranks that differ; a port or an address that is wrong; only rank 0 writes; "
        "uneven last batch",
    ),
    "G": (
        "Logging services",
        "no API key; a server that cannot be reached; the helper is killed; "
        "training is killed; resumed; new and odd metrics; a picture that cannot be written; "
        "volume and quota",
    ),
}  # the faults of a group in the order of their numbers
SUBSTITUTES = {
    "A10": "no GPU's memory here: the error of CUDA is raised, and the host's memory is limited",
    "B23": "no NFS here: the temporary file lies beside its target whatever TMPDIR is (seen by "
    "strace), and a file that was torn all the same fails its SHA-256",
    "C3": "no GPU here: the loss scaler of the CPU",
    "F3": "no NCCL here: gloo",
    "F4": "no NCCL here: gloo",
}
GOALS = {
    "R1": "bitwise resume, every model killed at 20 places (slow tests of A1, A11)",
    "R2": "resumed twice, all pairs of steps",
    "R3": "random SIGKILLs: runs that end bitwise equal",
    "R4": "SIGKILL at every system call: old or new is whole",
    "R5": "ENOSPC and EIO at every system call: named, nothing half written",
    "R6": "byte flips and truncations detected",
    "R7": "SIGTERM to exit, no torn pair of players",
    "R9": "histories equal to the unbroken one after kills",
    "R11": "resumed from 1 to 2 processes and back",
    "R12": "the same command twice (slow tests of C9)",
    "R16": "not finite: stopped in that step (slow tests of C2)",
    "R22": "a lost rank is named (tests of F3, F4)",
    "R26": "guards taken out that a test notices",
    "R27": "steps that are kept when killed each minute",
}


def number(row: str) -> int:
    """The number of a row or a goal: 5 of ``"B5"``."""
    return int(row[1:])


def faults() -> Iterator[tuple[str, str]]:
    """Every row and its fault in a few words."""
    for letter, (_, words) in GROUPS.items():
        for n, fault in enumerate(words.split("; "), 1):
            yield f"{letter}{n}", fault


def rows_of(case: ElementTree.Element) -> set[str]:
    """The rows that a test is of: those in its name, or else those in its file's."""
    name, file = case.get("name", "").partition("[")[0], case.get("classname", "")
    found = ROW.findall(name.replace("_", " ")) or ROW.findall(file.replace("_", " "))
    return {f"{letter}{int(digits)}" for letter, digits in found}


def read(report: Path) -> tuple[dict[str, Counter[str]], dict[str, set[str]]]:
    """Count the outcomes of a report by row, with the reasons of what was skipped."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, set[str]] = defaultdict(set)
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314, pytest wrote it
        skipped = case.find("skipped")
        bad = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if bad else "passed" if skipped is None else "skipped"
        for row in rows_of(case):
            counts[row][outcome] += 1
            if skipped is not None:
                reasons[row].add(skipped.get("message", "").splitlines()[0])
    return counts, reasons


def figures() -> Iterator[str]:
    """A line of the table for each goal that has been measured or is proven by tests."""
    found: dict[str, list[dict]] = defaultdict(list)
    for path in sorted(RESULTS.glob("*.json")):
        facts = json.loads(path.read_text("utf-8"))
        found[facts.pop("goal").partition("_")[0]].append(facts)
    for goal in sorted({*GOALS, *found}, key=number):
        held = sum(facts.pop("held") for facts in found[goal])
        tried = sum(facts.pop("tried") for facts in found[goal])
        more = {key: value for facts in found[goal] for key, value in facts.items()}
        if cases := more.pop("cases", None):
            more = {"models": len(cases), **{k: v for k, v in more.items() if v}}
        promised = more.pop("promised", GOALS.get(goal, ""))
        words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in more.items())
        shown = f"{held:,} of {tried:,}" if tried else "not measured yet"
        yield f"| {goal} | {promised} | {shown} | {words} |"


def versions() -> str:
    """What was tested, and with what."""
    names = ("lightning-gen", "torch", "pytorch-lightning", "hydra-core", "wandb")
    shown = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([*shown, f"Python {platform.python_version()}"])


def commit() -> str:
    """The commit that is tested, or "unknown" outside a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def page(report: Path) -> str:
    """The whole page."""
    counts, reasons = read(report)
    total = sum((counts[row] for row, _ in faults()), Counter())
    proven = sum(counts[row]["passed"] > 0 and not counts[row]["failed"] for row, _ in faults())
    lines = [
        "# Faults\n",
        "What goes wrong, and how many tests show that a user gets what is promised. Made by",
        "`make faults`; do not edit.\n",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {versions()}.",
        f"{proven} of {sum(1 for _ in faults())} faults have tests that pass and none that fails.",
        "A test of two faults counts for both.",
    ]
    for letter, (title, _) in GROUPS.items():
        lines += [f"\n## {letter}. {title}\n", "| | fault | passed | failed | skipped | |"]
        lines.append("|---|---|---:|---:|---:|---|")
        for row, fault in (pair for pair in faults() if pair[0][0] == letter):
            notes = [SUBSTITUTES[row]] if row in SUBSTITUTES else []
            notes += sorted(reasons[row])
            notes += [] if counts[row] else ["no short test"]
            outcome = counts[row]
            cells = (outcome["passed"], outcome["failed"], outcome["skipped"])
            numbers = " | ".join(map(str, cells))
            lines.append(f"| {row} | {fault} | {numbers} | {'; '.join(notes)} |")
    lines += [
        "\n## Goals\n",
        "Measured by `make soak`.\n",
        "| | goal | held | |",
        "|---|---|---:|---|",
    ]
    lines += figures()
    lines.append(
        f"\n{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped."
    )
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """Run or read the tests and write the page.

    Args:
        argv: The report, if there is one already.

    Returns:
        pytest's exit code, or 0 when a report was given.
    """
    with tempfile.TemporaryDirectory() as folder:
        code, report = 0, Path(argv[0]) if argv else Path(folder, "report.xml")
        if not argv:
            options = ["-n", "2", "-m", "not slow", f"--junitxml={report}"]
            command = [sys.executable, "-m", "pytest", "tests/faults", *options]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
        out = ROOT / "docs" / "FAULTS.md"
        out.parent.mkdir(exist_ok=True)
        out.write_text(page(report), "utf-8")
    print(f"wrote {out}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
