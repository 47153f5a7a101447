"""The values of many runs that they are grouped by, column by column.

A column has one small number per run, which says which of its distinct values the run has, so that thousands
of runs need neither a dict each nor a comparison of values.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pull_logs.analyze.questions.grouping.values import (
    CONFIG,
    FIELDS,
    Values,
    config_values,
    document_values,
    field_of,
    identity,
)
from pull_logs.frames import RunLike
from pull_logs.runs import RunInfo

ABSENT = -1
"""The code of a run that does not have a value."""


@dataclass(slots=True, eq=False)
class _Column:
    """The values of one name.

    Attributes:
        codes: For each run, the index of its value, or `ABSENT`.
        values: The distinct values, in the order in which runs have them.
    """

    codes: array[int] = field(default_factory=lambda: array("i"))
    values: list[Any] = field(default_factory=list)


class ValueColumns:
    """The values of runs by name. Fields of runs are read when they are used first."""

    def __init__(
        self,
        length: int,
        columns: Mapping[str, _Column],
        fields: Callable[[str], Iterable[Any]] | None = None,
    ) -> None:
        self._length = length
        self._columns = dict(columns)
        self._fields = fields

    @classmethod
    def of(cls, runs: ValueColumns | Sequence[Values]) -> ValueColumns:
        """Return the columns of these values; columns are returned as they are."""
        return runs if isinstance(runs, ValueColumns) else cls(len(runs), _columns(runs, len(runs)))

    @classmethod
    def of_configs(cls, runs: Sequence[RunInfo | RunLike]) -> ValueColumns:
        """Return the configs of runs, of which one after the other is parsed."""
        return cls(len(runs), _columns(map(config_values, runs), len(runs)))

    @classmethod
    def of_runs(cls, runs: Sequence[RunInfo | RunLike]) -> ValueColumns:
        """Return the values of runs, of which one after the other is parsed."""
        columns = _columns(map(document_values, runs), len(runs))
        return cls(len(runs), columns, lambda name: (field_of(run, name) for run in runs))

    def __len__(self) -> int:
        return self._length

    @property
    def names(self) -> list[str]:
        """The names of all runs: fields first, then config keys, each in order."""
        fields = FIELDS if self._fields is not None and self._length else ()
        return sorted({*self._columns, *fields}, key=lambda name: (name.startswith(CONFIG), name))

    @property
    def config_names(self) -> list[str]:
        """The names of config keys, in order."""
        return sorted(name for name in self._columns if name.startswith(CONFIG))

    def codes(self, name: str) -> Sequence[int]:
        """Return a number for each run: equal ones for the same value, `ABSENT` where it has none."""
        return self._column(name).codes

    def has(self, name: str, index: int) -> bool:
        """Whether a run has a value of this name."""
        return self._column(name).codes[index] != ABSENT

    def value(self, name: str, index: int) -> Any:
        """Return the value of a run; None where it has none."""
        column = self._column(name)
        code = column.codes[index]
        return None if code == ABSENT else column.values[code]

    def config(self, index: int) -> dict[str, Any]:
        """Return the config of a run by flat keys, in the order of their names."""
        return {
            name.removeprefix(CONFIG): self.value(name, index)
            for name in self.config_names
            if self.has(name, index)
        }

    def _column(self, name: str) -> _Column:
        found = self._columns.get(name)
        if found is None:
            known = self._fields is not None and name in FIELDS
            values = self._fields(name) if self._fields is not None and known else ()
            found = _columns(({name: value} for value in values), self._length).get(name) or _Column(
                array("i", [ABSENT]) * self._length
            )
            self._columns[name] = found
        return found


def _columns(records: Iterable[Values], length: int) -> dict[str, _Column]:
    """Return the values of records by name; each record is dropped before the next is taken."""
    columns: dict[str, _Column] = {}
    known: dict[str, dict[Hashable, int]] = {}
    for index, record in enumerate(records):
        for name, value in record.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = _Column()
                known[name] = {}
            found, codes = known[name], column.codes
            code = found.setdefault(identity(value), len(found))
            if code == len(column.values):
                column.values.append(value)
            if len(codes) < index:
                codes.extend(_absent(index - len(codes)))
            codes.append(code)
    for column in columns.values():
        column.codes.extend(_absent(length - len(column.codes)))
    return columns


def _absent(count: int) -> Iterator[int]:
    return iter(array("i", [ABSENT]) * count)
