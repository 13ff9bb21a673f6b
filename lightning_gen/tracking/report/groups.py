"""Runs that differ only in their seed are a group; groups differ in their configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lightning_gen.runs import identity
from lightning_gen.tracking.records import Record

SHOWN_ELSEWHERE = ("paper", identity.SEED)  # keys with a table of their own
UNFINISHED = ("starting", "running", "preempted", "interrupted")
LABEL_KEYS = 3  # a group is named after at most so many differing keys
LABEL_LENGTH = 60


@dataclass(frozen=True)
class Group:
    """Runs of one configuration.

    Args:
        label: Its name on the page.
        records: Runs in the order of their seeds.
    """

    label: str
    records: list[Record]

    @property
    def seeds(self) -> list[int]:
        """Their seeds, ascending; a seed run twice is there twice."""
        return [record.seed for record in self.records]

    @property
    def settled(self) -> list[Record]:
        """Runs to average: without those that are to go on while another one is further."""
        furthest = max(record.images_seen for record in self.records)
        return [r for r in self.records if r.state not in UNFINISHED or r.images_seen == furthest]

    @property
    def hours(self) -> float | None:
        """Device-hours of all its runs; None where one does not say them."""
        hours = [record.last("system/device_hours") for record in self.records]
        return None if None in hours else sum(h for h in hours if h is not None)

    @property
    def scored_at(self) -> list[int]:
        """Images seen at the last evaluations, each number once."""
        return sorted({r.scored_at for r in self.settled if r.scored_at is not None})


class Row(NamedTuple):
    """A key of the configuration in which groups differ: its value in each of them."""

    key: str
    values: list[str]
    harmless: bool


def group(records: Sequence[Record]) -> list[Group]:
    """Put the runs together that differ only in seed and in keys that change no result.

    Args:
        records: Runs, in the order in which their groups are to appear.
    """
    members: dict[str, list[Record]] = {}
    for record in records:
        members.setdefault(identity.digest(_without_paper(record)), []).append(record)
    labels = _labels({digest: found[0] for digest, found in members.items()})
    return [
        Group(labels[digest], sorted(found, key=lambda record: record.seed))
        for digest, found in members.items()
    ]


def _without_paper(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.config.items() if key not in SHOWN_ELSEWHERE[:1]}


def _labels(first: Mapping[str, Record]) -> dict[str, str]:
    """Name groups by their experiment, and where several share it by how they differ."""
    labels = {}
    for digest, record in first.items():
        others = [r for r in first.values() if r.experiment == record.experiment]
        rows = [row for row in _rows([[r] for r in others], _differing(others)) if not row.harmless]
        own = next(i for i, other in enumerate(others) if other is record)
        words = ", ".join(f"{row.key.rpartition('.')[2]}={row.values[own]}" for row in rows)
        if len(rows) > LABEL_KEYS or len(words) > LABEL_LENGTH:
            words = digest[:8]
        labels[digest] = f"{record.experiment} · {words}" if len(others) > 1 else record.experiment
    return labels


def differences(groups: Sequence[Group]) -> list[Row]:
    """List the keys of the configuration whose values are not the same in all groups.

    Those that change no result (devices, folders, budget, ...) come last.

    Args:
        groups: From :func:`group`.
    """
    members = [group.records for group in groups]
    rows = _rows(members, _differing([record for found in members for record in found]))
    seeds = [", ".join(map(str, sorted(set(group.seeds)))) for group in groups]
    rows += [Row(identity.SEED, seeds, True)] if len(set(seeds)) > 1 else []
    return sorted(rows, key=lambda row: row.harmless)


def _differing(records: Sequence[Record]) -> dict[str, list[str]]:
    """Values in every run, in words, of the keys that differ between any two."""
    found: dict[str, list[str]] = {}
    for i, record in enumerate(records):
        for key, old, new in identity.differences(records[0].config, record.config):
            found.setdefault(key, [str(old)] * len(records))[i] = str(new)
    return {
        key: values for key, values in found.items() if not identity.covers(SHOWN_ELSEWHERE, key)
    }


def _rows(members: Sequence[Sequence[Record]], found: Mapping[str, list[str]]) -> list[Row]:
    rows = []
    for key, values in found.items():
        rest, cells = iter(values), []
        for records in members:
            cells.append(" | ".join(dict.fromkeys(next(rest) for _ in records)))
        rows.append(Row(key, cells, identity.covers(identity.HARMLESS, key)))
    return rows
