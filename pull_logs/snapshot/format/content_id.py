"""The content id of a bundle: the identity of its runs by their content alone.

It is over, per run in path order, the fields that describe the run, its config, its summary and the rows
hash of its history. It does not depend on fetch times, hosts, users and writers. See docs/bundle-format.md,
"Identities".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pull_logs.rows.canonical import canon_record, framed
from pull_logs.rows.cells import cell_text
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo

_FACTS = {field.name: field.reader for field in RUN_FIELDS if field.identified}


class ContentHasher:
    """Computes the content id of runs added in path order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, info: RunInfo, rows: str) -> None:
        """Add a run and the rows hash of its history.

        Raises:
            DataError: A config or summary holds a value that is not JSON-like.
        """
        fields = {name: read(info) for name, read in _FACTS.items()}
        fields |= {"path": str(info.path), "tags": sorted(info.tags)}
        for value in (canon_record(fields), canon_record(info.config), canon_record(info.summary)):
            self._digest.update(framed(cell_text(value).encode()))
        self._digest.update(framed(rows.encode()))

    def content_id(self) -> str:
        """Return the content id of the runs added so far."""
        return f"sha256:{self._digest.hexdigest()}"


def content_id(runs: Iterable[tuple[RunInfo, str]]) -> str:
    """Return the content id of a bundle: `sha256:` and 64 hexadecimal digits.

    Args:
        runs: Each run and the rows hash of its history, in any order.

    Raises:
        DataError: A config or summary holds a value that is not JSON-like.
    """
    hasher = ContentHasher()
    for info, rows in sorted(runs, key=lambda run: run[0].path):
        hasher.add(info, rows)
    return hasher.content_id()
