"""A cache bounded by bytes that makes each entry once, also when several threads request it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps the most recently used entries within `limit` bytes.

    The newest entry is kept even if it is larger than the limit: a client reads a large shard in many
    ranges, and each of them would make it again.
    """

    def __init__(self, *, limit: int, size: Callable[[V], int]) -> None:
        self._limit, self._size = limit, size
        self._lock = Lock()
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, Lock] = {}
        self._held = 0

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the entry of `key`, calling `make` if it is missing; errors of `make` propagate."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
            making = self._making.setdefault(key, Lock())
        with making:
            with self._lock:
                if key in self._entries:
                    return self._entries[key]
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return value

    @property
    def held(self) -> int:
        """Bytes held now."""
        with self._lock:
            return self._held

    def _keep(self, key: K, value: V) -> None:
        with self._lock:
            previous = self._entries.pop(key, None)
            if previous is not None:
                self._held -= self._size(previous)
            self._entries[key] = value
            self._held += self._size(value)
            while self._held > self._limit and len(self._entries) > 1:
                _, dropped = self._entries.popitem(last=False)
                self._held -= self._size(dropped)
