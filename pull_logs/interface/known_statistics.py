"""The statistics of runs that were looked at before, in the local cache.

Percentiles are not in the index of a bundle, so that the statistics of thousands of runs have to read their
histories. They are kept under the hash of the rows, the metrics and the version of the definitions: they are
never outdated. The database is opened when the first of them is asked for.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

from pull_logs.interface.kept_texts import KeptTexts, key_of

if TYPE_CHECKING:
    from pull_logs.analyze import StatisticsResult
    from pull_logs.analyze.answers import Identity

FILE = "statistics.sqlite"
MOST_KEPT = 20_000
"""Runs whose statistics are kept; the oldest ones are dropped."""

MOST_CHARACTERS = 1 << 15
"""The longest text that is kept, that of about 120 metrics, so that the cache stays small."""

_WRITTEN_AT_ONCE = 1 << 22
"""As soon as new texts have so many characters, they are written: four megabytes."""


class KnownStatistics:
    """The statistics of earlier looks, and those of this one.

    Args:
        open_texts: Opens the texts that are kept.
    """

    def __init__(self, open_texts: Callable[[], KeptTexts]) -> None:
        self._open = open_texts
        self._texts: KeptTexts | None = None
        self._new: dict[bytes, str] = {}
        self._size = 0

    @property
    def _kept(self) -> KeptTexts:
        if self._texts is None:
            self._texts = self._open()
        return self._texts

    def find(self, identity: Identity, fields: Sequence[str]) -> dict[str, StatisticsResult] | None:
        """Return the statistics of a run; None if it was not looked at before.

        Args:
            identity: All that they depend on.
            fields: The names of the statistics of each metric.
        """
        key = key_of(identity)
        text = self._kept.find([key]).get(key)
        return None if text is None else _statistics(text, fields)

    def keep(self, identity: Identity, found: Mapping[str, StatisticsResult]) -> None:
        """Keep the statistics of a run for the next look."""
        text = json.dumps({name: list(entry.values()) for name, entry in found.items()})
        if len(text) > MOST_CHARACTERS:
            return
        self._new[key_of(identity)] = f"{_checksum(text)} {text}"
        self._size += len(text)
        if self._size >= _WRITTEN_AT_ONCE:
            self.save()

    def save(self) -> None:
        """Write the new statistics to the cache, if it can be written."""
        if self._new:
            self._kept.keep(self._new, most=MOST_KEPT)
        self._new, self._size = {}, 0


@contextmanager
def keeping_statistics() -> Iterator[KnownStatistics]:
    """Let the statistics in the cache of the user be found and kept while the block runs."""
    with ExitStack() as stack:

        def open_texts() -> KeptTexts:
            from pull_logs.fetch import default_folder, using_cache

            folder = default_folder()
            stack.enter_context(using_cache(folder))
            return stack.enter_context(closing(KeptTexts(folder / FILE, "statistics")))

        known = KnownStatistics(open_texts)
        yield known
        known.save()


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _statistics(text: str, fields: Sequence[str]) -> dict[str, StatisticsResult] | None:
    """Return the statistics that were stored as this text; None if it is not what was stored."""
    checksum, _, stored = text.partition(" ")
    if checksum != _checksum(stored):
        return None
    entries: dict[str, list[Any]] = json.loads(stored)
    return {
        name: cast("StatisticsResult", dict(zip(fields, values, strict=True)))
        for name, values in entries.items()
    }
