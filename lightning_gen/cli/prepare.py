"""Download and prepare a data set, so that training starts at once and without a network."""

from pathlib import Path
from typing import Any

from lightning_gen.cli.arguments import bind
from lightning_gen.config.compose import compose_data, instantiate
from lightning_gen.errors import ConfigError

HELP = """usage: lightning-gen prepare NAME [verify=true] [fresh=true] [KEY=VALUE ...]

Prepare the data set conf/data/NAME.yaml in paths.data and say what it holds.
  verify=true  read every byte and compare its SHA-256 with the recorded one
  fresh=true   make the arrays anew, from the source
  KEY=VALUE    configuration, as for train: paths.data=DIR data.resolution=64 ...
"""


def options(*, verify: bool = False, fresh: bool = False) -> dict[str, bool]:
    """What may be asked of the preparation itself."""
    return {"verify": verify, "fresh": fresh}


def main(argv: list[str]) -> int:
    """Run ``lightning-gen prepare NAME``.

    Args:
        argv: Words after the verb.

    Returns:
        0.

    Raises:
        ConfigError: The command line is wrong.
        DataError: The data cannot be had, or do not verify.
    """
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    names = [word for word in argv if "=" not in word]
    if len(names) != 1:
        raise ConfigError(
            f"one data set is prepared at a time, got {len(names)} names",
            fix="lightning-gen prepare NAME; lightning-gen list data shows the names",
        )
    words = [word for word in argv if "=" in word]
    own = [word for word in words if word.partition("=")[0] in ("verify", "fresh")]
    asked = options(**bind(options, own))
    node = compose_data(names[0], [word for word in words if word not in own])
    data = instantiate(node)
    data.prepare_data(fresh=asked["fresh"])
    data.setup()
    if asked["verify"]:
        data.verify()
    _show(data, verified=asked["verify"])
    return 0


def _show(data: Any, *, verified: bool) -> None:
    meta = data.prepared.meta
    print(f"{data.name}: {Path(data.folder).resolve()}")
    for split in data.splits:
        shape = " x ".join(map(str, data.shape_a if split.endswith("_a") else data.shape))
        print(f"  {split:11} {data.size(split):,} samples of {shape}")
    classes = "none" if data.num_classes is None else f"{data.num_classes}"
    print(f"  {'classes':11} {classes}")
    for word in ("skipped", "ignored"):
        if found := meta["note"].get(word):
            print(f"  {word:11} {found if isinstance(found, int) else len(found)} files")
    print(f"  {'source':11} {meta['source']}")
    print(f"  {'fingerprint':11} {data.fingerprint}{' (every byte verified)' * verified}")
