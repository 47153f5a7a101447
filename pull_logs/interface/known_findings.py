"""The health findings of runs that were looked at before, in the local cache.

What is wrong with a run is found in its history, so a first look at thousands of runs has to read their
histories. A finding is kept under the hash of the rows, the facts that it depends on and the version of the
definitions: it is never outdated. The cache is optional: where it cannot be read or written, the histories
are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.interface.kept_texts import KeptTexts, key_of

if TYPE_CHECKING:
    from pull_logs.analyze.answers import Identity
    from pull_logs.analyze.health import HealthFinding

FILE = "findings.sqlite"
MOST_KEPT = 1_000_000
"""Runs whose findings are kept; the oldest ones are dropped."""


class KnownFindings:
    """The findings of earlier looks, and those of this one."""

    def __init__(self, kept: KeptTexts | None) -> None:
        self._kept = kept
        self._new: dict[bytes, str] = {}

    def find_all(self, identities: Iterable[Identity]) -> list[tuple[HealthFinding, ...] | None]:
        """Return the findings of each run; None for one that was not looked at before.

        Args:
            identities: All that the findings of each run depend on.
        """
        keys = list(map(key_of, identities))
        kept: Mapping[bytes, str] = {}
        if self._kept is not None:
            kept = self._kept.find([key for key in keys if key not in self._new])
        texts = (self._new.get(key, kept.get(key)) for key in keys)
        return [None if text is None else _findings(text) for text in texts]

    def keep(self, identity: Identity, found: Sequence[HealthFinding]) -> None:
        """Keep the findings of a run for the next look."""
        fields = [[one.flag, one.step, one.metric, one.message, one.metrics] for one in found]
        self._new[key_of(identity)] = json.dumps(fields)

    @property
    def new(self) -> Sequence[tuple[bytes, str]]:
        """The findings of this look, as they are kept."""
        return tuple(self._new.items())

    def keep_all(self, new: Sequence[tuple[bytes, str]]) -> None:
        """Keep the findings of another look, which are its `new`."""
        self._new.update(new)

    def save(self) -> None:
        """Write the new findings to the cache, if it can be written."""
        if self._kept is not None:
            self._kept.keep(self._new, most=MOST_KEPT)


@contextmanager
def known_findings(folder: Path) -> Iterator[KnownFindings]:
    """Open the findings in a cache folder, and keep those that the block adds.

    Args:
        folder: The folder of the cache; created where that is possible.
    """
    with closing(KeptTexts(folder / FILE, "findings")) as kept:
        known = KnownFindings(kept if kept.available else None)
        yield known
        known.save()


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
