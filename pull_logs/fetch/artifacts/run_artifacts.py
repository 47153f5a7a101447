"""The artifacts of one run: listed, selected and downloaded.

An unchanged run of an earlier bundle keeps its artifacts, and W&B is asked for them only where more of them
are selected than the bundle has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pull_logs.errors import AccessError, BundleDamagedError, DataError
from pull_logs.fetch.api import affects_all_runs
from pull_logs.fetch.context import PullContext
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import ArtifactSelection
from pull_logs.snapshot.format import (
    ArtifactRecord,
    ArtifactsSource,
    ContentSource,
    GivenArtifacts,
    content_of,
    encode_records,
)
from pull_logs.snapshot.read import RunArtifacts, pointed_artifacts, selection_of

Rows = Callable[[], tuple[Iterable[pa.Table], Mapping[str, Any]]]
"""Returns the batches of a history, with their nested values, and the summary."""


if TYPE_CHECKING:
    from pull_logs.fetch.artifacts.download import Known


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


def needs_artifacts(context: PullContext, earlier: RunArtifacts | None) -> bool:
    """Return whether more artifacts of an unchanged run are selected than an earlier bundle has.

    Raises:
        BundleDamagedError: The earlier bundle is damaged.
    """
    if context.artifacts is None or not context.asks_for_artifacts:
        return False
    return earlier is None or not selection_of(earlier).includes(context.artifacts)


async def read_artifacts(
    context: PullContext, path: RunPath, *, earlier: RunArtifacts | None = None, rows: Rows
) -> FetchedArtifacts:
    """Store the selected artifacts of a run in the spool; without a selection, those of an earlier bundle.

    Args:
        context: What the download needs, including the selection of artifacts.
        path: The path of the run.
        earlier: The artifacts of the run in an earlier bundle, which are kept if they cannot be downloaded.
        rows: Returns the batches of its history and its summary, which point to tables in artifacts.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        AccessError: The key was refused, or the API could not be reached.
    """
    if context.artifacts is None:
        return FetchedArtifacts(earlier)
    try:
        known = await context.in_thread(partial(_known, earlier))
        found = await _read(context, path, context.artifacts, known, rows)
    except (AccessError, DataError) as exc:
        if affects_all_runs(exc, api_host=context.client.host):
            raise
        return FetchedArtifacts(earlier, f"the artifacts could not be listed: {exc.message}")
    return found


async def _read(
    context: PullContext, path: RunPath, selection: ArtifactSelection, known: Known, rows: Rows
) -> FetchedArtifacts:
    # Most pulls ask for no artifacts, and need not import what downloads them.
    from pull_logs.fetch.artifacts.download import fetch_artifact
    from pull_logs.fetch.artifacts.listing import list_artifacts

    records: list[ArtifactRecord] = []
    contents: dict[str, ContentSource] = {}
    lost: list[str] = []
    for relation in selection.relations:
        for listed in await list_artifacts(context.client, path, relation):
            fetched = await fetch_artifact(context, listed, bytes_too=selection.with_bytes, known=known)
            records.append(fetched.record)
            contents |= {content.record.hash: content for content in fetched.contents}
            lost += [f"artifact {listed.path!r}: {fetched.lost}"] if fetched.lost else []
    if not records:
        return FetchedArtifacts()
    table = content_of(encode_records(await _with_client_ids(context, records, rows)))
    others = f", and {len(lost) - 1} more artifacts are incomplete" if len(lost) > 1 else ""
    reason = f"{min(lost)}{others}" if lost else ""
    source = GivenArtifacts(table=table, contents=[contents[key] for key in sorted(contents)])
    return FetchedArtifacts(source, reason)


async def _with_client_ids(
    context: PullContext, records: Sequence[ArtifactRecord], rows: Rows
) -> Sequence[ArtifactRecord]:
    """Add to the artifacts that a run logged the ids by which its rows point to their files."""
    if not any(record.relation == "logged" for record in records):
        return records
    from pull_logs.fetch.artifacts.listing import list_client_ids

    wanted = await context.in_thread(lambda: sorted(pointed_artifacts(*rows())))
    ids: dict[str, list[str]] = {}
    for client_id, identity in (await list_client_ids(context.client, wanted)).items():
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
