"""Very many texts in one piece of memory: each is made when it is used."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload


class PackedTexts(Sequence[str]):
    """Texts, which take their UTF-8 bytes and eight more; more can be added at the end."""

    __slots__ = ("_data", "_ends")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._data = bytearray()
        self._ends = array("q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text."""
        self._data += text.encode()
        self._ends.append(len(self._data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        if not 0 <= index < len(self):
            index = range(len(self))[index]
        return self._data[self._ends[index] : self._ends[index + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        start, data = 0, self._data
        for end in self._ends[1:]:
            yield data[start:end].decode()
            start = end
