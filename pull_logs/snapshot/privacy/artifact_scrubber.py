"""Find and replace secrets and personal data in the artifacts of a run.

Descriptions, metadata, aliases, tags, paths and references are scrubbed like other facts. The bytes of a file
cannot be changed, because its digest proves them: a text file with a finding is left out, and so is one that
is too long to be looked through. Its entry stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    ArtifactsSource,
    ContentSource,
    GivenArtifacts,
    content_of,
    encode_entries,
    encode_records,
)
from pull_logs.snapshot.privacy.file_scrubber import finds_in, kind_of
from pull_logs.snapshot.privacy.scrubber import Scrubber
from pull_logs.snapshot.read import Content, LoggedEntry, Run


@dataclass(frozen=True, slots=True)
class ScrubbedArtifacts:
    """The artifacts of a run without what was found in them.

    Attributes:
        source: The artifacts; None without any.
        left_out: The files that are left out, because they are text with a finding or too long to be read.
    """

    source: ArtifactsSource | None = None
    left_out: tuple[str, ...] = ()


def scrub_artifacts(run: Run, scrubber: Scrubber) -> ScrubbedArtifacts:
    """Replace what is found in the artifacts of a run.

    Args:
        run: The run.
        scrubber: Collects the findings.

    Raises:
        BundleDamagedError: The bundle is damaged.
    """
    held = run.artifacts
    if held is None:
        return ScrubbedArtifacts()
    records, contents, left_out = [], dict[str, ContentSource](), list[str]()
    for artifact in (*held.related("logged"), *held.related("used")):
        record = _scrub_record(artifact.record, scrubber)
        if artifact.record.entries is not None:
            kept = []
            for entry in artifact.entries.values():
                scrubbed = _scrub_entry(artifact.record, entry, scrubber)
                if scrubbed.hash is not None and entry.content is not None:
                    contents[scrubbed.hash] = entry.content
                elif entry.content is not None:
                    left_out.append(f"{artifact.path}/{entry.path}")
                kept.append(scrubbed)
            listing = content_of(encode_entries(_distinct(kept)))
            contents[listing.record.hash] = listing
            record = replace(record, entries=listing.record.hash)
        records.append(record)
    table = content_of(encode_records(records))
    source = GivenArtifacts(table=table, contents=[contents[key] for key in sorted(contents)])
    return ScrubbedArtifacts(source, tuple(dict.fromkeys(left_out)))


def _distinct(entries: Sequence[ArtifactEntry]) -> Iterator[ArtifactEntry]:
    """Number the entries whose paths became equal."""
    seen: Counter[str] = Counter()
    for entry in entries:
        seen[entry.path] += 1
        count = seen[entry.path]
        yield entry if count == 1 else replace(entry, path=f"{entry.path}~{count}")


def _scrub_record(record: ArtifactRecord, scrubber: Scrubber) -> ArtifactRecord:
    location = f"artifact {record.name}"
    return replace(
        record,
        description=None
        if record.description is None
        else scrubber.text(record.description, f"{location} description"),
        metadata=None
        if record.metadata is None
        else scrubber.value(dict(record.metadata), f"{location} metadata"),
        aliases=tuple(scrubber.text(alias, f"{location} aliases") for alias in record.aliases),
        tags=tuple(scrubber.text(tag, f"{location} tags") for tag in record.tags),
    )


def _scrub_entry(record: ArtifactRecord, entry: LoggedEntry, scrubber: Scrubber) -> ArtifactEntry:
    location = f"artifact {record.name}/{entry.path}"
    found = replace(
        entry.entry,
        path=scrubber.text(entry.path, location),
        ref=None if entry.ref is None else scrubber.text(entry.ref, f"{location} ref"),
        extra=scrubber.value(dict(entry.entry.extra), f"{location} extra"),
    )
    if entry.content is None:
        return found
    return replace(found, hash=None) if _must_go(location, entry.content, scrubber) else found


def _must_go(location: str, content: Content, scrubber: Scrubber) -> bool:
    """Return whether a file is left out."""
    kind = kind_of(content)
    if kind != "text":
        return kind == "long"
    try:
        text = content.read().decode()
    except UnicodeDecodeError:
        return False
    return "\x00" not in text and finds_in(location, text, scrubber)
