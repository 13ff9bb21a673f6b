"""Write RESULTS.md, GALLERY.md and the README's tables from the result files; nothing is typed.

Usage: python scripts/readme.py [--check]
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import ttest_rel

from lightning_gen.baselines import shortlist
from lightning_gen.baselines.page import markdown
from lightning_gen.baselines.results import read
from lightning_gen.baselines.table import counts, judge_all, number

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
METRICS = ("modes", "high_quality", "reverse_kl")


def scores(name: str) -> str:
    """List the scores of a run as a table."""
    result = read(RESULTS / f"{name}.json").seeds[0]
    lines = ["| score | value |", "| --- | --- |"]
    for score in result.scores:
        value = "n/a" if score["value"] is None else f"{score['value']:.4g}"
        half = "" if score["ci"] is None else f" ± {score['ci']:.2g}"
        lines.append(f"| `{score['name']}` | {value}{half} |")
    lines += [
        "",
        f"{result.images_seen:,} images in {result.minutes:.1f} minutes on "
        f"{result.machine['threads']} processor cores; commit "
        f"{(result.commit or '')[:8]}, seed {result.seed}.",
    ]
    return "\n".join(lines)


def mixtures() -> str:
    """Compare the runs on mixtures, over their seeds."""
    lines = [
        "| run | images | seeds | modes | high-quality share | reverse KL | minutes on one core |",
        "| --- |" + " --- |" * 6,
    ]
    for name in (f"{run}_{data}" for data in ("ring", "grid") for run in ("gan", "wgan_gp")):
        lines.append(_mixture(name))
    for data in ("ring", "grid"):
        lines += [_mixture(f"{run}_{data}_veegan") for run in ("gan", "pacgan")]
    return "\n".join(lines)


def _mixture(name: str) -> str:
    """One row of the table of mixtures."""
    seeds = read(RESULTS / f"{name}.json").seeds
    by_metric = [{s["metric"]: s["value"] for s in seed.scores[:3]} for seed in seeds]
    cells = [_mean([v[m] for v in by_metric]) for m in METRICS]
    minutes = fmean(seed.minutes or 0 for seed in seeds)
    images = f"{seeds[0].images_seen:,}"
    return f"| `{name}` | {images} | {len(seeds)} | {' | '.join(cells)} | {minutes:.1f} |"


FEATURED = (
    *("dcgan_mnist", "r3gan_mnist", "infogan_mnist", "stylegan2_mnist", "dcgan_stacked_mnist"),
    *("pix2pix_sketch", "cycada_digits", "gan_cls_captions", "rbm_mnist", "deep_mnist"),
    *("vae_mnist", "glow_mnist", "gated_pixelcnn_mnist", "ddpm_mnist", "flow_matching_mnist"),
)


def gallery() -> str:
    """Show what some recipes draw; GALLERY.md shows all."""
    return shown([p for name in FEATURED if (p := RESULTS / f"{name}.png").exists()], 5)


def families() -> dict[str, list[str]]:
    """Names of the models of each family: those with a YAML."""
    yamls = {p.stem for p in (ROOT / "conf" / "model").glob("[!_]*.yaml")}
    folders = sorted(p for p in (ROOT / "lightning_gen" / "models").iterdir() if p.is_dir())
    found = {d.name: sorted(yamls & {p.stem for p in d.glob("*.py")}) for d in folders}
    return {name: models for name, models in found.items() if models}


def models() -> str:
    """Name the models of each family."""
    rows = [f"| {name} | {', '.join(models)} |" for name, models in families().items()]
    return "\n".join(["| family | models |", "| --- | --- |", *rows])


def by_family() -> dict[str, list[Path]]:
    """Pictures of all recipes, by the family of their models."""
    found: dict[str, list[Path]] = {name: [] for name in families()}
    family = {model: name for name, models in families().items() for model in models}
    for recipe in sorted((ROOT / "experiments").glob("*.yaml")):
        model = re.search(r"override /model: (\w+)", recipe.read_text())
        picture = RESULTS / f"{recipe.stem}.png"
        if model and picture.exists():
            found[family[model[1]]].append(picture)
    return {name: pictures for name, pictures in found.items() if pictures}


def page() -> str:
    """Everything that was drawn, for GALLERY.md."""
    lines = ["# What the recipes draw", "", "Made by `python scripts/readme.py`; by family."]
    for name, pictures in by_family().items():
        lines += ["", f"## {name}", "", shown(pictures, 5, folder="results")]
    return "\n".join(lines) + "\n"


SHOWN = {
    "psnr": "PSNR {:.1f} dB",
    "adapted_accuracy": "accuracy {:.1%}",
    "bits_per_dim": "{:.2f} bits/dim",
    "nll": "{:.1f} nats",
    "bits_per_byte": "{:.2f} bits/byte",
    "denoising_psnr": "denoised to {:.1f} dB",
    "fid": "FID-mnist {:.3g}",
    "reconstruction_error": "error {:.2f}",
}


def shown(pictures: list[Path], columns: int, folder: str = "experiments/results") -> str:
    """Show pictures of recipes, each with its cost and the first of its scores that says most.

    Args:
        pictures: Which.
        columns: How many in a row.
        folder: Of the pictures, seen from the page.
    """
    cells = []
    for picture in pictures:
        seed = read(picture.with_suffix(".json")).seeds[0]
        of_most = sorted(reversed(seed.scores), key=lambda s: s["protocol"]["n_fake"])
        values = {s["metric"]: s["value"] for s in of_most}
        text = f"{picture.stem}<br>{_cost(seed.images_seen, seed.minutes)}"
        known = [form.format(values[m]) for m, form in SHOWN.items() if values.get(m) is not None]
        text += "".join(f"<br>{score}" for score in known[:1])
        image = f'<img src="{folder}/{picture.name}" width="150" alt="{picture.stem}">'
        cells.append(f"<td align=center valign=top>{image}<br>{text}</td>")
    return _table(cells, columns)


def _table(cells: list[str], columns: int) -> str:
    rows = (cells[i : i + columns] for i in range(0, len(cells), columns))
    return "\n".join(["<table>", *(f"<tr>{''.join(row)}</tr>" for row in rows), "</table>"])


def _cost(images: int | None, minutes: float | None) -> str:
    return f"{(images or 0) // 1000}k images, {minutes or 0:.0f} min"


def _mean(values: list[float]) -> str:
    """Mean and standard error."""
    half = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return number(fmean(values), half)


def adaptation() -> str:
    """Compare what classifiers know of the other domain, over the seeds of CyCADA."""
    lines = [
        "| LeNet taught by | accuracy on UCI's test digits | seeds |",
        "| --- |" + " --- |" * 2,
    ]
    seeds = read(RESULTS / "cycada_digits.json").seeds
    taught = {
        "source_only_accuracy": "MNIST's labels",
        "adapted_accuracy": "MNIST's labels, digits translated",
        "target_accuracy": "UCI's own labels",
    }
    values = {
        m: [s["value"] for seed in seeds for s in seed.scores if s["metric"] == m] for m in taught
    }
    for metric, by in taught.items():
        lines.append(f"| {by} | {_mean(values[metric])} | {len(seeds)} |")
    minutes = fmean(seed.minutes or 0 for seed in seeds)
    return "\n".join([*lines, "", f"{minutes:.0f} minutes a seed on one core."])


def evaluations() -> str:
    """Compare samples of one pass through a network with those of many."""
    lines = [
        "| run | sampler | NFE | FID-mnist | samples | seconds a sample |",
        "| --- |" + " --- |" * 5,
    ]
    rows = []
    for path in (RESULTS / "evaluations").glob("*.json"):
        told = json.loads(path.read_text())
        fid = next(score for score in told["scores"] if score["metric"] == "fid")
        protocol, drawn = fid["protocol"], fid["protocol"]["options"]
        how = f"{drawn.get('sampler', 'one pass')} | {drawn.get('nfe', 1):,}"
        run = path.stem.partition("-")[0]
        row = f"| `{run}` | {how} | {fid['value']:.3g} | {protocol['n_fake']:,} |"
        rows.append((drawn.get("nfe", 1), run, f"{row} {told['seconds_per_sample']:.2g} |"))
    return "\n".join([*lines, *(row for _, _, row in sorted(rows))])


COMPARED = (
    ("pacgan_ring_veegan", "gan_ring_veegan"),
    ("pacgan_grid_veegan", "gan_grid_veegan"),
    ("wgan_gp_ring", "gan_ring"),
)


def difference() -> str:
    """Compare pairs of recipes on the same scores over their seeds."""
    lines = [
        "| first less second | score | seeds | difference | 95 % interval | p |",
        "| --- |" + " --- |" * 5,
    ]
    for names in COMPARED:
        held = [
            {
                seed.seed: {s["metric"]: s["value"] for s in seed.scores if _raw(s)}
                for seed in read(RESULTS / f"{name}.json").seeds
            }
            for name in names
        ]
        seeds = sorted(held[0].keys() & held[1].keys())
        for metric in METRICS:
            a, b = ([scores[seed][metric] for seed in seeds] for scores in held)
            test = ttest_rel(a, b)
            low, high = test.confidence_interval()
            lines.append(
                f"| `{names[0]}` less `{names[1]}` | {metric} | {len(seeds)} | "
                f"{fmean(a) - fmean(b):+.3g} | [{low:.3g}, {high:.3g}] | {test.pvalue:.2g} |"
            )
    return "\n".join([*lines, "", "Paired by seed (Student's t), of the weights as trained."])


def _raw(score: dict[str, Any]) -> bool:
    return score["protocol"]["weights"] in {"raw"}


def baselines() -> str:
    """Say which of the listed baselines were reproduced; RESULTS.md has every number."""
    every = judge_all(RESULTS)
    tables = [shortlist.markdown(some, every) for some in shortlist.shipped_lists()]
    return "\n\n".join([*tables, f"Of all {counts(every)}."])


def speed() -> str:
    """Say what the benchmarks measured."""
    training = json.loads((RESULTS / "bench_training.json").read_text())
    data = json.loads((RESULTS / "bench_data.json").read_text())
    report = json.loads((RESULTS / "bench_report.json").read_text())
    celeba = json.loads((RESULTS / "bench_celeba.json").read_text())
    return (
        f"- `scripts/bench_training.py`: {training['median_ratio']:.3f} of the images per second "
        f"of a hand-written loop with the same networks.\n"
        f"- `scripts/bench_data.py`: {data['ratio']:.0f} times the images per second of "
        "torchvision's MNIST with ToTensor and a DataLoader.\n"
        f"- `scripts/bench_celeba.py`: {celeba['n']:,} JPEGs of CelebA's shape are made ready for "
        f"good at {celeba['ratio']:.2f} of the rate at which torchvision's ImageFolder reads them "
        "once.\n"
        f"- `scripts/bench_report.py`: a report of {report['runs']} runs of {report['rows']:,} "
        f"rows opens in {report['seconds_to_open']:.1f} s; all curves in view are drawn after "
        f"{report['seconds_to_curves']:.1f} s."
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "demo": lambda: scores("dcgan_mnist"),
    "models": models,
    "gallery": gallery,
    "adaptation": adaptation,
    "evaluations": evaluations,
    "mixtures": mixtures,
    "difference": difference,
    "baselines": baselines,
    "speed": speed,
}


def render(text: str) -> str:
    """Fill each block between its markers.

    Args:
        text: The README.
    """
    for name, block in BLOCKS.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text = re.sub(pattern, lambda m, b=block: f"{m[1]}{b()}\n{m[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    pages = {
        readme: render(readme.read_text(encoding="utf-8")),
        ROOT / "experiments" / "RESULTS.md": markdown(judge_all(RESULTS)),
        ROOT / "experiments" / "GALLERY.md": page(),
    }
    for path, text in pages.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is not what the result files say: python scripts/readme.py")
