"""Say what a checkpoint holds, and verify every byte of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_gen.errors import CheckpointError, ConfigError

HELP = """usage: lightning-gen ckpt info|verify PATH

Say of a checkpoint, or of all those of a run, which step it is of and whether it is sound.
  info    what it says of itself, and the tensors in it (verified as it is loaded)
  verify  compare its SHA-256 with every byte; the exit code is 4 when one does not verify
  PATH    a file *.ckpt, a folder of them, or the folder of a run
"""


def main(argv: list[str]) -> int:
    """Run ``lightning-gen ckpt info PATH`` or ``lightning-gen ckpt verify PATH``.

    Args:
        argv: Words after the verb.

    Returns:
        0.

    Raises:
        ConfigError: The command line is wrong.
        CheckpointError: There is none, or one does not verify.
    """
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    what = {"info": info, "verify": verify}
    if len(argv) != 2 or argv[0] not in what:
        raise ConfigError("two words are needed", fix="lightning-gen ckpt info|verify PATH")
    what[argv[0]](find(Path(argv[1])))
    return 0


def find(path: Path) -> list[Path]:
    """List the checkpoints that a path names, newest step last.

    Args:
        path: A file, a folder of files, or a run.

    Raises:
        CheckpointError: If there are none.
    """
    if path.is_file():
        return [path]
    found = sorted((path / "checkpoints").glob("*.ckpt")) or sorted(path.glob("*.ckpt"))
    if not found:
        raise CheckpointError(
            f"no checkpoint at {path}", where=path, fix="a file *.ckpt, or the folder of a run"
        )
    return found


def verify(paths: list[Path]) -> None:
    """Load each file, and say of each whether it is sound.

    Args:
        paths: The files.

    Raises:
        CheckpointError: If any is not, after all have been read.
    """
    from lightning_gen.runs.checkpoint import load

    bad: list[CheckpointError] = []
    for path in paths:
        try:
            load(path)
        except CheckpointError as error:
            bad.append(error)
            print(f"{path}: {error.what}")
        else:
            print(f"{path}: sound")
    if len(paths) == len(bad) == 1:
        raise bad[0]
    if bad:
        raise CheckpointError(
            f"{len(bad)} of {len(paths)} checkpoints do not verify",
            where=", ".join(str(error.where) for error in bad),
            fix="training goes on from the newest sound one by itself",
        )


def info(paths: list[Path]) -> None:
    """Print what each file says of itself and what is in it.

    Args:
        paths: The files.

    Raises:
        CheckpointError: If one does not verify.
    """
    from lightning_gen.runs.checkpoint import load, read_facts

    for path in paths:
        payload, facts = load(path), read_facts(path)
        assert facts is not None
        tensors = list(_tensors(payload))
        best = ", the best so far" if facts.best else ""
        print(f"{path} ({path.stat().st_size / 1e6:.2f} MB, sound)")
        print(f"  step      iteration {facts.iteration:,}, {facts.images_seen:,} images{best}")
        print(f"  written   by lightning_gen {facts.version}, schema {facts.schema}")
        if isinstance(payload, dict) and "class" in payload:
            print(f"  model     {payload['class']}")
        print(f"  holds     {len(tensors)} tensors, {sum(t.numel() for t in tensors):,} numbers")


def _tensors(value: Any) -> Iterator[Any]:
    nested = value.values() if isinstance(value, dict) else value
    if hasattr(value, "numel"):
        yield value
    elif isinstance(nested, str) or not hasattr(nested, "__iter__"):
        return
    else:
        for part in nested:
            yield from _tensors(part)
