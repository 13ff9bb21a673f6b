"""R17: no call in the sources can run what a file says.

A rule over the syntax trees of the package and the scripts: what unpickles, builds objects from
YAML, unpacks an archive wholesale, starts a shell or evaluates text is not there.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for room in ("lightning_gen", "scripts") for p in (ROOT / room).rglob("*.py"))

PICKLES = {
    f"{module}.{name}"
    for module in ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve")
    for name in ("load", "loads", "Unpickler", "open")
} | {"pandas.read_pickle", "pd.read_pickle", "marshal.load", "marshal.loads"}
YAML = {f"yaml.{name}" for name in (
    "load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"
)}  # fmt: skip
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
SHELLS |= {"pty.spawn", "os.startfile", "commands.getoutput"}
EVALUATES = {"eval", "exec", "compile", "builtins.eval", "builtins.exec", "code.interact"}
LOADS = {"torch.load", "th.load", "pl_load"}
UNPACKS = {"shutil.unpack_archive"}


def imported(tree):
    """What each name of a module stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                names[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        if isinstance(node, ast.ImportFrom) and not node.level:
            names |= {n.asname or n.name: f"{node.module}.{n.name}" for n in node.names}
    return names


def called(node, names):
    """The dotted name of what a call calls, imports resolved."""
    head, dot, rest = ast.unparse(node.func).partition(".")
    return f"{names.get(head, head)}{dot}{rest}"


def offences(text):
    """Lines of a source and what is forbidden there."""
    tree = ast.parse(text)
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node, names)
        given = {k.arg: k.value for k in node.keywords}
        literal = {k: v.value for k, v in given.items() if isinstance(v, ast.Constant)}
        if name in PICKLES | YAML | SHELLS | EVALUATES | UNPACKS:
            yield node.lineno, name
        if name in LOADS and literal.get("weights_only") is not True:
            yield node.lineno, f"{name} without weights_only=True"
        if literal.get("weights_only") is False:
            yield node.lineno, f"{name}(weights_only=False)"
        if literal.get("allow_pickle") is True:
            yield node.lineno, f"{name}(allow_pickle=True)"
        if name in {"numpy.load", "np.load"} and literal.get("allow_pickle") is not False:
            yield node.lineno, f"{name} without allow_pickle=False"
        if "shell" in given and literal.get("shell") is not False:
            yield node.lineno, f"{name}(shell=...)"
        if name.rpartition(".")[2] in {"extractall", "extract"} and literal.get("filter") != "data":
            yield node.lineno, f"{name} without filter='data'"
        if name.endswith("load_from_checkpoint") or name.endswith("hub.load"):
            yield node.lineno, name


ALLOWED = {("lightning_gen/config/suggest.py", "rapidfuzz.process.extract without filter='data'")}


def test_R17_nothing_in_the_sources_runs_what_a_file_says():
    found = {
        (str(path.relative_to(ROOT)), what): line
        for path in SOURCES
        for line, what in offences(path.read_text(encoding="utf-8"))
    }
    assert len(SOURCES) > 200
    assert {where: line for where, line in found.items() if where not in ALLOWED} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import torch as t\nt.load('x', weights_only=flag)",
        "from torch import load\nload('x')",
        "model.load(path, weights_only=False)",
        "Model.load_from_checkpoint(path)",
        "torch.hub.load('a', 'b')",
        "import pickle\npickle.load(f)",
        "from pickle import loads as l\nl(b)",
        "import pickle\npickle.Unpickler(f).load()",
        "import joblib\njoblib.load('x')",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load(f, Loader=yaml.Loader)",
        "from yaml import unsafe_load\nunsafe_load(f)",
        "archive.extractall(folder)",
        "archive.extractall(folder, filter='fully_trusted')",
        "archive.extract(member)",
        "import shutil\nshutil.unpack_archive('x')",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "import subprocess\nsubprocess.run('x', shell=flag)",
        "import os\nos.system('x')",
        "eval('x')",
        "exec('x')",
    ],
)
def test_R17_the_rule_sees_what_it_forbids(text):
    assert list(offences(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load('x', weights_only=True)",
        "model.eval()",
        "import re\nre.compile('x')",
        "import yaml\nyaml.safe_load(f)",
        "archive.extractall(folder, filter='data')",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import subprocess\nsubprocess.run(['x'])",
    ],
)
def test_R17_the_rule_lets_pass_what_is_safe(text):
    assert list(offences(text)) == []
