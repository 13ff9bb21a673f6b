"""Mistakes in a configuration, all reported at once."""

from dataclasses import dataclass
from typing import Any

from lightning_gen.errors import ConfigError

NOTHING: Any = object()


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Args:
        key: Dotted key, override or file the mistake is in.
        rule: What must hold, as a sentence about the key.
        value: The value found; left out when the key itself is the mistake.
        remedy: What to write instead.
        near: A clause that names the nearest right words.
        explains: Keys whose own problems follow from this one.
    """

    key: str
    rule: str
    value: Any = NOTHING
    remedy: str | None = None
    near: str = ""
    explains: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = "null" if self.value is None else shorten(repr(self.value))
        got = "" if self.value is NOTHING else f", got {shown}"
        return f"{self.key}: {self.rule}{got}{self.near}"


class ConfigErrors(ConfigError):
    """Every mistake of a configuration in one report.

    Args:
        problems: The mistakes, at least one.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems

    def __str__(self) -> str:
        count = f"{len(self.problems)} configuration mistake{'s'[: len(self.problems) > 1]}"
        lines = [f"lightning_gen: error [{self.exit_code}]: {count}"]
        for problem in self.problems:
            lines.append(f"  {problem}")
            if problem.remedy is not None:
                lines.append(f"    fix: {problem.remedy}")
        return "\n".join(lines)


def shorten(text: str, width: int = 80) -> str:
    """Cut a long text in the middle."""
    return text if len(text) <= width else f"{text[: width // 2]} ... {text[-width // 3 :]}"
