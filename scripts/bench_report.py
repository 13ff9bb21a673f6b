"""Size and opening time of the comparison of many long runs, in headless Chromium.

    python scripts/bench_report.py [runs=50] [rows=10000] [configurations=10] [rounds=3] [out=F]

The runs are synthetic, written through the same calls as real ones: losses, scores, diagnostics,
speed and pictures. A page is open when it has loaded; seconds to curves are those until a reader
who goes there at once sees every panel in view, from the same start; the CPU seconds are those of
the page's main thread up to then, which a busy machine lengthens less. The goal is 3 s for 50 runs
of 10,000 rows. It takes Chromium (chromium=PATH) and playwright.
"""

import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lightning_gen.cli.arguments import bind
from lightning_gen.cli.compare import compare
from lightning_gen.errors import LightningGenError
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.runs.run import Run
from lightning_gen.types import PositiveInt

BATCH = 64
PICTURES = 20
DRAWN = """() => {
  const inView = [...document.querySelectorAll(".panel")].filter((panel) => {
    const box = panel.getBoundingClientRect();
    return box.top < innerHeight && box.bottom > 0;
  });
  return inView.every((panel) => panel.dataset.axis);
}"""


def main(
    *,
    runs: PositiveInt = 50,
    rows: PositiveInt = 10_000,
    configurations: PositiveInt = 10,
    rounds: PositiveInt = 3,
    chromium: Path = Path("/usr/bin/chromium"),
    out: Path | None = None,
) -> dict[str, Any]:
    """Measure, print and return sizes and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for i in tqdm(range(runs), "writing runs", unit="run"):
            write(Path(folder), i % configurations, i // configurations, rows)
        page = Path(folder) / "report.html"
        began = time.perf_counter()
        compare([folder], out=page)
        made = time.perf_counter() - began
        opened = [browse(page, chromium) for _ in range(rounds)]
        result = {
            "runs": runs,
            "rows": rows,
            "history_MB": sum(f.stat().st_size for f in Path(folder).rglob("*.jsonl")) / 1e6,
            "page_MB": page.stat().st_size / 1e6,
            "seconds_to_make": made,
            **{key: statistics.median(one[key] for one in opened) for key in opened[0]},
        }
    for key, value in result.items():
        print(f"{key:32} {value:.4g}")
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def write(folder: Path, configuration: int, seed: int, rows: int) -> None:
    """Make a finished run with so many rows."""
    rng = np.random.default_rng([configuration, seed])
    rate = round(1e-4 * (1 + configuration), 6)
    config = {
        "seed": seed,
        "experiment_name": "bench",
        "model": {"lr": rate},
        "data": {"name": "noise"},
        "paths": {"runs": str(folder)},
    }
    how = Protocol("mnist", "ab12", "none", 10_000, 10_000, "test", "ema", 0, "cd34")
    run = Run.open(config, command=["bench"])
    images = 0
    for step in range(1, rows + 1):
        images = step * BATCH
        progress, noise = step / rows, rng.normal(size=8)
        if step % 100 == 0:
            fid = 40 * math.exp(-4 * progress) + configuration + 0.3 * noise[0]
            names = ("fid", "kid", "precision", "recall", "density", "coverage")
            values = {name: fid / 10**i for i, name in enumerate(names)}
            scores = [Score(name, value, how) for name, value in values.items()]
            run.log("eval", step, images, {score.name: score.value for score in scores})
        elif step % 100 == 1:
            run.log("collapse", step, images, {f"diagnosis_{i}": x for i, x in enumerate(noise)})
        elif step % 100 == 2:
            values = {
                "device_hours": progress * (1 + seed / 10),
                "images_per_second": 900 + noise[0],
            }
            run.log("system", step, images, values)
        else:
            values = {f"loss_{i}": float(x + math.exp(-progress)) for i, x in enumerate(noise[:6])}
            run.log("train", step, images, values)
        if step % max(rows // PICTURES, 1) == 0:
            pixels = np.repeat(np.repeat(rng.integers(0, 255, (60, 60), np.uint8), 4, 0), 4, 1)
            run.picture("samples", Image.fromarray(pixels), step, images)
    if rows >= 100:
        run.record_scores([score.to_json() for score in scores], rows, images)
    run.set_status("finished", iteration=rows, images_seen=images)
    run.close()


def browse(page: Path, chromium: Path) -> dict[str, float]:
    """Open the page in a fresh browser and scroll through it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        meter = tab.context.new_cdp_session(tab)
        meter.send("Performance.enable", {"timeDomain": "threadTicks"})
        began = time.perf_counter()
        tab.goto(page.absolute().as_uri(), wait_until="load")
        tab.wait_for_function(DRAWN)
        opened = time.perf_counter() - began
        loaded = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1e3
        tab.evaluate("document.querySelector('#curves').scrollIntoView()")
        tab.wait_for_function(DRAWN)
        first = time.perf_counter() - began
        busy = {m["name"]: m["value"] for m in meter.send("Performance.getMetrics")["metrics"]}
        began = time.perf_counter()
        tab.check("input[value=hours]")
        tab.wait_for_function(DRAWN.replace("dataset.axis", "dataset.axis === 'hours'"))
        switched = time.perf_counter() - began
        browser.close()
    return {
        "seconds_to_load": loaded,
        "seconds_to_open": opened,
        "seconds_to_curves": first,
        "cpu_seconds_to_curves": busy["TaskDuration"],
        "seconds_to_switch_axis": switched,
    }


if __name__ == "__main__":
    try:
        main(**bind(main, sys.argv[1:]))
    except LightningGenError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
