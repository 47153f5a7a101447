"""The flags of a run, and what is found where one begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Flag: TypeAlias = Literal[
    "nan",
    "divergence",
    "gradient_explosion",
    "spike",
    "overfitting",
    "plateau",
    "learning_rate",
    "slowdown",
    "stalled",
    "crashed",
]
"""A health flag; docs/health.md defines each."""

FLAGS: tuple[Flag, ...] = get_args(Flag)
"""All flags, in the order in which they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding:
    """A flag of a run.

    Attributes:
        flag: The flag.
        step: The step where it begins; None for a run without rows.
        metric: The metric that shows it, the one with the earliest step where several do.
        message: What was found there.
        metrics: How many metrics show it.
    """

    flag: Flag
    step: int | None
    metric: str | None
    message: str
    metrics: int = 1
