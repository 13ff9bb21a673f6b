"""The rules of the house, read off the files: they hold for every model that is ever added."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "lightning_gen"
CONF = PACKAGE.parent / "conf" / "model"
FAMILY_BASES = {
    "__init__",
    "adversarial",
    "translating",
    "image_pool",
    "autoencoding",
    "gaussian_prior",
    "flow",
    "autoregressive",
    "language",
    "diffusion",
}
PAPERS = sorted(p for p in PACKAGE.glob("models/*/*.py") if p.stem not in FAMILY_BASES)
FILES = sorted(PACKAGE.rglob("*.py"))

# What a room may import, by the first word after lightning_gen.
BASICS = {"errors", "types", "randomness", "__version__"}
BELOW = {
    "models": {"core", "players", "densities", "networks", "functional", "models"},
    "players": {"core"},
    "densities": {"core", "players", "networks", "functional"},
    "networks": {"networks", "functional"},
    "functional": {"functional"},
    "data": {"core", "data", "functional"},
    "metrics": {"core", "data", "functional", "metrics", "networks"},
    "config": {"config"},
    "core": set(),
    "errors": set(),
    "types": set(),
    "randomness": set(),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_one_paper_one_file_one_yaml():
    yamls = {p.stem for p in CONF.glob("*.yaml") if not p.stem.startswith("_")}
    assert yamls == {p.stem for p in PAPERS}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in BELOW:
        return
    allowed = BELOW[room] | BASICS
    ours = [m.split(".") for m in imports(path) if m.startswith("lightning_gen.")]
    assert not [m for m in ours if m[1] not in allowed]
    if room in {"models"}:
        family = path.relative_to(PACKAGE).parts[1]
        assert not [m for m in ours if m[1] in {"models"} and m[2] != family]


@pytest.mark.parametrize("path", PAPERS, ids=lambda p: p.stem)
def test_a_paper_file_is_short_and_cites(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 150
    tree = ast.parse(text)
    (model,) = (n for n in tree.body if isinstance(n, ast.ClassDef))
    assert "References:" in ast.get_docstring(model)
    assert any(name in ast.get_docstring(tree) for name in ("arXiv:", "doi:", "ISBN"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_unsafe(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load"}
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert keywords.get("weights_only") != "False"
            assert keywords.get("shell") != "True"
            if name in {"torch.load"}:
                assert keywords["weights_only"] == "True"
        if isinstance(node, ast.ExceptHandler):
            assert not all(isinstance(n, ast.Pass) for n in node.body)
