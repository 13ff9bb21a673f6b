"""The dashboard's specification against what real runs log, and against servers of all kinds."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from lightning_gen.cli import main
from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paper import Paper
from lightning_gen.config.paths import group_files
from lightning_gen.errors import OutputError
from lightning_gen.runs.run import Run
from lightning_gen.tracking.dashboard import describe, publish, specification, write
from lightning_gen.tracking.panels import EVALUATORS, SCORES, SECTIONS, facts, paper_key
from lightning_gen.tracking.wandb_process import Writer
from tests.suited import data_of, words_of
from tests.system.harness import only_run, tiny, train

MODELS = [name for name in group_files("model") if not name.startswith("_")]
ALL = "[fid,kid,inception_score,prdc,modes,diversity,birthday,memorisation,ndb,class_diversity]"
KEY = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch, tmp_path):
    """No key, no prompt, and no server but a port of this machine on which nobody listens."""
    for name in [n for n in os.environ if n.startswith("WANDB_") or "proxy" in n.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


class Names:
    """Stands for W&B's run and keeps the names that the view's own writer gives it."""

    step = 0

    def __init__(self):
        self.logged, self.pictures = set(), set()

    def define_metric(self, *_, **__):
        """Nothing."""

    def log(self, values, step):
        for key, value in values.items():
            (self.logged if isinstance(value, (int, float)) else self.pictures).add(key)


def names_of(path):
    run, names = Run.read(path), Names()
    writer = Writer(names, 0)
    for row in run.history():
        writer.row(row)
    for key, file, row in run.pictures():
        writer.picture(key, str(file), row)
    assert not writer.lost
    return names.logged - {"images_seen"}, names.pictures


def overrides_of(kind, folder, data_root):
    if kind == "ring":
        words = tiny("gan", folder, data_root)
        own = ("data=", "metrics", "logger=")
        words = [word for word in words if not word.startswith(own)]
        mixture = ["data=ring", "network@model=mlp2d", "model.latent_dim=2", "logger=wandb"]
        return [*words, *mixture, "metrics=ring"]
    if kind == "parzen":
        words = [w for w in tiny("gan", folder, data_root) if not w.startswith("metrics")]
        return [*words, "metrics=parzen", "metrics.n_valid=100", "data.valid=10000"]
    extra = {"metrics.metrics": ALL, "metrics.kid_subset_size": 100, "metrics.kid_subsets": 5}
    extra |= {"metrics.n_train": 600}
    if data_of(kind) not in {"mnist"}:  # their evaluations have metrics of their own
        extra = {k: v for k, v in extra.items() if k.startswith("metrics.kid")}
    if data_of(kind) in {"text"}:
        extra = {}
    # FID is among those of the configuration, and needs more samples than there are features.
    words = tiny(kind, folder, data_root, n=192 if data_of(kind) in {"mnist", "digits"} else 400)
    words = [w for w in words if not w.startswith("metrics.metrics=")]
    return [*words, *(f"{k}={v}" for k, v in extra.items())]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mnist_root):
    """Real runs by kind, each trained when first asked for: the folder and the configuration."""
    runs = {}

    def trained(kind):
        if kind not in runs:
            folder = tmp_path_factory.mktemp(kind)
            words = overrides_of(kind, folder, mnist_root)
            environment = {"WANDB_MODE": "offline", "WANDB_BASE_URL": "http://127.0.0.1:9"}
            assert train(words, environment=environment) == 0
            runs[kind] = only_run(folder), check_overrides(words)
        return runs[kind]

    return trained


def plots(spec):
    """Panels of a workspace by section, as written."""
    sections = spec["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def names_in(panel, logged, pictures):
    """The names that a written panel shows, of those that were logged."""
    config = panel["config"]
    if panel["viewType"] == "Media Browser":
        return set(config["mediaKeys"]) & pictures
    named = set(config["metrics"])
    for expression in config.get("expressions", []):
        named |= set(re.findall(r"\$\{(.*?)\}", expression))
    if config.get("useMetricRegex"):
        named |= {key for key in logged if re.fullmatch(config["metricRegex"], key)}
    return named & logged


def kinds():
    """One model of each set of panels, and the others as slow."""
    needed = {word for section in SECTIONS.values() for p in section for word in p.needs.split()}
    seen = set()
    for model in MODELS:
        of = frozenset(facts(check_overrides([f"model={model}", *words_of(model)])) & needed)
        yield pytest.param(model, marks=[pytest.mark.slow] if of in seen else [])
        seen.add(of)


@pytest.mark.parametrize("kind", [*kinds(), "ring", "parzen"])
def test_no_panel_is_empty_and_nothing_is_forgotten(kind, trained):
    path, config = trained(kind)
    logged, pictures = names_of(path)
    experiment = describe(config["experiment_name"], config, None, "")
    shown = plots(specification("p", "", [experiment]))
    assert list(shown) == list(SECTIONS)
    times = dict.fromkeys(logged | pictures, 0)
    for section, panels in shown.items():
        for panel in panels:
            found = names_in(panel, logged, pictures)
            assert found, (section, panel["config"])
            for key in found:
                times[key] += 1
    assert set(times.values()) == {1}, {key: n for key, n in times.items() if n != 1}


def inspect(folder):
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records = {}
    for line in out.splitlines():
        record = json.loads(line)
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


def test_the_names_are_those_in_wandbs_own_file(trained):
    path, config = trained("ring")
    (folder,) = (p for p in (path / "wandb").glob("offline-run-*") if p.is_dir())
    records = inspect(folder)
    rows = [record["item"] for record in records["history"]]
    keys = {key for row in rows for key in row if not key.startswith("_")}
    media = {key.rpartition(".")[0] for key in keys if key.endswith("._type")}
    logged = {key for key in keys if key.rpartition(".")[0] not in media} - {"images_seen"}
    assert (logged, media) == names_of(path)
    assert all("images_seen" in row for row in rows)  # the x axis
    filters = specification("p", "", [describe(config["experiment_name"], config, None, "")])
    run_set = filters["workspace"]["spec"]["section"]["runSets"][0]
    assert run_set["grouping"] == [{"section": "run", "name": "group"}]
    (group,) = run_set["filters"]["filters"]
    assert group["key"] == {"section": "run", "name": "group"}
    assert records["run"][0]["run_group"] in group["value"]


def test_the_catalogue_has_every_score_there_is():
    from lightning_gen.metrics.evaluator import SCORES as MEASURED

    for name in (name for names in MEASURED.values() for name in names):
        panels = [panel for panel in SECTIONS[SCORES] if panel.shows(f"eval/{name}_x@5k_test")]
        assert len(panels) == 1, name
    for file in group_files("metrics").values():
        target = yaml.safe_load(file.read_text()).get("_target_", "")
        assert not target or target.rpartition(".")[2] in EVALUATORS, file


def test_expressions_are_of_re2_and_capture_nothing():
    for panel in (panel for panels in SECTIONS.values() for panel in panels if panel.regex):
        assert re.compile(panel.regex).groups == 0
        assert set(re.findall(r"\(\?.", panel.regex)) <= {"(?:"}
        assert panel.regex.startswith("^") and panel.regex.endswith(".*$")


RING = ["model=gan", "data=ring", "network@model=mlp2d", "model.latent_dim=2"]
EVALUATION = ["callbacks.scores.n_fake=2000", "metrics.n_fake=10000"]
DCGAN = ["model=dcgan", "data=mnist", *EVALUATION]


def paper_of(metric="fid", value=9.5, metrics=None, **protocol):
    result = {"metric": metric, "value": value, "band": [None, 12.0], "why": "two of its errors"}
    return Paper(
        "Who, *What*, 2014", "arXiv:1406.2661", "table 1", "read", "section 5", [result], protocol,
        metrics=metrics, departures=["Adam"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "paper", "key", "along"),
    [
        (DCGAN, paper_of(), "fid_mnist@10k_test", "fid_mnist@2k_test"),
        (DCGAN, paper_of(n_fake=10_000), "fid_mnist@10k_test", "fid_mnist@2k_test"),
        (DCGAN, paper_of(n_fake=2_000), "fid_mnist@2k_test", "fid_mnist@2k_test"),
        (DCGAN, paper_of(weights="ema"), "fid_mnist@10k_test", "fid_mnist@2k_test"),
        (
            [*DCGAN, "callbacks.scores.weights=both"],
            paper_of(weights="raw"),
            "fid_mnist@10k_test_raw",
            "fid_mnist@2k_test_raw",
        ),
        (
            [*DCGAN, "callbacks.scores.every_images=null"],
            paper_of(),
            "fid_mnist@10k_test",
            "fid_mnist@10k_test",
        ),
        (
            [*RING, "model.ema_halflife=null", "callbacks.scores.n_fake=2500"],
            paper_of("modes", 6.3, n_fake=2500, weights="raw"),
            "modes_ring@2500",
            "modes_ring@2500",
        ),
        # What is measured otherwise is not drawn.
        (DCGAN, paper_of(n_fake=50_000), None, None),
        (DCGAN, paper_of(split="train"), None, None),
        (DCGAN, paper_of(extractor="inception"), None, None),
        (DCGAN, paper_of(weights="raw"), None, None),
        (DCGAN, paper_of(metrics="inception"), None, None),
        (["model=dcgan", "data=mnist", "metrics=none"], paper_of(), None, None),
        ([*DCGAN, "callbacks.scores=null"], paper_of(), None, None),
        ([*DCGAN, "metrics.metrics=[kid]"], paper_of(), None, None),
    ],
)
def test_a_published_number_is_a_line_beside_the_score_it_compares_with(words, paper, key, along):
    experiment = describe("e", check_overrides(words), paper, "")
    spec = specification("p", "", [experiment])
    lined = [p["config"] for p in plots(spec).get(SCORES, []) if "expressions" in p["config"]]
    if key is None:
        assert lined == []
        return
    (config,) = lined
    (value,) = (result.value for result in paper.numbers)
    assert config["expressions"] == [f"${{eval/{key}}}", f"0 * ${{eval/{along}}} + {value}"]
    assert config["metrics"] == [] and f"{key}; papers: e {value}" == config["chartTitle"]
    assert plots(spec)[SCORES][0]["config"] == config


@pytest.mark.parametrize(
    ("kind", "metric"), [("ring", "modes"), ("dcgan", "fid"), ("parzen", "parzen")]
)
def test_a_line_is_drawn_over_names_that_the_run_has(kind, metric, trained):
    path, config = trained(kind)
    paper = paper_of(metric)
    key, along = paper_key(config, paper, paper.numbers[0])
    assert {key, along} <= names_of(path)[0]


def test_a_key_of_two_experiments_has_the_lines_of_both():
    config = check_overrides(DCGAN)
    pair = [describe(n, config, paper_of(value=v), "") for n, v in (("a", 9.5), ("b", 7.0))]
    (first, *rest) = plots(specification("p", "", pair))[SCORES]
    name = "eval/fid_mnist@10k_test"
    lines = ["0 * ${eval/fid_mnist@2k_test} + 9.5", "0 * ${eval/fid_mnist@2k_test} + 7.0"]
    assert first["config"]["expressions"] == [f"${{{name}}}", *lines]
    assert not [p for p in rest if "expressions" in p["config"]]


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """Two experiments with papers, one of them run, in a folder of their own."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    head = "# @package _global_\n# {0}.\ndefaults:\n- override /data: {1}\n- override /model: {2}\n"
    head += "callbacks:\n  scores: {{n_fake: 2000}}\n"
    for name, data, model in (("ours_a", "mnist", "dcgan"), ("ours_b", "mnist", "wgan_gp")):
        paper = {k: v for k, v in vars(paper_of(n_fake=10_000)).items() if v}
        text = head.format(name, data, model) + yaml.safe_dump({"paper": paper})
        (folder / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(folder))
    from lightning_gen.baselines.results import BaselineResult, SeedResult
    from lightning_gen.baselines.results import write as write_result
    from lightning_gen.metrics.protocol import Protocol, Score

    how = Protocol("mnist", "ab", "none", 10_000, 10_000, "test", "ema", 0, "cd")
    scores = [Score("fid", 11.0, how).to_json()]
    seeds = [SeedResult(s, scores) for s in (0, 1)]
    write_result(tmp_path / "results", BaselineResult("ours_a", "lightning-gen reproduce", seeds))
    return ["project=p", "experiments=ours_a,ours_b", f"results={tmp_path / 'results'}"]


def dry(words, out, **environment):
    """Write the specification in a new interpreter, without a key, a server or a fixed hash."""
    command = [sys.executable, "-m", "lightning_gen", "dashboard", *words, f"out={out}"]
    done = subprocess.run(
        [*command, "--dry-run"], env=os.environ | environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_dry_run_needs_nobody_and_is_the_same_each_time(experiments, tmp_path, capsys):
    for i in "12":
        said = dry(experiments, tmp_path / i, PYTHONHASHSEED=i)
        assert str(tmp_path / i / "workspace.json") in said
        assert str(tmp_path / i / "report.json") in said
    for name in ("workspace.json", "report.json"):
        first = (tmp_path / "1" / name).read_bytes()
        assert first == (tmp_path / "2" / name).read_bytes() and json.loads(first)
    words = [*experiments, f"out={tmp_path / 'both.json'}", "--dry-run"]
    assert main(["dashboard", *words]) == 0
    assert capsys.readouterr().out.split() == ["both", str(tmp_path / "both.json")]
    both = json.loads((tmp_path / "both.json").read_text())
    assert both["workspace"] == json.loads((tmp_path / "1" / "workspace.json").read_text())
    assert both["report"] == json.loads((tmp_path / "1" / "report.json").read_text())


def test_the_library_reads_the_specification_back(experiments, tmp_path):
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2.internal import ReportViewspec
    from wandb_workspaces.workspaces.internal import View

    assert main(["dashboard", *experiments, "entity=me", f"out={tmp_path}", "--dry-run"]) == 0
    written = json.loads((tmp_path / "workspace.json").read_text())
    space = ws.Workspace._from_model(View.model_validate(written))
    dump = {"mode": "json", "by_alias": True, "exclude_none": True}
    assert space._to_model().model_dump(**dump) == written
    assert (space.entity, space.project) == ("me", "p")
    assert [section.name for section in space.sections] == list(SECTIONS)
    assert space.settings.x_axis == "images_seen"
    drawn = [panel for section in space.sections for panel in section.panels]
    lines = [panel for panel in drawn if isinstance(panel, wr.LinePlot)]
    assert {panel.x.name for panel in lines} == {"images_seen"}
    assert {s.panel_settings.x_axis for s in space.sections} == {"images_seen"}
    assert len({panel._id for panel in drawn}) == len(drawn)

    written = json.loads((tmp_path / "report.json").read_text())
    report = wr.Report._from_model(ReportViewspec.model_validate(written))
    report.width = written["spec"]["width"]  # the library does not read it back
    assert report._to_model().model_dump(**dump) == written


def test_the_report_has_source_verdict_and_scores_of_each_baseline(experiments, tmp_path):
    assert main(["dashboard", *experiments, f"out={tmp_path}", "--dry-run"]) == 0
    blocks = json.loads((tmp_path / "report.json").read_text())["spec"]["blocks"]
    heads = [b["children"][0]["text"] for b in blocks if b["type"] == "heading"]
    assert heads == ["ours_a", "ours_b"]
    links = [c for b in blocks for c in b.get("children", []) if c.get("type") == "link"]
    assert {link["url"] for link in links} == {"https://arxiv.org/abs/1406.2661"}
    run, not_run = (b["content"] for b in blocks if b["type"] == "markdown-block")
    row = "| fid (n_fake=10000) | 9.5 | 11 | +1.5 | reproduced | at most 12: two of its errors |"
    assert run.splitlines()[2] == row
    assert not_run.splitlines()[2] == "| fid (n_fake=10000) | 9.5 |  |  | not run |  |"
    grids = [b["metadata"] for b in blocks if b["type"] == "panel-grid"]
    for name, grid in zip(heads, grids, strict=True):
        (runs,) = grid["runSets"]
        (group,) = runs["filters"]["filters"]
        assert runs["name"] == name == group["value"] and group["key"]["name"] == "group"
        panels = grid["panelBankSectionConfig"]["panels"]
        assert "0 * ${eval/fid_mnist@2k_test} + 9.5" in json.dumps(panels)
        places = {(p["layout"]["x"], p["layout"]["y"]) for p in panels}
        assert len(places) == len(panels)


def test_all_that_is_shipped_has_a_specification(tmp_path):
    words = ["project=p", f"results={tmp_path}", f"out={tmp_path}", "--dry-run"]
    assert main(["dashboard", *words]) == 0
    blocks = json.loads((tmp_path / "report.json").read_text())["spec"]["blocks"]
    heads = {b["children"][0]["text"] for b in blocks if b["type"] == "heading"}
    papers = {n for n, f in group_files("experiment").items() if "\npaper:" in f.read_text()}
    assert heads == papers


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "missing argument 'project='"),
        (["project=p", "experiment=x"], "did you mean 'experiments='?"),
        (["project=p", "experiments=dcgan_mnits"], "did you mean 'dcgan_mnist'"),
        (["project=p", "--dry-rnu"], "unknown argument '--dry-rnu'"),
        (["project="], "project=NAME"),
        (["project=p", "out=x"], "out= is for --dry-run"),
    ],
)
def test_mistakes_are_blocks(words, text, capsys):
    assert main(["dashboard", *words]) == 2
    assert text in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to") as raised:
        write({"workspace": {}}, tmp_path / "file")
    assert "out=FOLDER" in raised.value.fix


def test_help_and_a_dry_run_import_no_torch(experiments, tmp_path):
    code = """if True:
        import sys
        from lightning_gen.cli import main
        assert main(["dashboard", "--help"]) == 0
        assert not {"wandb", "wandb_workspaces", "hydra", "torch"} & set(sys.modules)
        assert main(["dashboard", *sys.argv[1:], "--dry-run"]) == 0
        assert "torch" not in sys.modules
    """
    words = [*experiments, f"out={tmp_path / 'out'}"]
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)


class Server(BaseHTTPRequestHandler):
    """As much of W&B as publishing asks for; ``kind`` says what goes wrong."""

    kind = "well"
    views: list
    release: threading.Event

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        query, given = asked["query"], asked.get("variables") or {}
        if self.kind == "hangs":
            self.release.wait(60)
        if self.kind in {"hangs", "401"}:
            self.send_response(401)
            self.end_headers()
            return
        answer = {"data": self.data(query, given)}
        if self.kind == "refuses" and "upsertView" in query:
            answer = {"data": None, "errors": [{"message": "permission denied"}]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def data(self, query, given):
        if "upsertView" in query:
            self.views.append(given)
            where = {"name": given["projectName"], "entityName": given["entityName"], "id": "7"}
            view = {k: given[k] for k in ("name", "displayName", "description", "spec")}
            return {"upsertView": {"view": {**view, "id": "Vmlldzox", "project": where}}}
        if "internalId" in query:
            return {"project": None if self.kind == "no project" else {"internalId": "7"}}
        if "models(" in query:
            about = {"id": "7", "name": "p", "entityName": "me", "createdAt": "2026-01-01"}
            edges = [{"cursor": "x", "node": {**about, "isBenchmark": False, "user": None}}]
            return {
                "models": {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": edges}
            }
        teams = {"edges": []}
        return {"viewer": {"id": "1", "entity": "me", "username": "me", "teams": teams}}

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def serve(monkeypatch):
    servers, release = [], threading.Event()

    def serve(kind):
        views = []
        facts = {"kind": kind, "views": views, "release": release}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Server,), facts))
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        return views

    yield serve
    release.set()
    for server in servers:
        server.shutdown()


def test_published_is_what_a_dry_run_writes(experiments, tmp_path, serve, capsys):
    views = serve("well")
    assert main(["dashboard", *experiments]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    report, space = views
    assert main(["dashboard", *experiments, "entity=me", f"out={tmp_path}", "--dry-run"]) == 0
    written = json.loads((tmp_path / "workspace.json").read_text())
    assert json.loads(space["spec"]) == written["spec"]
    assert (space["entityName"], space["projectName"], space["type"]) == (
        "me",
        "p",
        "project-view",
    )
    assert f"/me/p?nw={space['name'].removeprefix('nw-').removesuffix('-v')}" in said
    assert "/me/p/reports/Reproduced-baselines--Vmlldzox" in said

    published = json.loads(report["spec"])
    for block in published["blocks"]:  # a dry run does not know the project's number
        for runs in block.get("metadata", {}).get("runSets", []):
            assert runs.pop("project") == {"name": "p", "entityName": "me", "id": "7"}
    assert published == json.loads((tmp_path / "report.json").read_text())["spec"]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("no key", "no API key"),
        ("refused", "refused"),
        ("401", "Failed to verify credentials"),
        ("no project", "project 'me/p' not found"),
        ("refuses", "permission denied"),
    ],
)
def test_what_cannot_be_published_is_a_block(kind, why, experiments, serve, monkeypatch, capsys):
    if kind == "refused":
        monkeypatch.setenv("WANDB_API_KEY", KEY)
    elif kind != "no key":
        serve(kind)
    assert main(["dashboard", *experiments]) == 7
    said = capsys.readouterr()
    assert said.out == "" and "Traceback" not in said.err
    assert why in said.err and "the dashboard was not published" in said.err
    assert "WANDB_API_KEY" in said.err and "--dry-run" in said.err


def test_a_server_that_hangs_is_left(serve):
    serve("hangs")
    start = time.monotonic()
    with pytest.raises(OutputError, match="no answer within 4 s"):
        publish("p", "me", [describe("e", check_overrides(DCGAN), None, "")], timeout=4)
    assert time.monotonic() - start < 60
