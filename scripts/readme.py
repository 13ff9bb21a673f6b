"""Write the README's tables from the result files; nothing in them is typed.

Usage: python scripts/readme.py [--check]
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"


def scores(name: str) -> str:
    """List the scores of a run as a table."""
    result = json.loads((RESULTS / f"{name}.json").read_text())
    lines = ["| score | value |", "| --- | --- |"]
    for score in result["scores"]:
        value = "n/a" if score["value"] is None else f"{score['value']:.4g}"
        half = "" if score["ci"] is None else f" ± {score['ci']:.2g}"
        lines.append(f"| `{score['name']}` | {value}{half} |")
    minutes = 60 * result["device_hours"]
    lines += [
        "",
        f"{result['images_seen']:,} images in {minutes:.1f} minutes on "
        f"{result['machine']['threads']} processor cores; commit "
        f"{result['commit'][:8]}, seed {result['seed']}.",
    ]
    return "\n".join(lines)


def mixtures() -> str:
    """Compare the runs on mixtures."""
    lines = [
        "| run | modes | high-quality share | reverse KL | minutes on one core |",
        "| --- |" + " --- |" * 4,
    ]
    for name in ("gan_ring", "wgan_gp_ring", "gan_grid", "wgan_gp_grid"):
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            value = {s["metric"]: s["value"] for s in result["scores"]}
            lines.append(
                f"| `{name}` | {value['modes']:.0f} | {value['high_quality']:.1%} | "
                f"{value['reverse_kl']:.3f} | {60 * result['device_hours']:.1f} |"
            )
    return "\n".join(lines)


def speed() -> str:
    """Say what the benchmarks measured."""
    training = json.loads((RESULTS / "bench_training.json").read_text())
    data = json.loads((RESULTS / "bench_data.json").read_text())
    return (
        f"- `scripts/bench_training.py`: {training['median_ratio']:.3f} of the images per second "
        f"of a hand-written loop with the same networks.\n"
        f"- `scripts/bench_data.py`: {data['ratio']:.0f} times the images per second of "
        "torchvision's MNIST with ToTensor and a DataLoader."
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "demo": lambda: scores("dcgan_mnist"),
    "mixtures": mixtures,
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
    before = readme.read_text(encoding="utf-8")
    after = render(before)
    if "--check" in sys.argv:
        sys.exit(before != after and "README.md is not what the result files say")
    readme.write_text(after, encoding="utf-8")
