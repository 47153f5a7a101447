"""The log calls that the SDK ignored because their step was before the current one.

Their rows are neither in the log nor on W&B. The SDK reports each in `logs/debug-internal.log` of the run
folder, with both steps; SDKs before 0.17 did it in words. See docs/protocol.md, "Local run logs".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pull_logs.sources.wandb_folders.find import find_logs
from pull_logs.sources.wandb_folders.run_log import run_id_of
from pull_logs.system_errors import from_system_error

MOST_EXAMPLES = 100
"""Ignored calls that are kept; the others are counted."""

_MARKS = (b"ignoring partial history record", b"Dropping entry")
_IN_WORDS = re.compile(rb"Step (-?\d{1,19}) < (-?\d{1,19})\. Dropping entry")
_MOST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class IgnoredCall:
    """A log call that the SDK ignored.

    Attributes:
        step: The step that it named.
        current: The step that the run had reached.
    """

    step: int
    current: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredCalls:
    """The log calls of a run that the SDK ignored.

    Attributes:
        count: How many there are.
        first_step: The least step that one named.
        last_step: The greatest.
        examples: The first of them, at most `MOST_EXAMPLES`.
    """

    count: int
    first_step: int
    last_step: int
    examples: tuple[IgnoredCall, ...]


def ignored_calls(paths: Sequence[Path]) -> Mapping[str, IgnoredCalls]:
    """Read which log calls the SDK ignored, by run id; a run without any is left out.

    Args:
        paths: Run folders, or folders that contain them, as `import_runs` takes them.

    Raises:
        FileMissingError: A path does not exist or has no run in it.
        PullLogsError: A file cannot be read.
    """
    lines: dict[str, dict[bytes, IgnoredCall]] = {}
    for log in find_logs(paths).files:
        found = lines.setdefault(run_id_of(log), {})
        for line in _marked_lines(log.parent / "logs" / "debug-internal.log"):
            call = _call(line)
            if call is not None:  # a copy of a folder has the same lines, with their times
                found.setdefault(line, call)
    return {run_id: _summed(calls.values()) for run_id, calls in lines.items() if calls}


def _summed(calls: Iterable[IgnoredCall]) -> IgnoredCalls:
    known = list(calls)
    steps = [call.step for call in known]
    return IgnoredCalls(
        count=len(known),
        first_step=min(steps),
        last_step=max(steps),
        examples=tuple(known[:MOST_EXAMPLES]),
    )


def _marked_lines(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file that may report an ignored call; none if there is no file."""
    try:
        with file.open("rb") as source:
            while line := source.readline(_MOST_LINE):
                if any(mark in line for mark in _MARKS):
                    yield line
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise from_system_error(exc, path=file, action="read") from exc


def _call(line: bytes) -> IgnoredCall | None:
    if in_words := _IN_WORDS.search(line):
        return IgnoredCall(int(in_words[1]), int(in_words[2]))
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    step, current = record.get("step"), record.get("current")
    return IgnoredCall(step, current) if isinstance(step, int) and isinstance(current, int) else None
