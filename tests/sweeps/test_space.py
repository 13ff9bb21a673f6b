"""The space: W&B's format, and every mistake in it at once."""

import subprocess
import sys

import pytest
import yaml

from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paths import group_files
from lightning_gen.config.problems import ConfigErrors
from lightning_gen.errors import LightningGenError
from lightning_gen.sweeps.space import Space, text, words

FOR = {"gan": "dcgan_mnist", "points": "gan_ring", "seeds": "wgan_gp_ring"}
METRIC = "metric: {name: reverse_kl_ring@2500, goal: minimize}\n"


def write(folder, body, head=f"method: random\n{METRIC}parameters:\n"):
    path = folder / "mine.yaml"
    path.write_text(head + body)
    return str(path)


def test_every_shipped_space_fits_its_experiment():
    assert set(group_files("sweep")) == set(FOR)
    for name, experiment in FOR.items():
        Space.read(name).check([f"experiment={experiment}"])


@pytest.mark.parametrize(
    "value",
    [1, 2.5e-7, None, True, "gan", "null", "1e-3", "a, b='c'", [0.5, None], {"lr": 1e-4}, "", "é$"],
)
def test_text_is_what_hydra_reads_back(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={text(value)}"])
    read = override.value()
    assert (str(read) if isinstance(value, str) else read) == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("  seed: 3", "parameters.seed: must be a mapping"),
        ("  seed: {valeus: [1]}", "did you mean 'values'"),
        ("  seed: {values: 3}", "must be a list of values"),
        ("  seed: {min: 1}", "has neither values nor max"),
        ("  a: {min: 1e-5, max: 1}", "write 1.0e-5"),
        ("  a: {min: 2, max: 1}", "must be less than max=1"),
        ("  a: {min: 0, max: 1, distribution: log_uniform_values}", "must be above 0"),
        (
            "  a: {min: 1, max: 2, distribution: log_unifrm_values}",
            "did you mean 'log_uniform_values'",
        ),
        ("  a: {min: 0.5, max: 2, distribution: int_uniform}", "needs whole numbers"),
        ("  a: {min: 1, max: 2, distribution: constant}", "needs value or values"),
    ],
)
def test_mistakes_in_a_parameter(body, said, tmp_path):
    with pytest.raises(ConfigErrors) as error:
        Space.read(write(tmp_path, body))
    assert said in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_all_mistakes_are_one_report(tmp_path):
    head = "method: byes\nmetric: {name: fid, goal: lower}\nrun_cap: 0\nearly: 1\nparameters: {}\n"
    with pytest.raises(ConfigErrors) as error:
        Space.read(write(tmp_path, "", head))
    keys = {p.key.removeprefix("mine.yaml: ") for p in error.value.problems}
    assert keys == {"method", "metric.name", "metric.goal", "run_cap", "early", "parameters"}
    assert "did you mean 'bayes'" in str(error.value)


@pytest.mark.parametrize("head", ["", "- a\n", "a: [", f"method: grid\n{METRIC}parameters: 3\n"])
def test_a_file_that_is_no_space_is_an_error_block(head, tmp_path):
    with pytest.raises(LightningGenError):
        Space.read(write(tmp_path, "", head))


def test_a_grid_has_no_ranges(tmp_path):
    with pytest.raises(ConfigErrors, match="a grid needs listed values"):
        Space.read(write(tmp_path, "  seed: {min: 1, max: 4}",
                         f"method: grid\n{METRIC}parameters:\n"))  # fmt: skip


def test_every_point_of_the_space_is_checked(tmp_path):
    body = """
  model.optimizers.G.lrr: {values: [1.0]}
  model.optimizers.D.lr: {min: -1.0, max: 1.0}
  model.n_critic: {values: [1, x]}
  model: {values: [gan, gna]}
  budget.images: {values: [100, 200]}
"""
    space = Space.read(write(tmp_path, body))
    with pytest.raises(ConfigErrors) as error:
        space.check(["experiment=gan_ring", "run.fresh=true"])
    report = str(error.value)
    assert "model.optimizers.G.lrr: unknown key; did you mean 'model.optimizers.G.lr'" in report
    assert "model.n_critic: must be" in report and "there is no model 'gna'" in report
    assert "budget.images: is not part of what a run is" in report
    assert report.count("G.lrr: unknown") == 1


def test_the_run_has_no_name_of_its_own(tmp_path):
    space = Space.read(write(tmp_path, "  seed: {values: [1, 2]}"))
    for word in ("run.name=mine", "run.fresh=true"):
        with pytest.raises(ConfigErrors, match="must be left out"):
            space.check(["experiment=gan_ring", word])


def test_the_grid_is_every_combination_once(tmp_path):
    body = "  seed: {values: [0, 1, 1]}\n  data.batch_size: {values: [64, 32]}\n"
    space = Space.read(write(tmp_path, body, f"method: grid\n{METRIC}parameters:\n"))
    points = [words(space.point(n)) for n in range(space.size)]
    assert points == [[f"seed={s}", f"data.batch_size={b}"] for s in (0, 1) for b in (64, 32)]
    assert space.point(4) is None


def test_wandb_gets_values_that_its_agent_writes_as_we_read_them():
    """The agent writes key=str(value); what comes back must be the same configuration."""
    space = Space.read("gan")
    for key, node in space.for_wandb()["parameters"].items():
        ours = next(p for p in space.parameters if p.key == key)
        for value, mine in zip(node.get("values", []), ours.values, strict=True):
            base = ["experiment=dcgan_mnist"]
            assert check_overrides([*base, f"{key}={value}"]) == check_overrides(
                [*base, f"{key}={mine}"]
            )
    yaml.safe_dump(space.for_wandb())


def test_a_mistake_costs_no_torch(tmp_path):
    program = (
        "import sys; from lightning_gen.cli import main; code = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules and 'optuna' not in sys.modules; sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "sweep", "sweep=piont", f"paths.runs={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "did you mean 'points'" in done.stderr
    assert not list(tmp_path.iterdir())
