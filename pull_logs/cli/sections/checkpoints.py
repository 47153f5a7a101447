"""The `[CHECKPOINTS]` section: a row for each checkpoint, with metrics at its step and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render import At, Column, Nouns, Section, at_cell, cell, escape, name_cell


def checkpoints_section(
    entries: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None = None
) -> Section:
    """Return the checkpoints.

    Args:
        entries: The checkpoints of an answer.
        best: The best of them, where a metric was named.
    """
    names = list(dict.fromkeys(name for entry in entries for name in (*entry["at"], *entry["final"])))
    columns = [Column("checkpoint", name_cell), Column("run", name_cell), Column("step"), Column("epoch")]
    for name in names:
        columns += [Column(name, at_cell), Column(f"{name} final")]
    return Section(
        name="CHECKPOINTS",
        facts={"checkpoints": len(entries), "runs": len({entry["run"] for entry in entries})},
        columns=columns,
        rows=[_row(entry, names) for entry in entries],
        notes=[] if best is None else [_best(best)],
        kept=4,
        nouns=Nouns(rows="checkpoints"),
        remedy="--select REGEX shows others",
        weight=3,
    )


def _row(entry: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    row = [entry["file"], entry["run"], entry["step"], entry["epoch"]]
    for name in names:
        row += [At(entry["at"].get(name), entry["at_step"].get(name)), entry["final"].get(name)]
    return row


def _best(best: Mapping[str, Any]) -> str:
    return (
        f"best {escape(best['metric'])} ({best['direction']}): {escape(best['file'])} of run {best['run']}, "
        f"{cell(best['value'])}@{best['at_step']}"
    )
