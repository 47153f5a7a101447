"""Which runs an expression keeps: `config.lr <= 1e-3 and summary.val/acc > 0.9 and state == "finished"`.

The columns are the leaves of the configs (`config.*`) and of the summaries
(`summary.*`) by their flat keys, and the fields of `_FIELDS`; `tags` is the
sorted tags joined with commas. A run without the value has it missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pull_logs.analyze.expressions import compile_expression
from pull_logs.analyze.flatten import flatten
from pull_logs.analyze.vectors import Vector, from_cells
from pull_logs.runs import RunInfo

_FIELDS: Mapping[str, Callable[[RunInfo], object]] = {
    "commit": lambda info: info.commit,
    "created_at": lambda info: info.created_at,
    "entity": lambda info: info.path.entity,
    "group": lambda info: info.group,
    "heartbeat_at": lambda info: info.heartbeat_at,
    "job_type": lambda info: info.job_type,
    "name": lambda info: info.name,
    "notes": lambda info: info.notes,
    "project": lambda info: info.path.project,
    "run_id": lambda info: info.path.run_id,
    "state": lambda info: info.state,
    "sweep": lambda info: info.sweep,
    "tags": lambda info: ",".join(sorted(info.tags)),
    "user": lambda info: info.user,
}


def _cells(info: RunInfo) -> dict[str, Any]:
    """All that an expression can ask of one run, by column."""
    return {
        **{f"config.{key}": value for key, value in flatten(info.config).items()},
        **{f"summary.{key}": value for key, value in flatten(info.summary).items()},
        **{name: read(info) for name, read in _FIELDS.items()},
    }


def keep_runs(infos: Sequence[RunInfo], text: str) -> tuple[bool, ...]:
    """Which of these runs the expression holds for, in their order.

    Args:
        infos: The runs.
        text: The expression, as `--filter` takes it.

    Raises:
        ExpressionError: The text is no expression, or its kinds do not fit.
        UnknownNameError: A name is in none of the runs; the message names the nearest ones.
    """
    rows = [_cells(info) for info in infos]
    columns = sorted({name for row in rows for name in row})
    expression = compile_expression(text, columns, what="run column")
    frame: dict[str, Vector] = {
        name: from_cells([row.get(name) for row in rows]) for name in expression.names
    }
    return tuple(expression.condition(frame, len(rows)).tolist())
