"""The row of a run in the catalog of a bundle set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import UsageError
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import LIGHT
from pull_logs.snapshot.read import Bundle, Run

KEYS = ("entity", "project", "run_id")
"""The columns of the path of a run, by which a catalog is sorted."""

OPTIONAL = ("last_seen", "parts", "via")
"""Columns of the table of runs that not every bundle has."""

DOCUMENTS = ("config", "summary")
"""The documents of a run that the catalog has as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLocation:
    """Where a run is stored, and what is stored.

    Attributes:
        member: The name of the member of the set.
        bundle_id: The identity of the bytes of the member.
        content_id: The identity of the content of the member.
        history_offset: Where `history.parquet` of the run begins in the member.
        history_bytes: Its size.
        history_hash: Its SHA-256.
        rows_hash: The identity of its rows.
        data_hash: The identity of all data of the run (`RunFacts.data_hash`).
    """

    member: str
    bundle_id: str
    content_id: str
    history_offset: int
    history_bytes: int
    history_hash: str
    rows_hash: str
    data_hash: str


LOCATION = tuple(RunLocation.__dataclass_fields__)
"""The columns of `RunLocation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """The row of a run in the catalog.

    Attributes:
        path: The run.
        facts: The plain columns of the table of runs for it, those of `OPTIONAL` included.
        config: The JSON of its config.
        summary: The JSON of its summary.
        location: Where it is stored.
    """

    path: RunPath
    facts: Mapping[str, Any]
    config: str
    summary: str
    location: RunLocation

    @property
    def content(self) -> tuple[object, ...]:
        """What the run is, wherever it is stored: two entries with the same are of the same run."""
        facts = tuple((name, _hashable(self.facts[name])) for name in sorted(self.facts))
        return facts, self.config, self.summary, self.location.data_hash


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def entry_of(run: Run, *, member: str, bundle: Bundle) -> CatalogEntry:
    """Return the row of a run of an open member.

    Raises:
        UsageError: The member is an unzipped bundle.
        BundleDamagedError: The member is damaged.
    """
    start = run.history_start
    if start is None:
        raise UsageError(
            f"{str(bundle.path)!r} is an unzipped bundle",
            hint="make a file of it first: pull-logs subset FOLDER -o FILE.wandb.zip",
        )
    columns = run.stored_columns
    encoded = run.history_encoded
    return CatalogEntry(
        path=run.path,
        facts={name: columns.get(name) for name in (*LIGHT, *OPTIONAL)},
        config=columns["config"],
        summary=columns["summary"],
        location=RunLocation(
            member=member,
            bundle_id=bundle.bundle_id,
            content_id=bundle.content_id,
            history_offset=start,
            history_bytes=encoded.bytes,
            history_hash=encoded.hash,
            rows_hash=run.rows_hash,
            data_hash=run.data_hash,
        ),
    )


def entries_of(bundle: Bundle, *, member: str) -> Iterator[CatalogEntry]:
    """Iterate over the rows of the runs of an open member, in path order."""
    return (entry_of(run, member=member, bundle=bundle) for run in bundle.runs())
