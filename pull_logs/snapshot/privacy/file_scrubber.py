"""What should not be shared in the files that a run logged.

A file is text if it is UTF-8 without a NUL. Text up to `MAX_SCANNED` bytes is
looked at: JSON and YAML by their keys and values, as the documents of a run
are, anything else line by line (and as a whole where there is a private key
in it, which has several). Longer text is too much to look at, and is said to be
unread. Other files (images, weights) are not looked into.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_record, canonical_text, parse_json
from pull_logs.rows.yaml_values import MOST_TEXT, read_yaml, write_yaml
from pull_logs.snapshot.format import FileRecord, FileSource, record_of
from pull_logs.snapshot.privacy.patterns import TEXT_HINT

if TYPE_CHECKING:
    from pull_logs.snapshot.privacy.scrubber import Scrubber
    from pull_logs.snapshot.read import Run, RunFile

MAX_SCANNED = 8 * 2**20
"""Bytes of a text that is looked at."""

_PROBED = 64 * 2**10
_BLOCK = 64 * 2**10
_PRIVATE_KEY = "PRIVATE KEY-----"
_METADATA = "wandb-metadata.json"
_INTERNAL = "_wandb"
"""The key of a `config.yaml` under which the SDK tells of the machine."""

Kind = Literal["text", "long", "other"]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file whose bytes are at hand."""

    record: FileRecord
    data: bytes

    def chunks(self) -> Iterator[bytes]:
        """Its bytes."""
        yield self.data


def kind_of(file: RunFile) -> Kind:
    """Whether a file is text that is looked at, text that is too long for that, or something else.

    Raises:
        BundleDamagedError: It is damaged.
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


def scrub_files(run: Run, scrubber: Scrubber) -> list[FileSource]:
    """Look through a run's files; they are given back without what was found, those too long to look at left out.

    Args:
        run: The run.
        scrubber: Looks through texts, and remembers what is in them and which files are unread.

    Raises:
        BundleDamagedError: A file is damaged.
    """
    kept: list[FileSource] = []
    for file in run.files.values():
        kind = kind_of(file)
        if kind == "long":
            scrubber.unread.append(file.name)
            continue
        kept.append(_scrubbed(file, scrubber) if kind == "text" else file)
    return kept


def _scrubbed(file: RunFile, scrubber: Scrubber) -> FileSource:
    data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return file
    if "\x00" in text:
        return file
    changed = _scrub(file.name, text, scrubber)
    if changed == text:
        return file
    told = changed.encode()
    return TextFile(record_of(file.name, [told], mediatype=file.mediatype), told)


def _scrub(name: str, text: str, scrubber: Scrubber) -> str:
    place, base = f"files/{name}", name.rpartition("/")[2]
    if base.endswith(".json"):
        try:
            value = parse_json(text)
        except DataError:
            value = None
        if isinstance(value, (dict, list)):
            machine = base == _METADATA
            scrubbed = scrubber.value(value, place, machine=machine)
            return text if scrubbed == value else canonical_text(scrubbed) + "\n"
    if base.endswith((".yaml", ".yml")) and len(text) <= MOST_TEXT:
        try:
            config = canon_record(read_yaml(text, what=place))
        except DataError:
            return _scrub_lines(place, text, scrubber)
        cleared = _scrub_config(place, config, scrubber)
        return text if cleared == config else write_yaml(cleared)
    return _scrub_lines(place, text, scrubber)


def _scrub_config(place: str, config: Mapping[str, Any], scrubber: Scrubber) -> dict[str, Any]:
    told = {key: value for key, value in config.items() if key != _INTERNAL}
    cleared: dict[str, Any] = scrubber.value(told, place)
    if _INTERNAL in config:
        cleared |= scrubber.value({_INTERNAL: config[_INTERNAL]}, place, machine=True)
    return cleared


def _scrub_lines(place: str, text: str, scrubber: Scrubber) -> str:
    if _PRIVATE_KEY in text:
        return scrubber.text(text, place)
    return "".join(scrubber.text(line, place) if worth else line for worth, line in _lines(text))


def _lines(text: str) -> Iterator[tuple[bool, str]]:
    """Parts of a text, whole lines each, and whether they are worth a look: those are single lines."""
    blocks = re.findall(rf"(?s).{{1,{_BLOCK}}}[^\n]*\n?", text)
    for block, hinted in zip(blocks, _hinted_texts(blocks), strict=True):
        if not hinted:
            yield False, block
            continue
        lines = block.splitlines(keepends=True)
        yield from zip(_hinted_texts(lines), lines, strict=True)


def _hinted_texts(texts: list[str]) -> list[bool]:
    hinted: list[bool] = pc.match_substring_regex(pa.array(texts, pa.string()), TEXT_HINT).to_pylist()
    return hinted
