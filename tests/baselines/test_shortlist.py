"""A listed baseline is reproduced where all that its row names holds, and nothing else is."""

from dataclasses import replace

import pytest

from lightning_gen.baselines.registry import Baseline, baselines
from lightning_gen.baselines.results import BaselineResult, SeedResult
from lightning_gen.baselines.shortlist import (
    Entry,
    Shortlist,
    markdown,
    read,
    rule,
    shipped_lists,
)
from lightning_gen.baselines.table import Judged, judged
from lightning_gen.config.paper import Paper
from lightning_gen.errors import ConfigError
from lightning_gen.metrics.protocol import Protocol, Score

HOW = Protocol("ring", "", "", 0, 2500, "", "raw", 0, "ab12")
PAPER = Paper(
    "A. Author, Title, 2020",
    "arXiv:2001.00001",
    images=1000,
    results=[{"metric": "modes", "value": 8, "band": [7, 8], "why": "2 se", "better": "higher"}],
)


EARLY = {"images": 500, "bands": {"modes": [6, 8]}, "why": "a curve; and more"}


def one(name, images=1000, **values):
    paper = replace(PAPER, early=EARLY)
    scores = [Score(metric, value, HOW).to_json() for metric, value in values.items()]
    seed = SeedResult(0, scores, images_seen=images)
    return judged(Baseline(name, "", paper), BaselineResult(name, "", [seed]))


AT = "not run at its budget"
FOUND = [
    one("plain", modes=7.5, kl=0.4),
    one("packs", modes=7.9, kl=0.1),
    one("short", 10, modes=8),
    one("early", 500, modes=7),
    one("late", 500, modes=5),
]


@pytest.mark.parametrize(
    ("entry", "verdict", "of"),
    [
        (Entry("a", ["packs.modes", "plain.modes"]), "reproduced", ""),
        (Entry("a", ["packs.modes", "short.modes"]), AT, "short.modes"),
        (Entry("a", rising=[["plain.modes", "packs.modes", "short.modes"]]), "reproduced", ""),
        (Entry("a", rising=[["packs.modes", "plain.modes"]]), "short of it", "packs.modes"),
        (Entry("a", rising=[["packs.modes", "packs.modes"]]), "short of it", "packs.modes"),
        (Entry("a", bands={"packs.kl": (0, 0.15)}), "reproduced", ""),
        (Entry("a", bands={"packs.kl": (0, 0.15), "plain.kl": (0, 0.15)}), "short of it", "plain"),
        (Entry("a", bands={"short.modes": (0, 9)}), "reproduced", ""),
        (Entry("a", bands={"short.modes": (9, 9)}), AT, "short.modes is to"),
        (Entry("a", ["short.modes"], [["plain.modes", "short.modes"]]), AT, "in order; short"),
        (Entry("a", ["short.modes"], [["short.modes", "plain.modes"]]), AT, "short.modes"),
        (
            Entry("a", ["early.modes"]),
            "on course",
            "early.modes: 500 of 1,000 images; 6 to 8 is",
        ),
        (Entry("a", ["late.modes"]), "off course", "late.modes: 500 of 1,000 images; 6 to 8 is"),
        (
            Entry("a", bands={"early.modes": (8, 9)}),
            AT,
            "early.modes is to be 8 to 9: 500 of 1,000 images, on course",
        ),
        (Entry("a", ["packs.kl"]), "no published number", "packs.kl"),
        (Entry("a", ["packs.fid"]), "not run", "packs.fid"),
        (Entry("a", bands={"packs.fid": (0, 1)}), "not run", "packs.fid"),
    ],
)
def test_a_row_holds_where_all_of_it_holds(entry, verdict, of):
    ruling = rule(entry, FOUND)
    assert (ruling.verdict, ruling.why.startswith(of)) == (verdict, True)


def test_a_row_that_was_not_run_is_not_reproduced():
    plain = FOUND[0]
    missing = Judged(replace(plain.baseline, name="gone"), None, judged(plain.baseline, None).rows)
    assert rule(Entry("a", ["gone.modes"]), [missing]).verdict == "not run"
    risen = Entry("a", ["short.modes"], [["gone.modes", "short.modes"]])
    assert rule(risen, [missing, FOUND[2]]).why.startswith("short.modes")
    assert rule(Entry("a", bands={"gone.modes": (0, 9)}), [missing]).verdict == "not run"


def test_what_is_reproduced_is_counted_and_budgets_are_shown():
    entries = [Entry("kept", ["packs.modes"]), Entry("missed", ["short.modes"])]
    text = markdown(Shortlist("two", entries), FOUND)
    assert "1 of 2 reproduced." in text
    assert "10 of 1,000 images" in text


def test_an_unknown_baseline_is_named():
    with pytest.raises(ConfigError, match=r"pakcs\.modes"):
        rule(Entry("a", ["pakcs.modes"]), FOUND)


def test_a_file_of_another_form_is_refused(tmp_path):
    for text in ("- title: a", "title: a", "title: a\nentries: [{name: b}]"):
        (file := tmp_path / "list.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"list\.yaml"):
            read(file)


def test_the_shipped_lists_name_numbers_that_papers_report():
    known = {b.name: {r.metric for r in b.paper.numbers} for b in baselines()}
    (twenty,) = shipped_lists()
    assert len(twenty.entries) == 20
    for name in (n for entry in twenty.entries for n in entry.numbers):
        recipe, _, metric = name.partition(".")
        assert metric in known[recipe], name


def test_the_shipped_lists_say_which_weights_the_papers_score():
    by_name = {b.name: b for b in baselines()}
    listed = {
        name.partition(".")[0] for some in shipped_lists() for e in some.entries for name in e.names
    }
    trained = [by_name[name] for name in listed if by_name[name].check is None]
    assert trained
    assert not [b.name for b in trained if not b.paper.checkpoint]
