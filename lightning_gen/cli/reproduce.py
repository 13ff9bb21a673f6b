"""Run papers' baselines with their seeds and say whether their numbers hold."""

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from lightning_gen.config.paper import Tier
from lightning_gen.errors import ConfigError

if TYPE_CHECKING:
    from lightning_gen.baselines.registry import Baseline

HELP = """usage: lightning-gen reproduce NAME... | --known | --tier minutes|hour|gpu | --all
                               [out=reproduced] [seeds=0,1,2] [KEY=VALUE ...]

Run each baseline with its seeds (finished runs are not run again, those cut off continue), score it
under the paper's protocol, and print and store the table of reported and obtained numbers.
  NAME         of `lightning-gen list experiments --paper`
  --known      the checks whose answer is known without training
  --tier TIER  every baseline of that cost
  --all        every baseline
  out=FOLDER   FOLDER/results/NAME.json and .png, and FOLDER/RESULTS.md
  seeds=...    seeds in place of the baseline's own
  KEY=VALUE    trainer, paths, logger and budget, as for train
Exit code 0: every number is reproduced or better or, in a run as short as the recipe has a band
for, on course; 1: one is not, or cannot be judged.
"""
TIERS = get_args(Tier)
PASSED = {"reproduced", "better", "on course", "no published number"}


def main(argv: list[str]) -> int:
    """Run ``lightning-gen reproduce NAME...``.

    Args:
        argv: Words after the verb.

    Returns:
        0 when every number holds, else 1.
    """
    if not argv or {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    from lightning_gen.baselines import page, reproduce, results, table
    from lightning_gen.cli.summary import console
    from lightning_gen.runs.atomic import output_errors

    asked = parse(argv)
    for baseline in asked.chosen:
        reproduce.check(baseline, asked.overrides)
    found, screen = [], console()
    for i, baseline in enumerate(asked.chosen, 1):
        print(f"\n[{i}/{len(asked.chosen)}] {baseline.name}: {baseline.summary}", flush=True)
        seeds = list(reproduce.run(baseline, asked.overrides, asked.seeds))
        result = results.BaselineResult(baseline.name, asked.command(baseline), seeds)
        file = results.write(asked.out / "results", result)
        grid = reproduce.picture(baseline, asked.overrides, seeds[0].seed)
        if grid is not None:
            shutil.copyfile(grid, file.with_suffix(".png"))
        found.append(table.judged(baseline, result))
        screen.print(table.verdicts([(baseline.name, found[-1].rows)]))
        _, _, _, minutes, device, memory, commit = table.how(result)
        cost = [f"{minutes} minutes a seed" if minutes else "", device, memory, commit]
        screen.print(" · ".join(filter(None, cost)), markup=False, highlight=False)
    written = asked.out / "RESULTS.md"
    text = page.markdown(table.judge_all(asked.out / "results"))
    with output_errors(written):
        written.write_text(text, encoding="utf-8")
    if len(found) > 1:
        screen.print(table.verdicts((one.baseline.name, one.rows) for one in found))
    print(f"stored in {written}")
    return int(any(row.verdict not in PASSED for one in found for row in one.rows))


class Asked(NamedTuple):
    """A command line, taken apart."""

    chosen: "list[Baseline]"
    out: Path
    seeds: list[int] | None
    overrides: list[str]

    def command(self, baseline: "Baseline") -> str:
        """The command that obtains a result again; where files lie is its reader's own affair.

        Args:
            baseline: One of those chosen.
        """
        seeds = [f"seeds={','.join(map(str, self.seeds))}"] if self.seeds else []
        told = [w for w in self.overrides if not w.startswith(("paths.", "logger"))]
        return shlex.join(["lightning-gen", "reproduce", baseline.name, *seeds, *told])


def parse(argv: list[str]) -> Asked:
    """Take the command line apart.

    Args:
        argv: Words after the verb.

    Raises:
        ConfigError: Naming what is wrong in it.
    """
    from lightning_gen.baselines import registry

    words = iter(argv)
    names: list[str] = []
    keys: dict[str, str] = {}
    chosen: list[Baseline] = []
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in {"--tier"}:
            tier = value if equals else next(words, "")
            if tier not in TIERS:
                raise ConfigError(f"there is no tier {tier!r}", fix=f"one of {', '.join(TIERS)}")
            papers = [(b, b.paper) for b in registry.baselines()]
            chosen += [b for b, paper in papers if paper and paper.tier == tier]
        elif flag in {"--all", "--known"}:
            some = registry.baselines()
            chosen += [b for b in some if b.check is not None or flag in {"--all"}]
        elif flag.startswith("-"):
            raise ConfigError(f"unknown flag {flag!r}", fix="--known, --tier TIER or --all")
        elif equals:
            keys[flag] = word
        else:
            names.append(word)
    chosen += registry.named(names)
    if not chosen:
        raise ConfigError("nothing to reproduce", fix="NAME..., --known, --tier TIER or --all")
    out = keys.pop("out", "out=reproduced").partition("=")[2]
    seeds = keys.pop("seeds", "=").partition("=")[2]
    try:
        numbers = [int(seed) for seed in seeds.strip("[]").split(",") if seed]
    except ValueError:
        raise ConfigError(f"seeds={seeds} are not numbers", fix="seeds=0,1,2") from None
    unique = list({baseline.name: baseline for baseline in chosen}.values())
    return Asked(unique, Path(out), numbers or None, list(keys.values()))
