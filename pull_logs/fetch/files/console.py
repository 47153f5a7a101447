"""The console log of one run, page by page into the spool (docs/protocol.md, "Console logs").

The log is complete if as many lines arrived as W&B reported with the first page. Lines that a run prints
meanwhile may arrive too. A server before 0.77 lists lines only from the end: of a longer log, the last lines
are kept, and the run is incomplete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from anyio import CancelScope

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.api import RejectedQueryError, console_page, console_tail
from pull_logs.fetch.context import PullContext
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot.format import ConsoleLine, ConsoleSource, ConsoleWriter, StoredConsole
from pull_logs.snapshot.read import RunConsole

PAGE = 1000
"""The lines in a page, as the SDK requests them."""

TAIL = 10_000
"""The lines that are requested of a server that lists them only from the end."""

_FILE = "console"


@dataclass(frozen=True, slots=True)
class FetchedConsole:
    """The console log of a run that arrived.

    Attributes:
        source: The lines; None without lines, and where it was not selected.
        reason: Why lines are missing; empty if none are.
    """

    source: ConsoleSource | None = None
    reason: str = ""

    def apply_to(self, coverage: Coverage) -> Coverage:
        """Return the coverage of a run, which is incomplete if lines are missing."""
        if not self.reason or not coverage.complete:
            return coverage
        return replace(coverage, complete=False, reason=self.reason)


async def read_console(
    context: PullContext, path: RunPath, *, earlier: RunConsole | None = None
) -> FetchedConsole:
    """Store the console log of a run in the spool, if it is selected or an earlier bundle has it.

    Args:
        context: What the download needs.
        path: The path of the run.
        earlier: The console log of the run in an earlier bundle, which is kept if it cannot be downloaded.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        AccessError: The key was refused, or the API could not be reached.
    """
    if not context.console and earlier is None:
        return FetchedConsole()
    folder = await context.in_thread(partial(context.spool.files_folder, path))
    reader = _ConsoleReader(context, path, folder / _FILE)
    try:
        fetched = await reader.read()
    except (AccessError, DataError) as exc:
        if context.ends_pull(exc):
            raise
        fetched = FetchedConsole(reason=f"the console log could not be downloaded: {exc.message}")
    if fetched.reason and earlier is not None and len(earlier) > _count(fetched.source):
        return FetchedConsole(earlier, fetched.reason)
    return fetched


def _count(source: ConsoleSource | None) -> int:
    return 0 if source is None else source.record.lines


class _ConsoleReader:
    """Downloads the console log of one run."""

    def __init__(self, context: PullContext, path: RunPath, file: Path) -> None:
        self._context, self._path, self._file = context, path, file

    async def read(self) -> FetchedConsole:
        in_thread = self._context.in_thread
        sink = await in_thread(partial(create_log, self._file))
        try:
            try:
                return await self._read_pages(sink)
            except RejectedQueryError:
                await in_thread(partial(_empty, sink))
                return await self._read_tail(sink)
        finally:
            with CancelScope(shield=True):
                await in_thread(sink.close)

    async def _read_pages(self, sink: BinaryIO) -> FetchedConsole:
        writer, cursor, promised = ConsoleWriter(sink), None, None
        while True:
            run = await self._query(cursor)
            promised = _line_count(run) if promised is None else promised
            connection = _connection(run)
            nodes = _nodes(connection)
            await self._context.in_thread(partial(add_lines, writer, nodes))
            info = connection.get("pageInfo")
            following = info.get("endCursor") if isinstance(info, Mapping) else None
            if not isinstance(info, Mapping) or not info.get("hasNextPage"):
                break
            if not isinstance(following, str) or not following or following == cursor:
                return await self._finish(writer, promised, "W&B lists no cursor for the next console lines")
            cursor = following
        return await self._finish(writer, promised)

    async def _query(self, cursor: str | None) -> Mapping[str, Any]:
        path = self._path
        query = console_page(path.entity, path.project, path.run_id, cursor=cursor, page=PAGE)
        return await self._context.query_run(query, path)

    async def _read_tail(self, sink: BinaryIO) -> FetchedConsole:
        path, writer = self._path, ConsoleWriter(sink)
        query = console_tail(path.entity, path.project, path.run_id, last=TAIL)
        run = await self._context.query_run(query, path)
        await self._context.in_thread(partial(add_lines, writer, _nodes(_connection(run))))
        return await self._finish(writer, _line_count(run))

    async def _finish(self, writer: ConsoleWriter, promised: int | None, reason: str = "") -> FetchedConsole:
        record = await self._context.in_thread(writer.close)
        if promised is not None and record.lines < promised:
            reason = f"W&B promised {promised} console lines and {record.lines} arrived"
        file = self._file
        source = StoredConsole(record, lambda: file.open("rb")) if record.lines else None
        return FetchedConsole(source, reason)


def create_log(file: Path) -> BinaryIO:
    """Create the file of a log and open it."""
    return file.open("wb")


def _empty(sink: BinaryIO) -> None:
    sink.seek(0)
    sink.truncate()


def add_lines(writer: ConsoleWriter, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Add the lines of a page; lines of the page before it may come again."""
    for line in _lines(nodes):
        if line.number > writer.last:
            writer.add(line)


def _lines(nodes: Sequence[Mapping[str, Any]]) -> Iterator[ConsoleLine]:
    for node in nodes:
        number, text = node.get("number"), node.get("line")
        if type(number) is not int:
            raise DataError(f"W&B lists a console line with the number {number!r}")
        timestamp, level, label = (_text(node.get(name)) for name in ("timestamp", "level", "label"))
        yield ConsoleLine(
            number=number, text=_text(text), timestamp=timestamp or None, level=level, label=label
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _line_count(run: Mapping[str, Any]) -> int | None:
    count = run.get("logLineCount")
    return count if type(count) is int else None


def _connection(run: Mapping[str, Any]) -> Mapping[str, Any]:
    found = run.get("logLines")
    return found if isinstance(found, Mapping) else {}


def _nodes(connection: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    edges = [edge for edge in connection.get("edges") or () if isinstance(edge, Mapping)]
    return [node for edge in edges if isinstance(node := edge.get("node"), Mapping)]
