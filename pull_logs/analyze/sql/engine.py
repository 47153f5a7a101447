"""Runs one SELECT over runs in DuckDB, without files, network, extensions and settings, within limits.

A query is parsed first: only what reads is run. It sees the views that it names and nothing else: DuckDB's
access to files and to Python's variables is off, and its settings are locked before the query is bound.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pull_logs.analyze.sql.duckdb_source import register_history
from pull_logs.analyze.sql.history import HistoryView
from pull_logs.analyze.sql.views import VIEWS, View
from pull_logs.errors import ExpressionError, MachineLimitError, PullLogsError, UsageError
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pull_logs.snapshot import Run

_SETTINGS: Mapping[str, str] = {
    "enable_progress_bar": "false",
    "temp_directory": "''",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "enable_external_access": "false",
    "TimeZone": "'UTC'",
    "lock_configuration": "true",
}
"""What a connection is set to, in this order; nothing can be set after the last."""

_LOCKED = "; ".join(f"SET {name} = {value}" for name, value in _SETTINGS.items())

_ALL_VIEWS = re.compile(
    r"\b(?:show|information_schema|sqlite_master|all_tables|duckdb_\w+|pragma_\w+)\b", re.IGNORECASE
)
"""Parts of a query that lists the views."""

_MISSING = re.compile(r"Table with name (.+?) does not exist")
_SUGGESTED = re.compile(r"!? ?Did you mean .*")
_CARET = re.compile(r"\n*LINE (\d+): (.*)\n( *)(\^+)\s*\Z", re.DOTALL)
_FETCHED, _BATCH_ROWS = 4096, 1 << 16
_MEMORY_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)", re.IGNORECASE)

DEFAULT_MEMORY, DEFAULT_SECONDS = "2GB", 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a query may use.

    Attributes:
        memory: The memory of DuckDB, such as `2GB`; it writes no temporary files.
        seconds: The time after which it is stopped; 0 for no limit.
    """

    memory: str = DEFAULT_MEMORY
    seconds: float = DEFAULT_SECONDS

    def check(self) -> None:
        """Refuse what is not a limit.

        Raises:
            UsageError: The memory is not a size, or the time is negative.
        """
        if _MEMORY_SIZE.fullmatch(self.memory) is None:
            raise UsageError(f"{self.memory!r} is not an amount of memory", hint="write it as 500MB or 4GB")
        if not 0 <= self.seconds < threading.TIMEOUT_MAX:
            raise UsageError(f"{self.seconds} is not a time limit", hint="give seconds, or 0 for no limit")


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of the answer to a query.

    Attributes:
        name: Its name; several columns can have the same.
        type: Its type, as DuckDB calls it.
    """

    name: str
    type: str


class Rows:
    """The answer to a query, which is computed while it is read: once, as rows or as batches."""

    def __init__(self, connection: Any, query: str, errors: _Errors) -> None:
        self._connection, self._query, self._errors = connection, query, errors

    @cached_property
    def columns(self) -> list[ResultColumn]:
        """Its columns; the query is executed as rows."""
        with self._errors.translated():
            self._connection.execute(self._query)
        described = self._connection.description
        return [ResultColumn(str(name), str(kind).strip('"')) for name, kind, *_ in described]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while self.columns and (rows := self._fetch()):
            yield from rows

    def _fetch(self) -> list[tuple[Any, ...]]:
        with self._errors.translated():
            found: list[tuple[Any, ...]] = self._connection.fetchmany(_FETCHED)
            return found

    def batches(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return the answer as Arrow batches and their schema."""
        with self._errors.translated():
            reader = self._connection.sql(self._query).to_arrow_reader(_BATCH_ROWS)
        return reader.schema, self._read(reader)

    def _read(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            with self._errors.translated():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch


@contextmanager
def open_query(runs: Sequence[Run], query: str, *, limits: Limits | None = None) -> Iterator[Rows]:
    """Run a query over runs; the answer can be read until the end of the block.

    Args:
        runs: The runs, each once.
        query: One SELECT.
        limits: What it may use.

    Raises:
        UsageError: DuckDB is not installed; the query is not one SELECT, or DuckDB refuses it.
        ExpressionError: A part of it is wrong.
        MachineLimitError: It needs more memory or time than it may use.
        DamageError: A bundle is damaged.
    """
    limits = limits or Limits()
    limits.check()
    duckdb = _duckdb()
    errors = _Errors(duckdb, query, limits)
    with ExitStack() as stack:
        connection = duckdb.connect(":memory:", config={"memory_limit": limits.memory})
        with connection:
            with errors.translated():
                for name in _views_of(connection, query):
                    _register(connection, name, VIEWS[name](runs), errors, stack)
                connection.execute(_LOCKED)
            with errors.interrupting(connection):
                yield Rows(connection, query, errors)


def _register(connection: Any, name: str, view: View, errors: _Errors, stack: ExitStack) -> None:
    """Make a view known to a connection; its threads end with the stack."""
    if not isinstance(view, HistoryView):
        connection.register(name, view)
        return
    stack.callback(view.close)
    errors.history = view
    register_history(connection, name, view)


def query_frame(
    runs: Sequence[Run], query: str, *, max_rows: int = 1_000_000, limits: Limits | None = None
) -> pd.DataFrame:
    """Return the answer to a query over runs as a data frame.

    Args:
        runs: The runs, each once.
        query: One SELECT.
        max_rows: The most rows that the answer may have.
        limits: What it may use.

    Raises:
        PullLogsError: As `open_query`; or the answer has more rows.
    """
    import pyarrow as pa

    with open_query(runs, query, limits=limits) as answer:
        schema, batches = answer.batches()
        kept, rows = [], 0
        for batch in batches:
            kept.append(batch)
            rows += batch.num_rows
            if rows > max_rows:
                raise UsageError(
                    f"the answer has more than {max_rows} rows",
                    hint="aggregate or LIMIT it, give max_rows, or write it with `pull-logs sql -o FILE`",
                )
        return pa.Table.from_batches(kept, schema=schema).to_pandas()


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as exc:
        raise UsageError(
            "SQL needs DuckDB, which is not installed", hint="pip install 'wandb-pull-logs[sql]'"
        ) from exc
    return duckdb


def _views_of(parser: Any, query: str) -> list[str]:
    """Return the views that a query needs.

    Raises:
        UsageError: It is not one SELECT.
    """
    import duckdb

    statements = parser.extract_statements(query)
    if len(statements) != 1:
        given = f"{len(statements)} were" if statements else "none was"
        raise UsageError(f"SQL takes one statement, and {given} given", hint="write one SELECT")
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError(
            f"SQL here only reads, and {kind.name} does not",
            hint="write one SELECT; -o FILE writes its answer",
        )
    if _ALL_VIEWS.search(query):
        return list(VIEWS)
    # DuckDB names tables only of a query that it can bind; a view that is named and not used costs little.
    words = {word.lower() for word in re.findall(r"\w+", query)}
    return [name for name in VIEWS if name in words]


class _Errors:
    """Turns what DuckDB raises into errors of this package, and stops a query that takes too long.

    Attributes:
        history: The view whose own error DuckDB hides.
    """

    def __init__(self, duckdb: Any, query: str, limits: Limits) -> None:
        self._duckdb, self._query, self._limits = duckdb, query, limits
        self._late = threading.Event()
        self.history: HistoryView | None = None

    @contextmanager
    def interrupting(self, connection: Any) -> Iterator[None]:
        """Stop the query of a connection when its time is over."""
        if not self._limits.seconds:
            yield
            return

        def stop() -> None:
            self._late.set()
            connection.interrupt()

        timer = threading.Timer(self._limits.seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise errors of DuckDB as our own."""
        try:
            yield
        except PullLogsError:
            raise
        except self._duckdb.Error as exc:
            hidden = self.history.error if self.history is not None else None
            if hidden is not None and not isinstance(hidden, GeneratorExit):
                raise hidden from exc
            raise self._translated(exc) from exc

    def _translated(self, exc: Exception) -> PullLogsError:
        duckdb, limits = self._duckdb, self._limits
        if isinstance(exc, duckdb.InterruptException) and self._late.is_set():
            return MachineLimitError(
                f"the query took longer than {limits.seconds:g} seconds and was stopped",
                hint="narrow it, or give --timeout more",
            )
        if isinstance(exc, duckdb.OutOfMemoryException):
            return MachineLimitError(
                f"the query needs more memory than {limits.memory}", hint="narrow it, or give --memory more"
            )
        text = str(exc)
        found = _CARET.search(text)
        message = " ".join(text[: found.start() if found else None].split())
        kind, _, rest = message.partition(" Error: ")
        if kind == "Permission":
            return UsageError(f"SQL here has no files, network or settings: {rest}", hint=_views_hint())
        missing = _MISSING.match(rest) if kind == "Catalog" else None
        shown = (
            f"SQL: there is no view {missing[1]!r}"
            if missing
            else f"SQL: {_SUGGESTED.sub('', rest or message)}"
        )
        hint = "" if missing is None else did_you_mean(missing[1], list(VIEWS), otherwise=_views_hint())
        span = _span(self._query, found) if found else None
        if span is None:
            return UsageError(shown, hint=hint)
        return ExpressionError(shown, source=self._query, span=span, hint=hint)


def _views_hint() -> str:
    return f"the views are {', '.join(VIEWS)}"


def _span(query: str, found: re.Match[str]) -> tuple[int, int] | None:
    """Return which characters of a query a message of DuckDB points at; None where it shows others."""
    number, shown, indent, carets = int(found[1]), found[2], len(found[3]), len(found[4])
    lines = query.splitlines(keepends=True)
    if not 0 < number <= len(lines) or "\n" in shown:
        return None
    offset = indent - len(f"LINE {number}: ")
    line = lines[number - 1].rstrip("\r\n")
    if shown != line:
        part = shown.removeprefix("...").removesuffix("...")
        start = line.find(part)
        if start < 0:
            return None
        offset += start - (len(shown) - len(shown.removeprefix("...")))
    start = sum(map(len, lines[: number - 1])) + offset
    return (start, min(start + carets, len(query))) if 0 <= start < len(query) else None
