"""Some rows of a history with the columns that were computed, read like a history of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pull_logs.analyze.questions.selection import Slice
from pull_logs.frames import Column, Frame, History, MetricFacts, Steps, is_long, take_columns
from pull_logs.rows.canonical import STEP


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """The rows that `--where` keeps, with the columns that `--eval` computes; see `frames.History`.

    Attributes:
        frame: The complete history.
        part: The rows that are kept, and what was computed over the complete history.
    """

    frame: History
    part: Slice
    _columns: dict[str, Column] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The number of rows."""
        return len(self.part.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, computed ones last."""
        return (*self.frame.names, *self.part.computed)

    @property
    def steps(self) -> Steps:
        """`_step` of every row, ascending."""
        return self.part.steps

    def __contains__(self, name: object) -> bool:
        return name in self.part.computed or name in self.frame

    def facts(
        self,
        names: frozenset[str] | None = None,  # noqa: ARG002
        *,
        brief: bool = False,  # noqa: ARG002
    ) -> Mapping[str, MetricFacts] | None:
        """Return None: no index has facts about some rows."""
        return None

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: No column has that name.
            DamageError: The column is damaged.
        """
        if name not in self._columns:
            computed: Mapping[str, Column] = {
                known: Column.of(vector) for known, vector in self.part.computed.items() if known == name
            }
            column = computed[name] if computed else self.frame.column(name)
            self._columns[name] = column if self.part.rows is None else column.take(self.part.rows)
        return self._columns[name]

    def load(self, names: Collection[str]) -> None:
        """Read these columns together; names that do not exist are ignored.

        Raises:
            DamageError: A column is damaged.
        """
        wanted = [name for name in dict.fromkeys(names) if name not in self.part.computed]
        frame, rows = self.frame, self.part.rows
        if isinstance(frame, Frame) and rows is not None and is_long(frame):
            own = [name for name in wanted if name in frame and name not in (STEP, *self._columns)]
            keys = frame.typed_keys(own)
            if keys:
                self._columns.update(take_columns(frame, keys, rows)[1])
                return
        frame.load(wanted)

    def forget_columns(self, names: Collection[str]) -> None:
        """Drop the cells of these columns, so that long ones can be read one after the other."""
        for name in names:
            self._columns.pop(name, None)
        self.frame.forget_columns(names)

    def forget(self) -> None:
        """Drop everything but the names of the columns."""
        self._columns.clear()
        self.frame.forget()
