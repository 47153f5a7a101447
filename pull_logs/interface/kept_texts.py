"""Texts by key in a database of the local cache, from one look to the next.

The cache is optional: where it cannot be read or written, no text is found and none is kept. Several
processes may use it at once.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import PullLogsError

if TYPE_CHECKING:
    from pull_logs.analyze.answers import Identity

_KEYS_AT_ONCE = 900
"""Below 1,000, the most values of a query in old releases of SQLite."""


class KeptTexts:
    """The texts in a database, which is created where that is possible.

    Attributes:
        available: Whether the database can be used.
    """

    def __init__(self, file: Path, table: str) -> None:
        """Open the database.

        Args:
            file: Its file.
            table: The table of the texts.
        """
        self._table = table
        self._database = _open(
            file, f"CREATE TABLE IF NOT EXISTS {table} (key BLOB PRIMARY KEY, found TEXT NOT NULL)"
        )
        self.available = self._database is not None

    def find(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Return the texts that are there, many to a query."""
        found: dict[bytes, str] = {}
        if self._database is None:
            return found
        with suppress(sqlite3.Error):
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, found FROM {self._table} WHERE key IN ({marks})"  # noqa: S608 - a constant
                found |= self._database.execute(query, some).fetchall()
        return found

    def keep(self, texts: Mapping[bytes, str], *, most: int) -> None:
        """Write texts, and drop the oldest ones.

        Args:
            texts: The texts by key.
            most: How many are kept.
        """
        if self._database is None or not texts:
            return
        table = self._table
        with suppress(sqlite3.Error), self._database:
            self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", texts.items())  # noqa: S608
            drop = f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?"  # noqa: S608
            self._database.execute(drop, (most,))

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()


def _open(file: Path, schema: str) -> sqlite3.Connection | None:
    with suppress(OSError, sqlite3.Error, PullLogsError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(file, timeout=1)
        try:
            database.execute(schema)
        except sqlite3.Error:
            database.close()
            raise
        return database
    return None


def key_of(identity: Identity) -> bytes:
    """Return the key of what an answer says of a run."""
    return hashlib.sha256(_names_digest(identity.names) + repr(identity.facts).encode()).digest()


@lru_cache(maxsize=64)  # thousands of runs share a few tuples of names
def _names_digest(names: tuple[str, ...]) -> bytes:
    return hashlib.sha256(repr(names).encode()).digest()
