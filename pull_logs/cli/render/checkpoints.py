"""The `[CHECKPOINTS]` section: a row per checkpoint, its run, its step, and metrics there and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render.escape import escape
from pull_logs.cli.render.tables import Table, cell


def checkpoints_table(answer: Mapping[str, Any]) -> Table:
    """The section of `compare`: the best checkpoint where a metric was named, and all of them."""
    entries, best = answer["checkpoints"], answer.get("best_checkpoint")
    columns = checkpoint_columns(entries)
    return Table(
        facts={"checkpoints": len(entries), "runs": len({entry["run"] for entry in entries})},
        columns=columns,
        rows=checkpoint_rows(entries),
        show=[str] * len(columns),
        kept=4,
        lines=[] if best is None else [_best_line(best)],
    )


def checkpoint_columns(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the columns: for each metric its value at the checkpoint and its last one."""
    columns = ["checkpoint", "run", "step", "epoch"]
    for name in _metrics(entries):
        columns += [name, f"{name} final"]
    return columns


def checkpoint_rows(entries: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The cells of the rows as text; a value at a checkpoint stands with the `_step` that it is from."""
    names = _metrics(entries)
    rows = []
    for entry in entries:
        row = [escape(entry["file"]), escape(entry["run"]), cell(entry["step"]), cell(entry["epoch"])]
        for name in names:
            at = entry["at"].get(name)
            row.append("" if at is None else f"{cell(at)}@{entry['at_step'][name]}")
            row.append(cell(entry["final"].get(name)))
        rows.append(row)
    return rows


def _best_line(best: Mapping[str, Any]) -> str:
    return (
        f"# best {escape(best['metric'])} ({best['direction']}): {escape(best['file'])} of run {best['run']}, "
        f"{cell(best['value'])}@{best['at_step']}"
    )


def _metrics(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in (*entry["at"], *entry["final"])))
