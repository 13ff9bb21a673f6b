"""The comparison: groups, differences, scores, statistics, curves, pictures, the page, the verb."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lightning_gen.cli import main
from lightning_gen.tracking.records import Curve, from_disk, read
from lightning_gen.tracking.report import curves, pictures
from lightning_gen.tracking.report.groups import differences, group
from lightning_gen.tracking.report.page import compare, render
from lightning_gen.tracking.report.scores import columns, comparisons

PAPER = {
    "citation": "Somebody, 2014",
    "link": "arXiv:1406.2661",
    "protocol": {"n_fake": 10_000},
    "images": 4000,
    "results": [
        {"metric": "fid", "value": 9.0, "band": [8.5, 9.5], "why": "a guess", "better": "lower"}
    ],
}


def load(*folders):
    return list(read(map(str, folders)))


def report(*folders):
    return compare(load(*folders))


def cell(column, i):
    found = column.cells[i]
    return None if found is None else (found.mean, len(found.by_seed), found.best)


# Groups and configurations


def test_runs_that_differ_in_seed_or_in_nothing_that_matters_are_a_group(make_run):
    a = [make_run("dcgan", seed, trainer={"devices": seed + 1}) for seed in (1, 0)]
    b = make_run("wgan", 0, model={"lr": 2e-3})
    first, second = group(load(*a, b))
    assert (first.label, first.seeds, second.label) == ("dcgan", [0, 1], "wgan")
    assert first.hours == 2.0


def test_groups_of_one_experiment_are_named_by_how_they_differ(make_run):
    folders = [make_run("dcgan", 0, model={"lr": lr}) for lr in (1e-3, 2e-3)]
    assert [g.label for g in group(load(*folders))] == ["dcgan · lr=0.001", "dcgan · lr=0.002"]


def test_only_differences_are_listed_the_harmless_last_and_seeds_of_groups(make_run):
    a = [make_run("dcgan", s, trainer={"devices": s + 1}, model={"lr": 1, "k": 5}) for s in (0, 1)]
    b = make_run("wgan", 7, model={"lr": 2, "k": 5, "gp": 10})
    rows = differences(group(load(*a, b)))
    assert [tuple(row) for row in rows] == [
        ("model.lr", ["1", "2"], False),
        ("model.gp", ["(absent)", "10"], False),
        ("trainer.devices", ["1 | 2", "1"], True),
        ("experiment_name", ["dcgan", "wgan"], True),
        ("seed", ["0, 1", "7"], True),
    ]
    assert differences(group(load(*a)))[0].key == "trainer.devices"
    assert differences(group(load(a[0]))) == []


# Scores


def test_the_best_is_marked_by_the_direction_of_the_metric(make_run):
    a = make_run("a", scores=[("fid", 10.0), ("recall", 0.2), ("pairwise_ratio", 1.0)])
    b = make_run("b", scores=[("fid", 9.0), ("recall", 0.1), ("pairwise_ratio", 2.0)], x=1)
    fid, recall, ratio = report(a, b).columns
    assert (cell(fid, 0), cell(fid, 1)) == ((10.0, 1, False), (9.0, 1, True))
    assert (cell(recall, 0), cell(recall, 1)) == ((0.2, 1, True), (0.1, 1, False))
    assert not cell(ratio, 0)[2] and not cell(ratio, 1)[2]


def test_unlike_protocols_are_marked_and_never_ranked(make_run, how):
    few = replace(how, n_fake=5000, options={"k": 3})
    a = make_run("a", scores=[("fid", 10.0)])
    b = make_run("b", scores=[("fid", 9.0)], how=few, x=1)
    c = make_run("c", scores=[("fid", 11.0)], x=2)
    made = report(a, b, c)
    many, less = made.columns
    assert many.unlike == less.unlike == ["n_fake", "options.k"]
    assert [cell(many, i) for i in range(3)] == [(10.0, 1, True), None, (11.0, 1, False)]
    assert [cell(less, i) for i in range(3)] == [None, (9.0, 1, False), None]
    assert made.own_protocol(less) == {"n_fake": "5000", "k": "3"}
    assert made.shared_protocol["split"] == "test" and "n_fake" not in made.shared_protocol
    html = render(made)
    assert html.count("≠ n_fake, options.k") == 2  # one a column
    two = report(a, b)
    assert 'class="n best"' not in render(two)
    assert "share no comparable score (unlike in n_fake, options.k)" in two.untested[0]


def test_one_name_under_two_protocols_is_marked_at_its_curve(make_run, how):
    a = make_run("a")
    b = make_run("b", how=replace(how, data_fingerprint="other"), x=1)
    panels, _ = curves.panels(group(load(a, b)), "se")
    unlike = {panel["name"]: panel["unlike"] for panel in panels if panel["kind"] == "eval"}
    assert unlike == {"fid_mnist@10k_test": ["data_fingerprint"]}


def test_refused_scores_do_not_count(make_run):
    folders = [make_run(seed=0, scores=[("fid", None)]), make_run(seed=1, scores=[("fid", 4.0)])]
    (column,) = report(*folders).columns
    assert cell(column, 0) == (4.0, 1, False)
    (column,) = report(folders[0]).columns
    assert column.cells[0].by_seed == [] and "refused" in render(report(folders[0]))


def test_a_run_that_trains_is_left_out_of_means_while_another_seed_is_further(make_run):
    ended = [make_run(seed=s, scores=[("fid", 4.0 + s)]) for s in (0, 1)]
    trains = make_run(seed=2, scores=[("fid", 50.0)], steps=20, state="running")
    diverged = make_run(seed=3, scores=[("fid", 90.0)], steps=20, state="diverged")
    (column,) = report(*ended, trains).columns
    assert cell(column, 0) == (4.5, 2, False)
    (column,) = report(*ended, diverged).columns  # a failure is a result
    assert cell(column, 0)[:2] == (33.0, 3)


# Statistics, against the formulas


def test_common_seeds_are_paired(two_groups):
    folders, a, b = two_groups
    (found,), untested = comparisons(columns(groups := group(load(*folders))), groups)
    d = np.array([b[seed] - a[seed] for seed in a])
    se = d.std(ddof=1) / math.sqrt(5)
    half = stats.t.ppf(0.975, 4) * se
    assert found.method == "paired by seed, n = 5" and untested == []
    assert (found.first, found.second) == ("dcgan", "wgan")
    np.testing.assert_allclose(
        [found.difference, found.low, found.high, found.p],
        [d.mean(), d.mean() - half, d.mean() + half, 2 * stats.t.sf(abs(d.mean() / se), 4)],
    )
    made = columns(groups)[0].cells[0]
    values = np.array(list(a.values()))
    np.testing.assert_allclose([made.mean, made.se], [values.mean(), stats.sem(values)])


def test_other_seeds_are_compared_by_welch(two_groups):
    folders, a, b = two_groups
    x, y = np.array(list(a.values())), np.array(list(b.values())[:3])
    (found,), _ = comparisons(columns(groups := group(load(*folders[:8]))), groups)
    va, vb = x.var(ddof=1) / 5, y.var(ddof=1) / 3
    df = (va + vb) ** 2 / (va**2 / 4 + vb**2 / 2)
    half = stats.t.ppf(0.975, df) * math.sqrt(va + vb)
    d = y.mean() - x.mean()
    assert found.method == "Welch, n = 5 and 3"
    np.testing.assert_allclose([found.difference, found.low, found.high], [d, d - half, d + half])
    np.testing.assert_allclose(found.p, 2 * stats.t.sf(abs(d) / math.sqrt(va + vb), df))


def test_one_seed_has_no_interval(two_groups):
    folders, *_ = two_groups
    made = report(folders[0], *folders[5:])
    assert made.comparisons == []
    assert made.untested == ["no interval exists: dcgan has 1 seed with this score, it takes 2"]
    assert made.untested[0] in render(made)


def test_seeds_that_do_not_vary_are_not_tested(make_run):
    folders = [make_run("a", s, scores=[("modes", 7.0)]) for s in (0, 1)]
    folders += [make_run("b", s, scores=[("modes", 8.0)], x=1) for s in (0, 1)]
    (found,) = report(*folders).comparisons
    assert found.difference == 1 and math.isnan(found.p) and "no test applies" in found.remark
    assert "no test applies" in render(report(*folders))


# The paper


def test_the_gap_to_the_paper_is_judged(make_run):
    folders = [make_run(seed=s, scores=[("fid", 9.0 + s)], paper=PAPER) for s in (0, 1)]
    (gap,) = report(*folders).papers
    (row,) = gap.rows
    assert (row.verdict, row.gap, row.n) == ("reproduced", 0.5, 2)
    html = render(report(*folders))
    assert '<a href="https://arxiv.org/abs/1406.2661"' in html and "reproduced" in html
    trains = make_run("live", scores=[("fid", 9.0)], paper=PAPER, state="running")
    assert report(trains).papers[0].rows[0].verdict == "not run"


def test_a_paper_block_that_is_none_is_said(make_run):
    made = report(make_run(paper={"citation": "<b>", "link": "javascript:alert(1)"}))
    assert made.papers[0].url is None
    assert 'href="javascript' not in (html := render(made)) and "&lt;b&gt;" in html
    (gap,) = report(make_run("other", paper={"nonsense": 1})).papers
    assert "cannot be read" in gap.problem


# Curves


def test_thinning_keeps_extremes_and_ends():
    rng = np.random.default_rng(0)
    y = rng.normal(size=10_000)
    y[[17, 5000, 9_871]] = 50, -60, 40
    kept = curves.thin(y, 200)
    assert len(kept) <= 200 and np.all(np.diff(kept) > 0)
    assert {0, 17, 5000, 9_871, 9_999} <= set(kept)
    assert list(curves.thin(y[:5], 200)) == [0, 1, 2, 3, 4]


def test_the_band_is_over_seeds_where_all_have_been():
    x = np.arange(0.0, 11)
    seeds = [Curve(x, 2 * x), Curve(x[::2], 4 * x[::2]), Curve(x[1:9], 6 * x[1:9])]
    band = curves.band(seeds, "se")
    np.testing.assert_allclose(band.x, x[1:9])  # the stretch that all three share
    np.testing.assert_allclose(band.mean, 4 * x[1:9])
    width = stats.sem([2 * x[1:9], 4 * x[1:9], 6 * x[1:9]])
    np.testing.assert_allclose(band.high - band.mean, width)
    np.testing.assert_allclose(band.mean - band.low, width)
    wide = curves.band(seeds, "std")
    np.testing.assert_allclose(wide.high - wide.mean, width * math.sqrt(3))
    assert curves.band([Curve(x, x), Curve(x + 20, x)], "se") is None


def test_long_curves_are_averaged_on_a_common_grid():
    x = np.linspace(0, 1, 5000)
    band = curves.band([Curve(x, x), Curve(x, 3 * x)], "se")
    assert len(band.x) == curves.GRID
    np.testing.assert_allclose(band.mean, 2 * band.x)


def test_curves_stand_at_equal_hours(make_run):
    record = from_disk(make_run(hours=2.0, steps=40))
    curve = curves.by_hours(record, record.curves["train/loss_D"])
    np.testing.assert_allclose(curve.images, np.arange(1, 41) * 2 / 40)
    assert curves.by_hours(from_disk(make_run("x", hours=None)), curve) is None


# Pictures


def test_pictures_are_thinned_in_time_and_equal_real_data_shown_once(make_run):
    a, b = make_run(seed=0, steps=600), make_run(seed=1)
    films, count = pictures.films(group(load(a, b)))
    assert [(f["key"], f["label"], len(f["frames"])) for f in films] == [
        ("real", "real data: mnist", 1),
        ("samples", "seed 0", pictures.MOST_STEPS),
        ("samples", "seed 1", 4),
    ]
    times = [at for at, _ in films[1]["frames"]]
    assert times[0] == 1000 and times[-1] == 60_000
    assert count["found"] == 66 and count["shown"] == 45 and count["failed"] == []


# The page and the verb


def data_of(html):
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])


def test_the_page_is_whole_and_says_what_it_holds(two_groups):
    folders, *_ = two_groups
    html = render(report(*folders), "std")
    assert html.count("plotly.js v") == 1 and "cdn" not in html.split('id="plotly"')[0]
    head = html.split('<script type="application/json"')[0]
    assert not re.search(r"(src|href)=\"(?!#|data:)", head)
    assert "bands ± one standard deviation" in html
    data = data_of(html)
    assert data["labels"] == ["dcgan", "wgan"] and len(data["films"]) == 11
    assert {p["name"] for p in data["panels"]} >= {"fid_mnist@10k_test", "loss_D", "recall"}


HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=1'>"


def test_text_of_runs_is_escaped(make_run, how):
    name = "<img src=x onerror='window.hacked=1'>"
    bad = replace(how, options={HOSTILE: HOSTILE})
    folder = make_run(name, scores=[(HOSTILE, 1.0)], how=bad, alert=HOSTILE, data={"name": HOSTILE})
    other = make_run("b", model={HOSTILE: HOSTILE})
    html = render(report(folder, other))
    assert "<script>window.hacked" not in html and "<img src=x" not in html
    assert "&lt;img src=x" in html and html.count("<script") == 3


def test_the_verb_writes_a_page(two_groups, tmp_path, capsys):
    folders, *_ = two_groups
    broken = tmp_path / "more" / "broken"
    broken.mkdir(parents=True)
    (broken / "config.yaml").write_text("a: [")
    out = tmp_path / "new" / "page.html"
    words = [str(folders[0].parent), str(folders[5].parent), str(broken.parent), f"out={out}"]
    assert main(["compare", *words]) == 0
    said = capsys.readouterr().out
    assert str(out) in said and f"left out: {broken}" in said
    html = out.read_text()
    assert "paired by seed, n = 5" in html and str(broken) in html


def test_the_terminal_prints_tables_and_writes_nothing(two_groups, tmp_path, monkeypatch, capsys):
    folders, a, _ = two_groups
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert main(["compare", *map(str, folders), "--terminal"]) == 0
    said = capsys.readouterr().out
    assert set(tmp_path.iterdir()) == before
    for text in ("model.lr", "fid_mnist@10k_test", "paired by seed, n = 5", "extractor=mnist"):
        assert text in said
    assert f"{np.mean(list(a.values())):.4g}" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no run is named"),
        (["nowhere"], 2, "nowhere does not exist"),
        (["x", "--termnal"], 2, "unknown option '--termnal'"),
        (["x", "ot=page.html"], 2, "did you mean 'out='"),
        (["x", "band=both"], 2, "band=both"),
    ],
)
def test_mistakes_are_said_with_a_remedy(words, code, said, capsys):
    assert main(["compare", *words]) == code
    error = capsys.readouterr().err
    assert said in error and "fix:" in error


def test_a_page_that_cannot_be_written_is_said(make_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["compare", str(make_run()), f"out={tmp_path}/file/page.html"]) == 7
    assert "cannot write" in capsys.readouterr().err


def test_no_sound_run_is_an_error(make_run, capsys):
    folder = make_run()
    (folder / "status.json").unlink()
    assert main(["compare", str(folder)]) == 3
    assert "it cannot be read" in capsys.readouterr().err


def test_help_comes_without_torch_and_so_does_the_page(make_run, tmp_path, capsys):
    assert main(["compare", "--help"]) == 0
    assert "usage: lightning-gen compare RUN... [out=report.html]" in capsys.readouterr().out
    words = ["compare", str(make_run()), f"out={tmp_path}/r.html"]
    code = f"import sys; from lightning_gen.cli import main; main({words!r}); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
