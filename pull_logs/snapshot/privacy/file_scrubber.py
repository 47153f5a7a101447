"""Find and replace secrets and personal data in the files that a run logged.

A file is text if it is valid UTF-8 without a NUL character. Text up to `MAX_SCANNED` bytes is scrubbed:
JSON and YAML by their keys and values, like the documents of a run; other text line by line, or at once if
it contains a private key, which has several lines. Longer text is not scrubbed, and is reported as unread.
Other files, such as images and weights, are not looked into.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_record, canonical_text, parse_json
from pull_logs.rows.yaml_values import MOST_TEXT, read_yaml, write_yaml
from pull_logs.snapshot.format import FileRecord, FileSource, record_of
from pull_logs.snapshot.privacy.patterns import TEXT_HINT
from pull_logs.snapshot.privacy.scrubber import Scrubber, matching
from pull_logs.snapshot.read import Run, RunFile

MAX_SCANNED = 8 * 2**20
"""The size in bytes up to which a text is scrubbed."""

_PROBED = 64 * 2**10
_BLOCK = 64 * 2**10
_PRIVATE_KEY = "PRIVATE KEY-----"
_METADATA = "wandb-metadata.json"
_INTERNAL = "_wandb"
"""The key of a `config.yaml` under which the SDK describes the machine."""

Kind = Literal["text", "long", "other"]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file whose bytes are in memory.

    Attributes:
        record: The name, size and hash of the file.
        data: The bytes.
    """

    record: FileRecord
    data: bytes

    def chunks(self) -> Iterator[bytes]:
        """Return the bytes in one chunk."""
        yield self.data


@dataclass(frozen=True, slots=True)
class ScrubbedFiles:
    """The files of a run without what was found in them.

    Attributes:
        files: The files, without those that are unread.
        unread: The names of the files that are too long to be scrubbed.
    """

    files: tuple[FileSource, ...]
    unread: tuple[str, ...]


class ReadableFile(Protocol):
    """A file of a bundle."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def chunks(self) -> Iterator[bytes]:
        """Iterate over its bytes in parts."""


def kind_of(file: ReadableFile) -> Kind:
    """Return whether a file is text, text that is too long to be scrubbed, or something else.

    Raises:
        BundleDamagedError: The file is damaged.
    """
    start = next(file.chunks(), b"")[:_PROBED]
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start, final=len(start) == file.size)
    except UnicodeDecodeError:
        return "other"
    if b"\x00" in start:
        return "other"
    return "text" if file.size <= MAX_SCANNED else "long"


def finds_in(name: str, text: str, scrubber: Scrubber) -> bool:
    """Return whether there are findings in the text of a file, and collect them.

    Args:
        name: The name of the file, which says how the text is read.
        text: The text.
        scrubber: Collects the findings; the text is not counted as scrubbed.
    """
    probe = scrubber.probe()
    _scrub_text(name, text, probe)
    scrubber.take_findings(probe)
    return bool(probe.findings)


def scrub_files(run: Run, scrubber: Scrubber) -> ScrubbedFiles:
    """Scrub the files of a run.

    Args:
        run: The run.
        scrubber: Scrubs the texts, and collects the findings.

    Raises:
        BundleDamagedError: A file is damaged.
    """
    kinds = [(file, kind_of(file)) for file in run.files.values()]
    return ScrubbedFiles(
        files=tuple(
            _scrub_file(file, scrubber) if kind == "text" else file for file, kind in kinds if kind != "long"
        ),
        unread=tuple(file.name for file, kind in kinds if kind == "long"),
    )


def _scrub_file(file: RunFile, scrubber: Scrubber) -> FileSource:
    data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return file
    if "\x00" in text:
        return file
    scrubbed = _scrub_text(file.name, text, scrubber)
    if scrubbed == text:
        return file
    encoded = scrubbed.encode()
    return TextFile(record_of(file.name, [encoded], mediatype=file.mediatype), encoded)


def _scrub_text(name: str, text: str, scrubber: Scrubber) -> str:
    location, base = f"files/{name}", name.rpartition("/")[2]
    if base.endswith(".json"):
        try:
            value = parse_json(text)
        except DataError:
            value = None
        if isinstance(value, (dict, list)):
            scrubbed = scrubber.value(value, location, machine=base == _METADATA)
            return text if scrubbed == value else canonical_text(scrubbed) + "\n"
    if base.endswith((".yaml", ".yml")) and len(text) <= MOST_TEXT:
        try:
            config = canon_record(read_yaml(text, what=location))
        except DataError:
            return _scrub_lines(location, text, scrubber)
        scrubbed_config = _scrub_config(location, config, scrubber)
        return text if scrubbed_config == config else write_yaml(scrubbed_config)
    return _scrub_lines(location, text, scrubber)


def _scrub_config(location: str, config: Mapping[str, Any], scrubber: Scrubber) -> dict[str, Any]:
    values = {key: value for key, value in config.items() if key != _INTERNAL}
    scrubbed: dict[str, Any] = scrubber.value(values, location)
    if _INTERNAL in config:
        scrubbed |= scrubber.value({_INTERNAL: config[_INTERNAL]}, location, machine=True)
    return scrubbed


def _scrub_lines(location: str, text: str, scrubber: Scrubber) -> str:
    if _PRIVATE_KEY in text:
        return scrubber.text(text, location)
    return "".join(
        scrubber.text(part, location) if suspect else part for suspect, part in _suspect_lines(text)
    )


def _suspect_lines(text: str) -> Iterator[tuple[bool, str]]:
    """Divide a text into single lines to scrub (True) and parts of several lines without findings (False)."""
    blocks = re.findall(rf"(?s).{{1,{_BLOCK}}}[^\n]*\n?", text)
    for block, suspect in zip(blocks, _suspects(blocks), strict=True):
        if not suspect:
            yield False, block
            continue
        lines = block.splitlines(keepends=True)
        yield from zip(_suspects(lines), lines, strict=True)


def _suspects(texts: list[str]) -> list[bool]:
    suspects: list[bool] = matching(pa.array(texts, pa.string()), TEXT_HINT).tolist()
    return suspects
