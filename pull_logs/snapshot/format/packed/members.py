"""The names of the members of a bundle as packed texts, and what is known by such a name."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, ItemsView, Iterator, Mapping
from operator import lt
from typing import TypeVar

from pull_logs.snapshot.format.packed.texts import PackedTexts

_Value = TypeVar("_Value")


class MemberNames:
    """Names of members, which are looked up by binary search.

    The files of runs are in order in every bundle that a writer made; other names are few. If a bundle has
    them in another order, they are in a dict.
    """

    __slots__ = ("_end", "_next", "_others", "_start", "_texts", "repeated")

    def __init__(self, texts: PackedTexts) -> None:
        self._texts = texts
        self._start = self._end = self._next = 0
        names = [*texts]
        foldered = [number for number, name in enumerate(names) if "/" in name]
        if foldered:
            start, end = foldered[0], foldered[-1] + 1
            if all(map(lt, names[start:end], names[start + 1 : end])):
                self._start, self._end = start, end
        few = [*range(self._start), *range(self._end, len(names))]
        self._others: dict[str, int] = {names[number]: number for number in few}
        repeated = [name for name, count in Counter(names[number] for number in few).items() if count > 1]
        repeated += (name for name in self._others if self._ordered(name) is not None)
        self.repeated = repeated[0] if repeated else None

    def find(self, name: str) -> int | None:
        """Return the number of a name; None if it is not one of them."""
        if (number := self._others.get(name)) is not None:
            return number
        # Names are usually looked up in their order, and so are those next to one that is not there.
        near, texts = self._next, self._texts
        if self._start < near < self._end:
            found = texts[near]
            if found == name:
                self._next = near + 1
                return near
            if texts[near - 1] < name < found:
                return None
        return self._ordered(name)

    def _ordered(self, name: str) -> int | None:
        number = self._next = bisect_left(self._texts, name, self._start, self._end)
        if number == self._end or self._texts[number] != name:
            return None
        self._next += 1
        return number

    def __getitem__(self, number: int) -> str:
        return self._texts[number]

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)


class MemberMap(Mapping[str, _Value]):
    """What is known of members, by name; a value is made when it is used.

    Args:
        names: The names.
        value: Returns the value of a name by its number.
    """

    __slots__ = ("_names", "_value")

    def __init__(self, names: MemberNames, value: Callable[[int], _Value]) -> None:
        self._names, self._value = names, value

    def __getitem__(self, name: str) -> _Value:
        number = self._names.find(name)
        if number is None:
            raise KeyError(name)
        return self._value(number)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._names.find(name) is not None

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def items(self) -> ItemsView[str, _Value]:
        """Return the names with what is known of them, without looking them up."""
        return _Items(self)

    def values_in_order(self) -> Iterator[_Value]:
        """Iterate over what is known of the members."""
        return map(self._value, range(len(self._names)))


class _Items(ItemsView[str, _Value]):
    _mapping: MemberMap[_Value]

    def __iter__(self) -> Iterator[tuple[str, _Value]]:
        return zip(self._mapping, self._mapping.values_in_order(), strict=True)
