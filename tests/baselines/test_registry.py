"""The paper blocks of all experiments and known answers are sound; mistakes in them are named."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from lightning_gen.baselines.registry import baselines, known_files, load_recipe, named
from lightning_gen.baselines.results import read
from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paper import Early, Measurement
from lightning_gen.config.paths import group_files
from lightning_gen.config.problems import ConfigErrors
from lightning_gen.config.schema import validate_paper
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.runs.identity import digest

ALL = baselines()
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
BLOCK = {
    "citation": "A. Author, Title, 2020",
    "link": "arXiv:2001.00001",
    "results": [{"metric": "fid", "value": 3.0, "band": [2, 4], "why": "2 se", "better": "lower"}],
}


def early(**changes):
    block = {"images": 5, "bands": {"fid": [9, 11]}, "why": "the curve of seed 0", **changes}
    return {"early": {k: v for k, v in block.items() if v is not None}}


@pytest.mark.parametrize("baseline", ALL, ids=lambda b: b.name)
def test_every_experiment_says_what_it_is_measured_by(baseline):
    paper = baseline.paper
    assert paper is not None
    assert baseline.summary
    assert paper.url.startswith("https://")
    assert paper.seeds
    assert paper.source
    for number in paper.numbers:
        low, high = (x if x is not None else number.value for x in number.band)
        assert low <= number.value <= high, f"the paper's own {number.metric} must pass"
        assert number.why
        assert (number.spread is None) == (number.spread_is is None)
    if early := paper.early and Early(**paper.early):
        assert early.images < paper.images
        assert set(paper.seeds) - set(early.seeds), "the bands judge none of the kept seeds"


def test_the_minutes_tier_takes_half_an_hour_at_most():
    chosen = [b.paper for b in ALL if b.paper and b.paper.tier == "minutes"]
    minutes = [len(paper.seeds) * paper.cost["cpu_minutes"] for paper in chosen]
    assert len(chosen) > sum(b.check is not None for b in ALL), "nothing is trained"
    assert sum(minutes) <= 30


def test_names_are_unique():
    assert len({b.name for b in ALL}) == len(ALL)


def test_a_protocol_is_fixed_by_fields_that_scores_have():
    assert {f.name for f in fields(Measurement)} < {f.name for f in fields(Protocol)}


def test_the_block_changes_no_run():
    plain = check_overrides(["experiment=gan_ring"])
    assert plain["paper"]["results"]
    assert digest(plain) == digest({**plain, "paper": None})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"citation": None}, "paper.citation"),
        ({"evidence": "rumour"}, "paper.evidence: must be one of 'read'"),
        ({"teir": "gpu"}, "paper.teir: unknown key; did you mean 'paper.tier'"),
        ({"protocol": {"n_fakes": 3}}, "did you mean 'paper.protocol.n_fake'"),
        ({"protocol": {"weights": "average"}}, "paper.protocol.weights: must be one of"),
        ({"cost": {"minutes": 3}}, "paper.cost.minutes: unknown key"),
        ({"results": [{"metric": "fid"}]}, "paper.results.0.value: is required"),
        ({"results": [{**BLOCK["results"][0], "band": [4, 2]}]}, "paper.results.0.band: must go"),
        ({"results": [{**BLOCK["results"][0], "band": [4]}]}, "paper.results.0.band"),
        ({"results": ["fid 3"]}, "paper.results.0: must be a mapping"),
        (early(bands={"fid": [4, 2]}), "paper.early.bands.fid: must go"),
        (early(bands={"kid": [2, 4]}), "paper.early.bands.kid: must be the metric of one of"),
        (early(bands={"fid": "low"}), "paper.early.bands.fid"),
        (early(bands=3), "paper.early.bands: must be a mapping"),
        ({**early(), "results": 3}, "paper.results: must be a list"),
        (early(bands=None), "paper.early.bands: is required"),
        (early(why=None), "paper.early.why: is required"),
        (early(epochs=3), "paper.early.epochs: unknown key"),
        ({"images": 0}, "paper.images: must be an integer >= 1"),
    ],
)
def test_mistakes_in_a_block_are_named(change, said):
    problems = []
    validate_paper({**BLOCK, **change}, problems)
    assert any(said in str(p) for p in problems), [str(p) for p in problems]


JUNK = (3, "a", [1], ["a", {}], {3: 4}, {"fid": [None]}, True)


def spoilt(value, junk):
    """The value with junk in place of each that lies in it, at any depth, and of itself."""
    yield junk
    if isinstance(value, dict):
        for key in value:
            yield from ({**value, key: inner} for inner in spoilt(value[key], junk))
    elif isinstance(value, list):
        for i in range(len(value)):
            yield from ([*value[:i], inner, *value[i + 1 :]] for inner in spoilt(value[i], junk))


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_no_value_in_a_block_raises(junk):
    fixed = {"protocol": {"n_fake": 9, "options": {"k": 1}}, "cost": {"cpu_minutes": 1}}
    block = {**BLOCK, **early(seeds=[0]), **fixed, "seeds": [0], "images": 9}
    for whole in spoilt(block, junk):
        validate_paper(whole, [])
    for key in ("early", "results", "protocol", "cost"):
        problems = []
        validate_paper({**block, key: junk}, problems)
        assert problems, f"nothing of this kind is sound as {key}"


def test_a_sound_block_has_no_mistake():
    problems = []
    assert validate_paper(BLOCK, problems)["tier"] == "hour"
    assert problems == []


def test_a_users_own_recipes_and_checks_are_found(tmp_path, monkeypatch):
    (tmp_path / "known").mkdir()
    (tmp_path / "mine.yaml").write_text(
        "# @package _global_\n# Mine.\n" + yaml.safe_dump({"paper": {**BLOCK, "images": "many"}})
    )
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path))
    with pytest.raises(ConfigErrors, match=r"mine.yaml: paper.images: must be an integer"):
        load_recipe("mine")
    (tmp_path / "known" / "answer.yaml").write_text("check: 3\ndata: mnist\n")
    assert "answer" in known_files()
    with pytest.raises(ConfigErrors, match="check"):
        named(["answer"])


def test_unknown_names_are_all_said_with_the_nearest():
    with pytest.raises(ConfigErrors) as info:
        named(["gan_rign", "dcgan_mnits"])
    assert "'gan_ring'" in str(info.value)
    assert "'dcgan_mnist'" in str(info.value)


def test_listing_papers_is_quick_because_torch_stays_out():
    code = (
        "import sys; from lightning_gen.cli import main; main(['list', 'experiments', '--paper']);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "gan_ring\tLin, Khetan" in done.stdout
    assert "6.30 ± 0.50\t5.3 to 7.3\tread\thour" in done.stdout


@pytest.mark.parametrize("model", sorted(m for m in group_files("model") if m[0] != "_"))
def test_every_model_has_a_recipe_whose_run_is_kept_with_its_picture(model):
    recipes = [
        file.stem
        for file in (ROOT / "experiments").glob("*.yaml")
        if f"override /model: {model}\n" in file.read_text()
    ]
    assert recipes, f"no file of experiments/ has '- override /model: {model}'"
    kept = [n for n in recipes if (RESULTS / f"{n}.json").exists()]
    scores = [s.scores for n in kept for s in read(RESULTS / f"{n}.json").seeds]
    assert any(scores), f"none of {recipes} is under experiments/results"
    assert any((RESULTS / f"{n}.png").exists() for n in kept)
