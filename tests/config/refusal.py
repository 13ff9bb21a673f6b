"""What a refused command line says."""

from typing import Any

import pytest

from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paths import group_files
from lightning_gen.config.problems import ConfigErrors

EXPERIMENTS = sorted(group_files("experiment"))


def refusal(*argv: str) -> str:
    with pytest.raises(ConfigErrors) as info:
        check_overrides(argv)
    assert info.value.exit_code == 2
    return str(info.value)


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict) and node:
        return {k: v for n in node for k, v in leaves(node[n], f"{prefix}.{n}").items()}
    return {prefix.strip("."): node}
