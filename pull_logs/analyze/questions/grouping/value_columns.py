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
    field_of,
    identity,
    metadata_values,
)
from pull_logs.analyze.questions.run_values import METADATA
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
        metadata: Callable[[], Mapping[str, _Column]] | None = None,
    ) -> None:
        self._length = length
        self._columns = dict(columns)
        self._fields = fields
        self._metadata = metadata

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
        """Return the values of runs, of which one after the other is parsed; metadata when it is used."""
        return cls(
            len(runs),
            _columns(map(config_values, runs), len(runs)),
            lambda name: (field_of(run, name) for run in runs),
            lambda: _columns(map(metadata_values, runs), len(runs)),
        )

    def __len__(self) -> int:
        return self._length

    @property
    def names(self) -> list[str]:
        """The names of all runs: fields and metadata first, then config keys, each in order."""
        self._read_metadata()
        return self.names_without_metadata

    @property
    def names_without_metadata(self) -> list[str]:
        """The same without those of metadata that no one has asked for so far."""
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

    def configs(self, indices: Iterable[int]) -> list[dict[str, Any]]:
        """Return the configs of runs by flat keys, in the order of their names."""
        columns = [(name.removeprefix(CONFIG), self._columns[name]) for name in self.config_names]
        return [
            {key: column.values[code] for key, column in columns if (code := column.codes[index]) != ABSENT}
            for index in indices
        ]

    def _read_metadata(self) -> None:
        if self._metadata is not None:
            self._columns |= self._metadata()
            self._metadata = None

    def _column(self, name: str) -> _Column:
        if name.startswith(METADATA):
            self._read_metadata()
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
