"""What the rows and the summary of a run point to, and which files of a bundle have the bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pull_logs.errors import DataError
from pull_logs.frames import join_path
from pull_logs.rows.batches import steps_of
from pull_logs.rows.file_pointers import PointerValue, find_pointers, record_pointers
from pull_logs.snapshot.format import MAX_ENTRIES, ContentSource, parse_entries

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.snapshot.file_selection import FileSelection
    from pull_logs.snapshot.format import ArtifactRecord, FileSource

TABLE = "table-file"
"""The type of a value that points to a table."""

_BY_CLIENT_ID, _BY_ID = "wandb-client-artifact://", "wandb-artifact://"

File = TypeVar("File", bound="FileSource")
Bytes = TypeVar("Bytes", bound=ContentSource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A file that a value points to.

    Attributes:
        step: The step of the row; None for a value that only the summary has.
        key: The flat key of the value; nested keys are joined with `.`.
        index: The position of the file in a list; None outside lists.
        kind: The type of the value, `image-file`.
        name: The name of the file in the run, or the address of an entry of an artifact; untrusted text.
        artifact: The address of the same data in an artifact; None without one.
        caption: The caption.
        width: The width in pixels.
        height: The height in pixels.
        format: The format, `png`.
    """

    step: int | None
    key: str
    index: int | None
    kind: str
    name: str
    artifact: str | None = None
    caption: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None


def pointers_of(batches: Iterable[pa.Table], summary: Mapping[str, Any]) -> Iterator[Pointer]:
    """Iterate over the files that rows point to, by step and key, and then over those of the summary alone.

    Args:
        batches: The batches of a history, with their residual columns.
        summary: The summary; a value of it that a row has too is not repeated.

    Raises:
        DataError: A cell of the residual column is not a JSON object.
    """
    last = {(one.key, one.index, one.name): one for one in _pointers(record_pointers(summary), [None])}
    for batch in batches:
        steps = steps_of(batch).tolist()
        for pointer in _pointers(find_pointers(batch), steps):
            last.pop((pointer.key, pointer.index, pointer.name), None)
            yield pointer
    yield from last.values()


def pointed_names(
    selection: FileSelection, batches: Iterable[pa.Table], summary: Mapping[str, Any]
) -> frozenset[str]:
    """Return the names of the selected files that rows and a summary point to.

    Args:
        selection: Selects by key and name.
        batches: The batches of a history, with their residual columns.
        summary: The summary.

    Raises:
        DataError: A cell of the residual column is not a JSON object.
    """
    found = pointers_of(batches, summary)
    return frozenset(one.name for one in found if selection.selects(one.key, one.name))


def pointed_artifacts(batches: Iterable[pa.Table], summary: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids, as the SDK gave them, of the artifacts to whose entries rows and a summary point.

    Args:
        batches: The batches of a history, with their residual columns.
        summary: The summary.

    Raises:
        DataError: A cell of the residual column is not a JSON object.
    """
    found: set[str] = set()
    for one in pointers_of(batches, summary):
        owner = None if one.artifact is None else _owner(one.artifact)
        if owner is not None and owner[0].startswith(_BY_CLIENT_ID):
            found.add(owner[0].removeprefix(_BY_CLIENT_ID))
    return frozenset(found)


def _pointers(found: Iterable[PointerValue], steps: Sequence[Any]) -> Iterator[Pointer]:
    for one in found:
        step, key, value = steps[one.row], join_path(one.path), one.value
        for name, index, caption in zip(one.names, one.indexes, _captions(one), strict=True):
            yield Pointer(
                step=None if step is None else int(step),
                key=key,
                index=index,
                kind=one.kind,
                name=name,
                artifact=_text(value.get("artifact_path")),
                caption=caption,
                width=_size(value.get("width")),
                height=_size(value.get("height")),
                format=_text(value.get("format")),
            )


def _captions(found: PointerValue) -> list[str | None]:
    """Return the caption of each file of a value."""
    one, several = found.value.get("caption"), found.value.get("captions")
    texts = several if isinstance(several, list) and len(several) == len(found.names) else [one]
    texts = [_text(text) for text in texts]
    return texts if len(texts) == len(found.names) else [None] * len(found.names)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


class MediaFiles(Generic[File, Bytes]):
    """The files of a run and of its artifacts to which values can point.

    Args:
        files: The files of the run, by name.
        records: Returns the records of its artifacts; called once, when a value points to an artifact.
        contents: Returns the entries and the files of its artifacts; likewise.
    """

    def __init__(
        self,
        files: Mapping[str, File],
        records: Callable[[], Iterable[ArtifactRecord]],
        contents: Callable[[], Iterable[Bytes]],
    ) -> None:
        self._files, self._records, self._read_contents = files, records, contents

    def file(self, pointer: Pointer) -> File | Bytes | None:
        """Return the file that a value points to; None if it is not there."""
        found = self._files.get(pointer.name)
        return self.entry(pointer.name) if found is None else found

    def typed(self, pointer: Pointer) -> Bytes | None:
        """Return the table of an artifact, which has types, that a value points to besides a file."""
        if pointer.kind != TABLE or pointer.artifact is None or pointer.artifact == pointer.name:
            return None
        return self.entry(pointer.artifact)

    def entry(self, address: str) -> Bytes | None:
        """Return the file of an artifact with an address; None if it is not there.

        Raises:
            DataError: The entries of an artifact are damaged.
        """
        owner = _owner(address)
        record = None if owner is None else self._artifacts.get(owner[0])
        if record is None or owner is None or record.entries is None:
            return None
        return self._contents.get(self._hashes(record.entries).get(owner[1], ""))

    @cached_property
    def _artifacts(self) -> Mapping[str, ArtifactRecord]:
        """The artifacts by the first part of the address of an entry."""
        found: dict[str, ArtifactRecord] = {}
        for record in self._records():
            names = [_BY_CLIENT_ID + one for one in record.client_ids]
            for name in [*names, _BY_ID + _hex(record.id)]:
                if record.entries is not None:
                    found.setdefault(name, record)
        return found

    @cached_property
    def _contents(self) -> Mapping[str, Bytes]:
        return {content.record.hash: content for content in self._read_contents()}

    @cached_property
    def _known(self) -> dict[str, Mapping[str, str]]:
        return {}

    def _hashes(self, entries: str) -> Mapping[str, str]:
        """Return the hash of each file of an artifact by its path."""
        if entries not in self._known:
            content = self._contents.get(entries)
            if content is None or content.record.bytes > MAX_ENTRIES:
                raise DataError("the entries of an artifact are missing or too long")
            parsed = parse_entries(b"".join(content.chunks()))
            self._known[entries] = {entry.path: entry.hash for entry in parsed if entry.hash is not None}
        return self._known[entries]


def is_artifact_address(name: str) -> bool:
    """Return whether a value points to a file of an artifact, which is not a file of the run."""
    return _owner(name) is not None


def _owner(address: str) -> tuple[str, str] | None:
    """Return the first part of the address of an entry, and the path of the entry; None for other text."""
    for scheme in (_BY_CLIENT_ID, _BY_ID):
        if address.startswith(scheme):
            owner, _, path = address.removeprefix(scheme).partition("/")
            return scheme + owner, path
    return None


def _hex(identity: str) -> str:
    try:
        return base64.b64decode(identity, validate=True).hex()
    except ValueError:
        return ""
