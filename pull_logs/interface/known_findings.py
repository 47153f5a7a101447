"""The health findings of runs that were looked at before, in the local cache.

What is wrong with a run is found in its history, so a first look at thousands of runs has to read their
histories. A finding is kept under the hash of the rows, the facts that it depends on and the version of the
definitions: it is never outdated. The cache is optional: where it cannot be read or written, the histories
are read.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.errors import PullLogsError

if TYPE_CHECKING:
    from pull_logs.analyze.answers import Identity
    from pull_logs.analyze.health import HealthFinding

FILE = "findings.sqlite"
MOST_KEPT = 1_000_000
"""Runs whose findings are kept; the oldest ones are dropped."""

_TABLE = "CREATE TABLE IF NOT EXISTS findings (key BLOB PRIMARY KEY, found TEXT NOT NULL)"
_FIND = "SELECT key, found FROM findings WHERE key IN"
_KEYS_AT_ONCE = 900
"""Below 1,000, the most values of a query in old releases of SQLite."""

_DROP = "DELETE FROM findings WHERE rowid <= (SELECT max(rowid) FROM findings) - ?"


class KnownFindings:
    """The findings of earlier looks, and those of this one."""

    def __init__(self, database: sqlite3.Connection | None) -> None:
        self._database = database
        self._new: dict[bytes, str] = {}

    def find_all(self, identities: Sequence[Identity]) -> list[tuple[HealthFinding, ...] | None]:
        """Return the findings of each run; None for one that was not looked at before.

        Args:
            identities: All that the findings of each run depend on.
        """
        keys = list(map(_key, identities))
        texts = self._read([key for key in keys if key not in self._new]) | self._new
        return [_findings(texts[key]) if key in texts else None for key in keys]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Return what the cache has of these findings, many to a query."""
        found: dict[bytes, str] = {}
        if self._database is None:
            return found
        with suppress(sqlite3.Error):
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(some))
                found |= self._database.execute(f"{_FIND} ({marks})", some).fetchall()
        return found

    def keep(self, identity: Identity, found: Sequence[HealthFinding]) -> None:
        """Keep the findings of a run for the next look."""
        fields = [[one.flag, one.step, one.metric, one.message, one.metrics] for one in found]
        self._new[_key(identity)] = json.dumps(fields)

    @property
    def new(self) -> Sequence[tuple[bytes, str]]:
        """The findings of this look, as they are kept."""
        return tuple(self._new.items())

    def keep_all(self, new: Sequence[tuple[bytes, str]]) -> None:
        """Keep the findings of another look, which are its `new`."""
        self._new.update(new)

    def save(self) -> None:
        """Write the new findings to the cache, if it can be written."""
        if self._database is None or not self._new:
            return
        with suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?)", self._new.items())
            self._database.execute(_DROP, (MOST_KEPT,))


@contextmanager
def known_findings(folder: Path) -> Iterator[KnownFindings]:
    """Open the findings in a cache folder, and keep those that the block adds.

    Args:
        folder: The folder of the cache; created where that is possible.
    """
    database = _open(folder)
    if database is None:
        yield KnownFindings(None)
        return
    with closing(database):
        known = KnownFindings(database)
        yield known
        known.save()


def _open(folder: Path) -> sqlite3.Connection | None:
    with suppress(OSError, sqlite3.Error, PullLogsError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(folder / FILE, timeout=1)
        try:
            database.execute(_TABLE)
        except sqlite3.Error:
            database.close()
            raise
        return database
    return None


def _key(identity: Identity) -> bytes:
    return hashlib.sha256(_names_digest(identity.names) + repr(identity.facts).encode()).digest()


@lru_cache(maxsize=64)  # thousands of runs share a few tuples of names
def _names_digest(names: tuple[str, ...]) -> bytes:
    return hashlib.sha256(repr(names).encode()).digest()


@lru_cache(maxsize=1024)  # most runs have none, and many have the same
def _findings(text: str) -> tuple[HealthFinding, ...] | None:
    """Return the findings that were stored as this text; None if it is not what was stored."""
    from pull_logs.analyze.health import FLAGS, HealthFinding

    try:
        entries: list[list[Any]] = json.loads(text)
        found = tuple(
            HealthFinding(flag=flag, step=step, metric=metric, message=message, metrics=metrics)
            for flag, step, metric, message, metrics in entries
        )
    except (ValueError, TypeError):
        return None
    return found if all(one.flag in FLAGS for one in found) else None
