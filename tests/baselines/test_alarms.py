"""The watchdog over real runs, whose results are kept: healthy ones raised no alarm."""

from pathlib import Path

from lightning_gen.baselines.results import read

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


def scores(seed):
    return {score["metric"]: score["value"] for score in seed.scores if score["metric"]}


def digits():
    """Every trained run on single digits: (name, seed result)."""
    for path in sorted(RESULTS.glob("*_mnist.json")):
        for seed in read(path).seeds:
            if seed.images_seen and "class_kl" in scores(seed):
                yield path.stem, seed


def healthy(seed):
    """All ten digits, and recognised as such."""
    seen = scores(seed)
    return seen["modes"] == 10 and seen["mean_confidence"] > 0.7


def test_no_alarm_over_healthy_runs():
    runs = [(name, seed) for name, seed in digits() if healthy(seed)]
    assert len(runs) >= 10 and len({name for name, _ in runs}) >= 4
    assert [name for name, seed in runs if "collapse" in seed.alerts] == []


def test_lost_modes_of_mixtures_raise_an_alarm():
    for name in ("gan_ring_veegan", "gan_grid_veegan"):
        seeds = read(RESULTS / f"{name}.json").seeds
        assert len(seeds) >= 10
        assert all("collapse" in seed.alerts for seed in seeds)


def test_every_run_on_digits_took_its_time_and_has_its_picture():
    for name, seed in digits():
        assert seed.minutes >= 0.5 and not seed.failed
        assert (RESULTS / f"{name}.png").stat().st_size > 5_000
