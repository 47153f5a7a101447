"""The artifacts of one run: listed, selected and downloaded.

An unchanged run of an earlier bundle keeps its artifacts if W&B lists them as they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pull_logs.errors import AccessError, BundleDamagedError, DataError
from pull_logs.fetch.context import PullContext
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import ArtifactSelection
from pull_logs.snapshot.format import (
    ArtifactRecord,
    ArtifactsSource,
    ContentSource,
    GivenArtifacts,
    Relation,
    content_of,
    encode_records,
)
from pull_logs.snapshot.read import RunArtifacts, pointed_artifacts, selection_of
from pull_logs.suggestions import numbered

Rows = Callable[[], tuple[Iterable[pa.Table], Mapping[str, Any]]]
"""Returns the batches of a history, with their nested values, and the summary."""


if TYPE_CHECKING:
    from pull_logs.fetch.api import Query
    from pull_logs.fetch.artifacts.download import ArtifactReader, Known


@dataclass(frozen=True, slots=True)
class FetchedArtifacts:
    """The artifacts of a run that arrived.

    Attributes:
        source: Their records and contents; None without any.
        reason: Why something of them is missing; empty if nothing is.
    """

    source: ArtifactsSource | None = None
    reason: str = ""

    def apply_to(self, coverage: Coverage) -> Coverage:
        """Return the coverage of a run, which is incomplete if something of its artifacts is missing."""
        if not self.reason or not coverage.complete:
            return coverage
        return replace(coverage, complete=False, reason=self.reason)


class ArtifactSource:
    """Where the artifacts of a run are read: W&B's API.

    Args:
        context: What the download needs.
    """

    def __init__(self, context: PullContext) -> None:
        self._context = context

    async def find(self, path: RunPath, relation: Relation) -> list[ArtifactRecord]:
        """Return the artifacts that a run logged, or those that it used; see `list_artifacts`."""
        # Most pulls ask for no artifacts, and need not import what lists and downloads them.
        from pull_logs.fetch.artifacts.listing import list_artifacts

        return await list_artifacts(self._context.client, path, relation)

    async def client_ids(self, wanted: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of artifacts by ids of clients; see `list_client_ids`."""
        from pull_logs.fetch.artifacts.listing import list_client_ids

        return await list_client_ids(self.ask, wanted)

    async def ask(self, query: Query) -> Mapping[str, Any]:
        """Send a query, and return the data of its answer.

        Raises:
            AccessError: The request failed.
        """
        return (await self._context.client.query(query)).data

    def reader(self, record: ArtifactRecord, known: Known) -> ArtifactReader:
        """Return what downloads an artifact."""
        from pull_logs.fetch.artifacts.download import ArtifactReader

        return ArtifactReader(self._context, record, known)


async def artifacts_to_read(
    context: PullContext, path: RunPath, earlier: RunArtifacts | None, *, source: ArtifactSource | None = None
) -> ArtifactSelection | None:
    """Return the artifacts of an unchanged run to read; None if an earlier bundle has them as they are.

    Aliases and tags of artifacts change without a change of the run, and they are listed for that reason: a
    query for each relation that the earlier bundle has of the run, without manifests and files.

    Args:
        context: What the download needs, including the selection of artifacts.
        path: The path of the run.
        earlier: The artifacts of the run in an earlier bundle.
        source: Where they are listed; W&B's API if None.

    Raises:
        BundleDamagedError: The earlier bundle is damaged.
        AccessError: The key was refused, or the API could not be reached.
    """
    if context.artifacts is None:
        return None
    known = None if earlier is None else await context.in_thread(partial(selection_of, earlier))
    if earlier is None or known is None:
        return context.artifacts if context.asks_for_artifacts else None
    if context.asks_for_artifacts and not known.includes(context.artifacts):
        return context.artifacts
    held = await context.in_thread(lambda: {(one.relation, one.id): one for one in earlier.records})
    listing = source or ArtifactSource(context)
    try:
        listed = [one for relation in known.relations for one in await listing.find(path, relation)]
    except (AccessError, DataError) as exc:
        if context.ends_pull(exc):
            raise
        return known  # reading them reports the error
    same = len(listed) == len(held) and all(_is_same(one, held.get((one.relation, one.id))) for one in listed)
    return None if same else known


def _is_same(listed: ArtifactRecord, held: ArtifactRecord | None) -> bool:
    """Return whether all that a listing has of an artifact is as in an earlier bundle."""
    return held is not None and (
        replace(listed, policy=held.policy, entries=held.entries, client_ids=held.client_ids) == held
    )


async def read_artifacts(
    context: PullContext,
    path: RunPath,
    *,
    rows: Rows,
    earlier: RunArtifacts | None = None,
    source: ArtifactSource | None = None,
    selection: ArtifactSelection | None = None,
) -> FetchedArtifacts:
    """Store the selected artifacts of a run in the spool; without a selection, those of an earlier bundle.

    Args:
        context: What the download needs, including the selection of artifacts.
        path: The path of the run.
        earlier: The artifacts of the run in an earlier bundle, which are kept if they cannot be downloaded.
        rows: Returns the batches of its history and its summary, which point to tables in artifacts.
        source: Where they are read; W&B's API if None.
        selection: The artifacts to read; those that are selected for the pull if None.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        AccessError: The key was refused, or the API could not be reached.
    """
    selection = selection or context.artifacts
    if selection is None:
        return FetchedArtifacts(earlier)
    try:
        known = await context.in_thread(partial(_known, earlier))
        return await _read(
            source or ArtifactSource(context), path, selection, known=known, rows=rows, context=context
        )
    except (AccessError, DataError) as exc:
        if context.ends_pull(exc):
            raise
        return FetchedArtifacts(earlier, f"the artifacts could not be listed: {exc.message}")


async def _read(
    source: ArtifactSource,
    path: RunPath,
    selection: ArtifactSelection,
    *,
    context: PullContext,
    known: Known,
    rows: Rows,
) -> FetchedArtifacts:
    from pull_logs.fetch.artifacts.download import fetch_artifact

    records: list[ArtifactRecord] = []
    contents: dict[str, ContentSource] = {}
    lost: list[str] = []
    for relation in selection.relations:
        for listed in await source.find(path, relation):
            reader = source.reader(listed, known)
            fetched = await fetch_artifact(context, reader, bytes_too=selection.with_bytes)
            records.append(fetched.record)
            contents |= {content.record.hash: content for content in fetched.contents}
            lost += [f"artifact {listed.path!r}: {fetched.lost}"] if fetched.lost else []
    if not records:
        return FetchedArtifacts()
    table = content_of(encode_records(await _with_client_ids(context, records, rows, source)))
    more = len(lost) - 1
    verb = numbered(more, "more artifact is", "more artifacts are")
    others = f", and {more} {verb} incomplete" if more > 0 else ""
    reason = f"{min(lost)}{others}" if lost else ""
    given = GivenArtifacts(table=table, contents=[contents[key] for key in sorted(contents)])
    return FetchedArtifacts(given, reason)


async def _with_client_ids(
    context: PullContext, records: Sequence[ArtifactRecord], rows: Rows, source: ArtifactSource
) -> Sequence[ArtifactRecord]:
    """Add to the artifacts that a run logged the ids by which its rows point to their files."""
    if not any(record.relation == "logged" for record in records):
        return records
    wanted = await context.in_thread(lambda: sorted(pointed_artifacts(*rows())))
    ids: dict[str, list[str]] = {}
    for client_id, identity in (await source.client_ids(wanted)).items():
        ids.setdefault(identity, []).append(client_id)
    return [replace(record, client_ids=tuple(sorted(ids.get(record.id, ())))) for record in records]


def _known(earlier: RunArtifacts | None) -> Mapping[tuple[str, str], ContentSource]:
    """Return the files of an earlier bundle by algorithm and digest; those that are damaged are left out."""
    if earlier is None:
        return {}
    found: dict[tuple[str, str], ContentSource] = {}
    try:
        artifacts = [*earlier.related("logged"), *earlier.related("used")]
        entries = [
            entry
            for artifact in artifacts
            if artifact.record.entries is not None
            for entry in artifact.entries.values()
        ]
    except BundleDamagedError:
        return {}
    for entry in entries:
        key = entry.entry.algorithm, entry.digest
        if entry.content is not None and key not in found:
            try:
                entry.content.check()
            except BundleDamagedError:
                continue
            found[key] = entry.content
    return found
