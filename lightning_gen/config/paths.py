"""Where the configuration tree and the experiments lie, in a checkout and in an installed wheel."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def shipped(folder: str) -> Path:
    """A top-level folder of the project: inside the package in a wheel, beside it in a checkout.

    Args:
        folder: ``"conf"`` or ``"experiments"``.

    Example:
        >>> (shipped("conf") / "config.yaml").is_file()
        True
    """
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def conf_dir() -> Path:
    """Folder of the Hydra groups."""
    return shipped("conf")


def experiment_dirs() -> list[Path]:
    """Folders whose ``<name>.yaml`` is ``experiment=<name>``, the user's own before the shipped.

    These are ``$LIGHTNING_GEN_EXPERIMENTS``, ``./experiments`` and the shipped folder, as far as
    they exist.
    """
    own = os.environ.get("LIGHTNING_GEN_EXPERIMENTS")
    folders = [Path(own)] if own else []
    folders += [Path("experiments"), shipped("experiments")]
    return list(dict.fromkeys(f.resolve() for f in folders if f.is_dir()))


def group_files(group: str) -> dict[str, Path]:
    """The choices of a configuration group and their files; names with a leading _ are bases.

    Args:
        group: A folder of ``conf/``, or ``"experiment"``.
    """
    folders = experiment_dirs() if group in {"experiment"} else [conf_dir() / group]
    files = [f for folder in reversed(folders) for f in sorted(folder.glob("*.yaml"))]
    return {f.stem: f for f in sorted(files, key=lambda f: f.stem) if not f.stem.startswith("_")}
