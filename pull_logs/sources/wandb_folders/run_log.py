"""The run in one `.wandb` log.

A log has the records of a run in order: its identity, its config, rows and changes of the summary, system
metrics, and its end. An offline run has nothing else on disk (no `config.yaml`, no `wandb-summary.json`), so
all of it is rebuilt from the records. See docs/protocol.md, "Local run logs".

What cannot be read is reported, never guessed: `RunLog.notes` says what could not be read, and
`RunLog.reason` why the history is incomplete. A log without an exit record belongs to a run that was
interrupted. It is complete if nothing in it is damaged, because it has everything that W&B wrote to the disk
(W&B buffers its writes: the last rows of a killed run may never have been written). A log whose last record
is torn, that has only a header, or that lost bytes is incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pull_logs.errors import DataError
from pull_logs.rows.canonical import STEP, TIMESTAMP, canon_members, canon_record, canon_step
from pull_logs.snapshot.format import ConsoleLine
from pull_logs.sources.wandb_folders.console_output import ConsoleOutput, Stream
from pull_logs.sources.wandb_folders.last_values import INTERNAL, LastRows, LastValue, row_time
from pull_logs.sources.wandb_folders.log_framing import LogDamage, LogReader
from pull_logs.sources.wandb_folders.log_items import ItemTree, flat_values, item_values
from pull_logs.sources.wandb_folders.log_messages import (
    Exit,
    History,
    Output,
    Record,
    RunHeader,
    Stats,
    environment_dict,
    kind_of,
    printed_at,
    record_class,
    record_parser,
    utc_text,
)
from pull_logs.sources.wandb_folders.metric_records import MetricDefinitions
from pull_logs.system_errors import from_system_error

INTERNAL_KEYS = frozenset({"_wandb", "wandb_version"})
"""Keys of a config that are internal to W&B. See docs/protocol.md, "Values and encodings"."""

SYSTEM_PREFIX = "system."
BATCH_ROWS = 20_000
BATCH_BYTES = 32 * 1024 * 1024
"""A batch of rows ends at the first of these limits; bytes are those of the records."""


class RowSink(Protocol):
    """Receives the raw rows of a history, batch by batch."""

    def __call__(self, rows: list[dict[str, Any]], /) -> int:
        """Take `rows` and return how many of them were refused, because no history can hold them."""


@dataclass(frozen=True, slots=True)
class BranchPoint:
    """The point at which a run was rewound (`resume_from`) or forked from another (`fork_from`).

    Attributes:
        run_id: The run whose rows come before the point: its own id for a rewind.
        step: The last step of these rows.
    """

    run_id: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """The run in a log, without its rows.

    Attributes:
        file: The log.
        run_id: The run id in the log, else the one in its file name.
        entity: The entity in the log; None for most offline runs.
        project: The project in the log; None if it has none.
        state: `finished`, `failed`, `preempted`, or `crashed` without an exit record.
        comment: The notes that the user gave the run.
        started_at: The time of the start in UTC, in the form of `RunInfo.created_at`.
        ended_at: The time of the last row of any kind, in UTC.
        system_rows: Raw rows of system metrics, with `_timestamp` and `system.` keys.
        rows: The number of history rows that the sink kept.
        first_step: The least step of the rows.
        last_step: The greatest step of the rows.
        first_time: The least `_timestamp` of the rows.
        last_time: The greatest `_timestamp` of the rows.
        last_values: The last value of each metric.
        derived: The keys of the summary whose values are last values of the history: the log has none.
        branch: The point at which the run was rewound or forked, if it was.
        reason: Why the history is incomplete; empty if it is complete.
        notes: Notes for a reader of the run, one sentence each.
        artifacts: The messages of the artifacts that it logged, in order (see `logged_artifacts`).
        used_artifacts: The number of artifacts of other runs that it used.
    """

    file: Path
    run_id: str
    entity: str | None = None
    project: str | None = None
    name: str | None = None
    state: str = "crashed"
    tags: tuple[str, ...] = ()
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    comment: str | None = None
    commit: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_internal: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    system_rows: Sequence[Mapping[str, Any]] = ()
    system_summary: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0
    first_step: int | None = None
    last_step: int | None = None
    first_time: float | None = None
    last_time: float | None = None
    last_values: Mapping[str, LastValue] = field(default_factory=dict)
    derived: frozenset[str] = frozenset()
    branch: BranchPoint | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    artifacts: tuple[Any, ...] = ()
    used_artifacts: int = 0


def run_id_of(file: Path) -> str:
    """Return the run id in the name of a log, `run-ID.wandb`."""
    return file.name.removesuffix(".wandb").removeprefix("run-")


LineSink = Callable[[ConsoleLine], None]
"""Receives the lines of a console log in order."""

_STDERR = 0
"""The `output_type` of stderr."""


def read_run_log(file: Path, *, sink: RowSink, console: LineSink | None = None) -> RunLog:
    """Read a log from its first record to its last.

    Args:
        file: A `run-ID.wandb` file.
        sink: Receives the rows in the order of the log.
        console: Receives the lines that the run printed, numbered from 0; None leaves them out.

    Raises:
        FileMissingError: There is no such file, or it cannot be read.
        DamageError: The file is not a transaction log, or has a later version.
        PullLogsError: The record classes of wandb are missing.
    """
    parse = record_parser()
    decoder = _Decoder(sink, console)
    with _reading(file):
        source = file.open("rb")
    with source:
        with _reading(file):
            reader = LogReader(source, name=str(file))
        for data in _records(reader, file):
            decoder.take(parse(data), size=len(data))
    return decoder.result(file, damages=reader.damages, empty=not decoder.records)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Raise errors of the file system while a log is read as our own."""
    try:
        yield
    except OSError as exc:
        raise from_system_error(exc, path=file, action="read") from exc


def _records(reader: LogReader, file: Path) -> Iterator[bytes]:
    """Yield the records of a log; what the caller does with one is not an error of the log."""
    with _reading(file):
        yield from reader


class _History:
    """The rows of a log, passed to the sink in batches.

    Attributes:
        rows: The rows that the sink kept.
        rows_lost: The rows that could not be read, or that the sink refused.
        unread: The values that could not be read.
        first_step: The least step of the rows so far.
        last_step: The greatest step of the rows so far.
        first_time: The least `_timestamp` of the rows so far, in seconds since 1970.
        last_time: The greatest `_timestamp` of the rows so far.
        last_row: The last row.
        last_rows: The last row of each metric.
    """

    def __init__(self, sink: RowSink) -> None:
        self.rows = self.rows_lost = self.unread = 0
        self.first_step: int | None = None
        self.last_step: int | None = None
        self.first_time: float | None = None
        self.last_time: float | None = None
        self.last_row: Mapping[str, Any] = {}
        self.last_rows = LastRows()
        self._sink = sink
        self._batch: list[dict[str, Any]] = []
        self._batch_bytes = 0

    def take(self, history: History, size: int) -> None:
        """Add the next row, whose record has `size` bytes."""
        row, unread = item_values(history.item)
        self.unread += unread
        step = row.get(STEP)
        if type(step) is not int:
            if step is None and history.HasField("step"):
                step = history.step.num
            try:
                step = canon_step(step)
            except DataError:
                self.rows_lost += 1
                return
            row[STEP] = step
        if self.first_step is None or self.last_step is None:
            self.first_step = self.last_step = step
        self.first_step = min(self.first_step, step)
        self.last_step = max(self.last_step, step)
        self.last_row = row
        self.last_rows.take(row)
        if (time := row_time(row)) is not None:
            self.first_time = time if self.first_time is None else min(self.first_time, time)
            self.last_time = time if self.last_time is None else max(self.last_time, time)
        self._batch.append(row)
        self._batch_bytes += size
        if len(self._batch) >= BATCH_ROWS or self._batch_bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass the buffered rows to the sink."""
        if self._batch:
            refused = self._sink(self._batch)
            self.rows += len(self._batch) - refused
            self.rows_lost += refused
        self._batch, self._batch_bytes = [], 0


class _Decoder:
    """The run, from the records read so far."""

    def __init__(self, sink: RowSink, console: LineSink | None) -> None:
        self.records = 0
        self._console = None if console is None else ConsoleOutput(console)
        self._history = _History(sink)
        self._unread = 0
        self._ended = 0.0
        self._config = ItemTree()
        self._summary = ItemTree()
        self._metrics = MetricDefinitions()
        self._system: list[dict[str, Any]] = []
        self._environment = record_class("EnvironmentRecord")()
        self._run = record_class("RunRecord")()
        self._exit: Exit | None = None
        self._preempting = False
        self._artifacts: list[Any] = []
        self._used_artifacts = 0

    def take(self, record: Record | None, *, size: int) -> None:
        """Add the next record, or None for one that is not a valid protobuf message."""
        self.records += 1
        kind = kind_of(record) if record is not None else None
        if record is None:
            self._unread += 1
        elif kind == "history":
            self._history.take(record.history, size)
        elif kind == "summary":
            self._summary.update(record.summary.update)
            self._summary.remove(record.summary.remove)
        elif kind == "stats":
            self._take_stats(record.stats)
        elif kind == "config":
            self._config.update(record.config.update)
            self._config.remove(record.config.remove)
        elif kind in ("output_raw", "output"):
            self._take_output(record.output_raw if kind == "output_raw" else record.output)
        else:
            self._take_fact(kind, record)

    def _take_fact(self, kind: str | None, record: Record) -> None:
        """Add a record about the run itself."""
        if kind == "run":
            self._take_run(record.run)
        elif kind == "metric":
            self._metrics.take(record.metric)
        elif kind == "environment":
            # W&B writes the environment in parts, each as a record.
            self._environment.MergeFrom(record.environment)
        elif kind == "artifact":
            self._artifacts.append(record.artifact)
        elif kind == "use_artifact":
            self._used_artifacts += 1
        elif kind == "preempting":
            self._preempting = True
        elif kind == "exit":
            self._exit = record.exit

    def _take_run(self, run: RunHeader) -> None:
        # Written again, complete, when the name or the tags change.
        self._config.update(run.config.update)
        self._summary.update(run.summary.update)
        self._run = run

    def _take_output(self, output: Output) -> None:
        if self._console is not None:
            stream: Stream = "stderr" if output.output_type == _STDERR else "stdout"
            self._console.write(stream, output.line, printed_at(output))

    def _take_stats(self, stats: Stats) -> None:
        values, unread = flat_values(stats.item)
        self._unread += unread
        stamp = stats.timestamp.seconds + stats.timestamp.nanos / 1e9
        row = {SYSTEM_PREFIX + key: value for key, value in values.items()}
        row[TIMESTAMP] = stamp
        started = self._run.start_time
        if started.seconds:
            # W&B's server adds it to rows of system metrics too (docs/protocol.md, "System metrics").
            row["_runtime"] = stamp - (started.seconds + started.nanos / 1e9)
        try:
            self._system.append(canon_members(row))
        except DataError:
            self._unread += 1
        self._ended = max(self._ended, stamp)

    def result(self, file: Path, *, damages: Sequence[LogDamage], empty: bool) -> RunLog:
        """Return the run, after the last record."""
        self._history.flush()
        if self._console is not None:
            self._console.close()
        history, ended = self._history, max(self._ended, self._history.last_time or 0.0)
        run, environment = self._run, environment_dict(self._environment)
        config, config_unread = _record(self._config)
        summary, summary_unread = _record(self._summary)
        self._unread += history.unread + config_unread + summary_unread
        reason = self._reason(damages, empty=empty)
        last_values = history.last_rows.values()
        derived = self._derived(summary, last_values)
        return RunLog(
            file=file,
            run_id=run.run_id or run_id_of(file),
            entity=run.entity or None,
            project=run.project or None,
            name=run.display_name or None,
            state=self._state(),
            tags=tuple(run.tags),
            group=run.run_group or None,
            job_type=run.job_type or None,
            sweep=run.sweep_id or None,
            comment=run.notes or None,
            commit=run.git.commit or environment.get("git", {}).get("commit"),
            started_at=utc_text(run.start_time.seconds, run.start_time.nanos),
            ended_at=utc_text(int(ended), int(ended % 1 * 1e9)),
            config={key: value for key, value in config.items() if key not in INTERNAL_KEYS},
            config_internal=self._internal(config),
            summary=self._completed({**summary, **derived}),
            metadata=environment,
            system_rows=self._system,
            system_summary=_last_values(self._system),
            rows=history.rows,
            first_step=history.first_step,
            last_step=history.last_step,
            first_time=history.first_time,
            last_time=history.last_time,
            last_values=last_values,
            derived=frozenset(derived),
            branch=_branch_point(run, config.get(INTERNAL)),
            reason=reason,
            notes=tuple(self._notes(reason, derived=derived, empty=empty)),
            artifacts=tuple(self._artifacts),
            used_artifacts=self._used_artifacts,
        )

    def _derived(self, summary: Mapping[str, Any], last: Mapping[str, LastValue]) -> dict[str, Any]:
        """Return the last values of metrics that an interrupted run has no summary of.

        Older SDKs write the summary when the run ends. A metric whose definition asks for another summary
        than the last value, or for none, has no value here.
        """
        if self._exit is not None:
            return {}
        return {
            key: value.value
            for key, value in last.items()
            if key not in summary and not key.startswith("_") and not self._metrics.sets_summary(key)
        }

    def _internal(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the internal config, with the defined metrics as W&B's server stores them."""
        internal = {key: value for key, value in config.items() if key in INTERNAL_KEYS}
        if defined := self._metrics.encoded():
            own = internal.get("_wandb")
            internal["_wandb"] = {**(own if isinstance(own, Mapping) else {}), "m": defined}
        return internal

    def _state(self) -> str:
        if self._exit is not None and self._exit.exit_code == 0:
            return "finished"
        if self._preempting:
            return "preempted"
        return "crashed" if self._exit is None else "failed"

    def _completed(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the summary with the keys that W&B's server adds: step, times and runtime."""
        for key in (STEP, "_runtime", TIMESTAMP):
            if key in self._history.last_row:
                summary.setdefault(key, self._history.last_row[key])
        if self._exit is not None:
            summary.setdefault("_wandb", {"runtime": self._exit.runtime})
        return summary

    def _reason(self, damages: Sequence[LogDamage], *, empty: bool) -> str:
        lost = sum(damage.bytes_lost for damage in damages)
        if lost:
            parts = ", ".join(map(str, damages[:3])) + (", ..." if len(damages) > 3 else "")
            return f"{lost} bytes of the log could not be read ({parts})"
        if self._history.rows_lost:
            return f"{self._history.rows_lost} rows of the log could not be read"
        if self._unread:
            return f"{self._unread} records or values of the log could not be read"
        return "the log holds nothing but its header: W&B was stopped before it wrote" if empty else ""

    def _notes(self, reason: str, *, derived: Iterable[str], empty: bool) -> Iterable[str]:
        if reason:
            yield reason
        if names := sorted(derived):
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            yield (
                f"the log has no summary of {shown}: the last values of the history are used, "
                "and are listed in summary._wandb.derived"
            )
        if self._exit is None and not empty:
            yield "the log ends without an exit record: the run was interrupted, or is still running"


def _branch_point(run: RunHeader, internal: object) -> BranchPoint | None:
    """Return the branch point in the run's record, or in its internal config."""
    if run.HasField("branch_point"):
        point = run.branch_point
        if point.run and point.metric == STEP:
            return BranchPoint(point.run, int(point.value))
    recorded = internal.get("branch_point") if isinstance(internal, Mapping) else None
    if isinstance(recorded, Mapping):
        run_id, step = recorded.get("run_id"), recorded.get("step")
        if isinstance(run_id, str) and run_id and type(step) is int:
            return BranchPoint(run_id, step)
    return None


def _record(tree: ItemTree) -> tuple[dict[str, Any], int]:
    """Return the canonical values of a config or summary, and how many could not be read."""
    values: dict[str, Any] = {}
    unread = 0
    for key, value in tree.values().items():
        try:
            values |= canon_record({key: value})
        except DataError:
            unread += 1
    return values, unread + tree.unread


def _last_values(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for row in rows:
        last.update(row)
    return last
