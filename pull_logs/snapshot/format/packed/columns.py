"""Rows of a text, numbers and bytes, kept as columns."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from pull_logs.snapshot.format.packed.texts import PackedTexts, TextsBuilder

_AT_ONCE = 1024
"""Rows that are kept as Python objects before they are packed."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Packed rows.

    Attributes:
        texts: The text of each row.
        numbers: The columns of numbers.
        data: The bytes of all rows.
    """

    texts: PackedTexts
    numbers: Sequence[array[int]]
    data: bytes


class ColumnsBuilder:
    """Collects rows.

    Args:
        codes: The type of each column of numbers, as the module `array` names it.
    """

    def __init__(self, codes: str) -> None:
        self._codes = codes
        self._texts = TextsBuilder()
        self._packed: list[list[array[int]]] = [[] for _ in codes]
        self._data: list[bytes] = []
        self._rows: list[tuple[str, tuple[int, ...], bytes]] = []

    def add(self, text: str, numbers: tuple[int, ...], data: bytes = b"") -> None:
        """Add a row."""
        self._rows.append((text, numbers, data))
        if len(self._rows) == _AT_ONCE:
            self._pack()

    def columns(self) -> Columns:
        """Return the rows."""
        self._pack()
        numbers = [
            array(code, b"".join(parts)) for code, parts in zip(self._codes, self._packed, strict=True)
        ]
        return Columns(self._texts.texts(), numbers, b"".join(self._data))

    def _pack(self) -> None:
        if not self._rows:
            return
        texts, numbers, data = zip(*self._rows, strict=True)
        self._rows = []
        self._texts.extend(texts)
        self._data.append(b"".join(data))
        for code, parts, column in zip(self._codes, self._packed, zip(*numbers, strict=True), strict=True):
            parts.append(array(code, column))
