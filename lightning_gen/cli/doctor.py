"""Say what works on this machine, and what to do about what does not."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.text import Text

from lightning_gen.errors import LightningGenError

HELP = """usage: lightning-gen doctor [--json] [OVERRIDE...]

Say what is installed, which devices are seen, whether the data, the Inception weights and W&B are
there or can be reached, and what to do about each no. Overrides as for train, e.g. paths.data=DIR.
The exit code is 0 when training can run."""
DISTRIBUTION = "lightning-gen"
TIMEOUT = 3.0
"""Seconds a server may take to answer."""
ROOM = 10**9
"""Bytes that should be free where runs and data go."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        name: What was looked at.
        ok: Whether it is as it should be.
        found: What was found.
        fix: What to do about a no.
        needed: Whether training cannot run without it.
    """

    name: str
    ok: bool
    found: str
    fix: str | None = None
    needed: bool = False


def check_python() -> Iterator[Finding]:
    """The interpreter against the range this distribution is made for."""
    wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"]
    ok = platform.python_version() in SpecifierSet(wanted, prereleases=True)
    found = f"{platform.python_version()} at {sys.executable}"
    fix = f"make a virtual environment with Python {wanted}"
    yield Finding("python", ok, found, fix, needed=True)


def check_packages() -> Iterator[Finding]:
    """Each requirement of this distribution that is not met, and what is installed."""
    wanted = map(Requirement, importlib.metadata.requires(DISTRIBUTION) or [])
    found, bad = [], []
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            bad.append((requirement, "not installed"))
            continue
        if requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} {version}")
        else:
            bad.append((requirement, version))
    if found:
        yield Finding("packages", True, ", ".join(found))
    for requirement, version in bad:
        text = f"{requirement.name} is {version}, needs {requirement.specifier}"
        yield Finding("packages", False, text, f"pip install '{requirement}'", needed=True)
    for other in importlib.metadata.distributions(name="lightning"):
        text = f"'lightning' {other.version}: two releases of this name were malware"
        yield Finding("packages", False, text, "pip uninstall lightning; pytorch-lightning is used")


def check_devices() -> Iterator[Finding]:
    """Cores, GPUs and Apple's MPS, as torch sees them."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cpu", True, f"{cores} cores, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = f"{device.total_memory / 2**30:.0f} GiB"
        yield Finding(f"gpu {index}", True, f"{device.name}, {memory}")
    if torch.backends.mps.is_available():
        yield Finding("gpu", True, "Apple MPS (trainer=mps)")
    elif not torch.cuda.device_count():
        driver = shutil.which("nvidia-smi")
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None:
            fix = f"CUDA_VISIBLE_DEVICES is {hidden!r}; unset it to see every GPU"
        elif driver:
            fix = f"torch {torch.__version__} is built {built}: install one that fits the driver"
        else:
            fix = "trainer=cpu works; for a GPU its driver is needed first"
        yield Finding("gpu", False, "none seen", fix)


def check_places(paths: dict[str, str]) -> Iterator[Finding]:
    """Whether the folders of the configuration can be written and have room."""
    for key, value in paths.items():
        place = Path(value).expanduser().absolute()
        here = next(folder for folder in (place, *place.parents) if folder.exists())
        fix = f"paths.{key}=DIR names another folder"
        needed = key == "runs"
        try:
            with tempfile.TemporaryFile(dir=here):
                free = shutil.disk_usage(here).free
        except OSError as error:
            text = f"{place} cannot be written: {error.strerror} ({here})"
            yield Finding(f"paths.{key}", False, text, fix, needed)
            continue
        text = f"{place}, {free / 1e9:.1f} GB free"
        yield Finding(f"paths.{key}", free >= ROOM, text, f"free some space, or {fix}", needed)


def check_mnist(paths: dict[str, str]) -> Iterator[Finding]:
    """MNIST: prepared, or the first source that has it."""
    from torchvision.datasets import MNIST

    from lightning_gen.data import arrays, mnist

    root, cache = Path(paths["data"]).expanduser(), Path(paths["cache"]).expanduser()
    try:
        prepared = arrays.read(root / "mnist" / "arrays")
        yield Finding("mnist", True, f"prepared in {prepared.path}", needed=True)
        return
    except LightningGenError as error:
        state = error.what
    name = next(iter(mnist.FILES))
    raw = [folder for folder in (root / "MNIST/raw", root / "mnist/raw") if folder.is_dir()]
    wheel = mnist.WHEEL.partition("==")[0]
    sources: list[tuple[str, Callable[[], bool]]] = [
        *((str(f), lambda f=f: any(f.glob(f"{name}*"))) for f in raw),
        *((m, lambda m=m: _trouble(f"{m}{name}.gz") is None) for m in MNIST.mirrors),
        (f"{mnist.WHEEL} (cached)", lambda: any((cache / wheel).glob("*.whl"))),
        (f"{mnist.WHEEL} (by pip)", lambda: _pip_has(wheel)),
    ]
    for source, has_it in sources:
        if has_it():
            found = f"{state}; the first run takes the files from {source}"
            yield Finding("mnist", True, found, needed=True)
            return
    found = f"{state}, and no source answers: {', '.join(source for source, _ in sources)}"
    files = ", ".join(f"{file}.gz" for file in mnist.FILES)
    fix = f"connect to the network, or put {files} into {root / 'MNIST/raw'}"
    yield Finding("mnist", False, found, fix, needed=True)


def check_extractors() -> Iterator[Finding]:
    """The weights of the networks that scores are computed with."""
    from lightning_gen.metrics import extractors

    weights = extractors.MNIST_WEIGHTS
    shipped = "comes with this package: install it anew"
    yield Finding("mnist classifier", weights.is_file(), str(weights), shipped, needed=True)
    try:
        found = extractors.find_inception(download=False)
        yield Finding("inception", True, str(found))
    except LightningGenError as error:
        url = extractors.INCEPTION_URL
        trouble = _trouble(url)
        looked = f"{error.what} (looked at {error.where})"
        if trouble is None:
            yield Finding("inception", True, f"{looked}; downloaded when first used from {url}")
        else:
            yield Finding("inception", False, f"{looked}; {trouble}", error.fix)


def check_wandb() -> Iterator[Finding]:
    """The mode W&B would start in."""
    from lightning_gen.tracking.wandb import WandbView, check

    mode = WandbView().requested_mode
    if mode == "disabled":
        yield Finding("W&B", True, "disabled by WANDB_MODE")
        return
    answer = check(mode, timeout=TIMEOUT)
    if "failed" in answer:
        yield Finding("W&B", False, f"does not start: {answer['failed']}", "pip install wandb")
    elif answer["mode"] == "online":
        yield Finding("W&B", True, f"online, {answer['server']} answers and a key is configured")
    elif mode == "offline":
        yield Finding("W&B", True, "offline, as WANDB_MODE says; `wandb sync` uploads runs")
    else:
        known = "check the network, proxies and WANDB_BASE_URL, or `wandb sync` the runs later"
        fix = known if answer["key"] else "wandb login, or nothing: `wandb sync` uploads runs later"
        found = f"runs go offline: {answer['reason']}"
        yield Finding("W&B", False, found, fix)


def check_git() -> Iterator[Finding]:
    """Whether a run's provenance can name the commit."""
    from lightning_gen.runs.provenance import git_state

    state = git_state(Path(__file__).parent)
    if state:
        changed = " with uncommitted changes" if state["dirty"] else ""
        yield Finding("git", True, f"commit {state['commit'][:12]}{changed}")
    elif shutil.which("git"):
        yield Finding("git", True, "installed package: runs name its version, not a commit")
    else:
        yield Finding("git", False, "not installed: runs cannot name a commit", "install git")


def _trouble(url: str) -> str | None:
    """Why a URL does not answer, or None."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310
    try:
        urllib.request.build_opener().open(request, timeout=TIMEOUT).close()
    except (OSError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', None) or error}"
    return None


def _pip_has(package: str) -> bool:
    """Whether pip's index answers and lists a package."""
    options = ["--retries=0", f"--timeout={TIMEOUT:g}", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "index", "versions", package, *options]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def examine(overrides: list[str], progress: Callable[[str], Any]) -> Iterator[Finding]:
    """Look at everything.

    Args:
        overrides: As for ``train``.
        progress: Told what is looked at next.

    Yields:
        Findings, as soon as each is known.
    """
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("devices", check_devices),
    ]
    try:
        from lightning_gen.config.compose import check_overrides

        paths = check_overrides(overrides)["paths"]
        checks += [("folders", lambda: check_places(paths)), ("mnist", lambda: check_mnist(paths))]
    except (LightningGenError, ImportError) as error:
        lines = " ".join(str(error).split())
        yield Finding("configuration", False, lines, "see above", needed=True)
    checks += [("weights", check_extractors), ("W&B", check_wandb), ("git", check_git)]
    for name, check in checks:
        progress(f"looking at {name} ...")
        try:
            yield from check()
        except ImportError as error:  # of a package that is reported above as missing or too old
            yield Finding(name, False, f"cannot be looked at: {error}", "see packages", needed=True)


def main(argv: list[str]) -> int:
    """Run ``lightning-gen doctor``.

    Args:
        argv: Words after the verb.

    Returns:
        0 when training can run, else 1.
    """
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    as_json = "--json" in argv
    overrides = [word for word in argv if word not in ("--json",)]
    console = Console()
    spinner = console.status("") if console.is_terminal and not as_json else None
    findings = []
    with spinner or nullcontext():
        for finding in examine(overrides, spinner.update if spinner else str):
            findings.append(finding)
            if not as_json:
                _show(console, finding)
    missing = [f for f in findings if f.needed and not f.ok]
    if as_json:
        found = [asdict(f) | {"fix": None if f.ok else f.fix} for f in findings]
        print(json.dumps({"ok": not missing, "findings": found}, indent=2))
    elif missing:
        print("training cannot run yet: " + "; ".join(f"{f.name}: {f.fix}" for f in missing))
    else:
        print("training can run")
    return 1 if missing else 0


def _show(console: Console, finding: Finding) -> None:
    word = "ok" if finding.ok else "no"
    line = f"{word}  {finding.name:<17} {finding.found}"
    line += f" -> {finding.fix}" if finding.fix and not finding.ok else ""
    if not console.is_terminal:
        print(line, flush=True)
        return
    text = Text(line)
    text.stylize("green" if finding.ok else "bold red" if finding.needed else "yellow", 0, 2)
    console.print(text, soft_wrap=True)
