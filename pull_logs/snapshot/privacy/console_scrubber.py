"""Find and replace secrets and personal data in the console log of a run, a block of lines at a time.

Each line is scrubbed on its own, except that the lines of a private key are scrubbed together: its first
line then has the marker, and the others are empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import pyarrow as pa

from pull_logs.snapshot.privacy.patterns import TEXT_HINT
from pull_logs.snapshot.privacy.scrubber import Scrubber, matching

if TYPE_CHECKING:
    from pull_logs.snapshot.format import ConsoleLine

LOCATION = "console"
"""The location of findings in a console log; their step is the number of the line."""

_BLOCK = 4096
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN", "-----END"
_PRIVATE = "PRIVATE KEY-----"
_MOST_KEY_LINES = 400


def scrub_console(lines: Iterable[ConsoleLine], scrubber: Scrubber) -> Iterator[ConsoleLine]:
    """Iterate over the lines without what was found in them.

    Args:
        lines: The lines.
        scrubber: Scrubs the texts, and collects the findings.
    """
    for suspect, group in _groups(lines):
        if not suspect:
            yield from group
            continue
        text = "\n".join(line.text for line in group)
        scrubbed = scrubber.text(text, LOCATION, step=group[0].number)
        if scrubbed == text:
            yield from group
            continue
        texts = scrubbed.split("\n") if len(group) > 1 else [scrubbed]
        for line, left in zip_longest(group, texts[: len(group)], fillvalue=""):
            assert not isinstance(line, str)  # noqa: S101 - for the type checker: there are not more texts
            yield replace(line, text=left)


def _groups(lines: Iterable[ConsoleLine]) -> Iterator[tuple[bool, list[ConsoleLine]]]:
    """Divide lines into those to scrub (True), singly or as a private key, and those without findings."""
    key: list[ConsoleLine] = []
    for line, suspect in _marked(lines):
        if key or (_KEY_BEGINS in line.text and _PRIVATE in line.text and _KEY_ENDS not in line.text):
            key.append(line)
            if _KEY_ENDS not in line.text and len(key) < _MOST_KEY_LINES:
                continue
            yield True, key
            key = []
        else:
            yield suspect, [line]
    if key:
        yield True, key


def _marked(lines: Iterable[ConsoleLine]) -> Iterator[tuple[ConsoleLine, bool]]:
    """Iterate over the lines, each with whether it may have a finding."""
    for block in _blocks(lines):
        suspects = matching(pa.array([line.text for line in block], pa.string()), TEXT_HINT)
        yield from zip(block, suspects.tolist(), strict=True)


def _blocks(lines: Iterable[ConsoleLine]) -> Iterator[list[ConsoleLine]]:
    block: list[ConsoleLine] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line.text)
        if len(block) >= _BLOCK or size >= 2**20:
            yield block
            block, size = [], 0
    if block:
        yield block
