"""The values in the types of the answers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Cell: TypeAlias = Any
"""Any JSON value: what a run logged or configured."""

Number: TypeAlias = int | float | str | None
"""A number, exact; a string where it is not finite."""

Direction: TypeAlias = Literal["min", "max"]
"""The better end of a metric."""

RunLabel: TypeAlias = str
"""The name of a run in one answer: its id, or more of its path (see `pull_logs.runs.label_runs`)."""
