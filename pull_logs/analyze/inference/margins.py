"""The margin: the largest difference that does not matter, as an absolute number or a percentage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pull_logs.errors import UsageError


@dataclass(frozen=True, slots=True)
class Margin:
    """A bound of differences that do not matter.

    Attributes:
        text: What the user wrote.
        value: The number, above 0; of a percentage, its share.
        relative: Whether it is a percentage of the mean that the others are compared with.
    """

    text: str
    value: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Margin:
        """Read the value of `--margin`: a number in units of the metric, or a percentage such as `0.5%`.

        Raises:
            UsageError: It is neither, or not above 0.
        """
        words = text.strip()
        relative = words.endswith("%")
        try:
            value = float(words.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise UsageError(
                f"--margin {text!r} is not a positive number or percentage",
                hint="write the largest difference that does not matter: --margin 0.5% or --margin 0.002",
            )
        return cls(words, value / 100 if relative else value, relative)

    def of(self, mean: float) -> float:
        """Return the margin in units of the metric.

        Args:
            mean: The mean that a percentage is of.
        """
        return abs(mean) * self.value if self.relative else self.value
