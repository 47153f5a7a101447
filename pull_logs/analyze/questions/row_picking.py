"""The rows of a history that a view uses: those around a step, the last ones, every n-th.

Rows are picked after `--where` and after rows without any shown metric were hidden, in this order: around,
last, every. The schema, the statistics, the rows and the comparison of a view are about the picked rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pull_logs.errors import UsageError
from pull_logs.frames import Steps

DEFAULT_WINDOW = 10
"""The number of rows on each side of `--around`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picking:
    """The rows to pick; all if nothing is set, and then it is false.

    Attributes:
        around: A step: the row nearest to it and `window` rows on each side.
        window: How many rows on each side; None is `DEFAULT_WINDOW`.
        last: How many rows from the end.
        every: The first row, and every n-th after it.
    """

    around: int | None = None
    window: int | None = None
    last: int | None = None
    every: int | None = None

    def __bool__(self) -> bool:
        return not self.around is self.last is self.every is None

    def check(self) -> None:
        """Refuse values that pick no rows or have no meaning.

        Raises:
            UsageError: A number is too small, or a window has no step.
        """
        for name, value, least in (
            ("window", self.window, 0),
            ("last", self.last, 1),
            ("every", self.every, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"--{name} {value} is too small", hint=f"give at least {least}")
        if self.window is not None and self.around is None:
            raise UsageError(f"--window {self.window} needs a step", hint="name it with --around STEP")

    def rows(self, steps: Steps) -> npt.NDArray[np.intp]:
        """Return the indices of the picked rows, ascending, for the ascending steps of all rows."""
        start, stop = 0, len(steps)
        if self.around is not None and stop:
            window = DEFAULT_WINDOW if self.window is None else self.window
            nearest = _nearest(steps, self.around)
            start, stop = max(nearest - window, 0), min(nearest + window + 1, stop)
        if self.last is not None:
            start = max(start, stop - self.last)
        return np.arange(start, stop, self.every or 1, dtype=np.intp)


def _nearest(steps: Steps, step: int) -> int:
    """Return the index of the step nearest to this one; of two equally near, the earlier."""
    after = int(np.searchsorted(steps, step)) if abs(step) < 2**63 else len(steps) * (step > 0)
    if not 0 < after < len(steps):
        return min(after, len(steps) - 1)
    return after - 1 if step - int(steps[after - 1]) <= int(steps[after]) - step else after
