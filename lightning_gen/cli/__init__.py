"""The command ``lightning-gen VERB ...``: a verb is a file of this folder with a ``main(argv)``."""

import ast
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_gen.errors import ConfigError, LightningGenError

FOLDER = Path(__file__).parent


def verbs() -> dict[str, str]:
    """Each verb and the first line of its docstring, read without importing it."""
    found = {}
    for file in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if not file.stem.startswith("_") and "main" in functions:
            found[file.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def usage() -> str:
    """The help of the command."""
    lines = [f"  {verb:<10} {summary}" for verb, summary in verbs().items()]
    return "\n".join(
        [
            "usage: lightning-gen VERB ...",
            "",
            "Train, score and sample deep generative models.",
            "",
            *lines,
            "",
            "`lightning-gen VERB --help` says what a verb takes.",
            "LIGHTNING_GEN_TRACEBACK=1 shows where in the program an error arose.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: Words after ``lightning-gen``; the process's own by default.

    Returns:
        Exit code, see :mod:`lightning_gen.errors`.
    """
    words = sys.argv[1:] if argv is None else argv  # no list(): a verb of that name lies here
    verb, *rest = words or ["--help"]
    if not sys.stderr.isatty():  # a log has a line of a bar a minute; tqdm reads it when imported
        os.environ.setdefault("TQDM_MININTERVAL", "60")
        os.environ.setdefault("TQDM_MAXINTERVAL", "60")
    try:
        if verb in {"-h", "--help", "help"}:
            print(usage())
            return 0
        if verb in {"--version"}:
            from lightning_gen import __version__

            print(__version__)
            return 0
        if verb not in verbs():
            raise _unknown(verb)
        return importlib.import_module(f"lightning_gen.cli.{verb}").main(rest)
    except BrokenPipeError:  # `lightning-gen list models | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except LightningGenError as error:
        if os.environ.get("LIGHTNING_GEN_TRACEBACK") in {"1"}:
            raise
        print(error, file=sys.stderr)
        return error.exit_code


def _unknown(verb: str) -> ConfigError:
    from lightning_gen.config.suggest import did_you_mean, nearest

    near = did_you_mean(nearest(verb, verbs(), n=1))
    return ConfigError(f"no verb {verb!r}{near}", fix=f"one of {', '.join(verbs())}")
