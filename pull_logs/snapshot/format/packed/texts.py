"""Very many texts in one piece of memory: each is made when it is used."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate


class PackedTexts:
    """Texts, which take their UTF-8 bytes and eight more.

    Args:
        data: Their bytes.
        ends: For each text where its bytes end; before these, 0.
    """

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes = b"", ends: array[int] | None = None) -> None:
        self._data = data
        self._ends = array("q", [0]) if ends is None else ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        """Return the text at an index that is not negative."""
        return self._data[self._ends[index] : self._ends[index + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        start, data = 0, self._data
        for end in self._ends[1:]:
            yield data[start:end].decode()
            start = end


class TextsBuilder:
    """Collects texts.

    A part at a time is encoded: a buffer that grows with each text is moved again and again.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._ends = [array("q", [0])]

    def extend(self, texts: Sequence[str]) -> None:
        """Add texts."""
        encoded = [text.encode() for text in texts]
        self._parts.append(b"".join(encoded))
        ends = accumulate(map(len, encoded), initial=self._ends[-1][-1])
        next(ends)
        if encoded:
            self._ends.append(array("q", ends))

    def texts(self) -> PackedTexts:
        """Return the texts."""
        return PackedTexts(b"".join(self._parts), array("q", b"".join(self._ends)))
