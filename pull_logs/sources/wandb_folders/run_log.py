"""One `.wandb` log -> the run it tells of.

A log is the run's life in order: who it is, its config, rows and changes of
the summary, system metrics, and how it ended. An offline run has nothing else
on disk (no `config.yaml`, no `wandb-summary.json`: read API facts, section 7),
so all of it is rebuilt from the records.

What a record cannot tell is told instead of guessed: `RunLog.notes` says
what could not be read, `RunLog.reason` why the history is incomplete. A log
without an exit record is that of a run that was interrupted; when nothing in
it is damaged it is complete all the same, because everything that W&B wrote to
the disk is there (it buffers what it writes: the last rows of a run that was
killed may be on no disk at all). A log whose last record is torn, or that
holds nothing but its header, is incomplete, and so is any that lost bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pull_logs.errors import DataError, FileMissingError
from pull_logs.rows.canonical import STEP, TIMESTAMP, canon_members, canon_record, canon_step
from pull_logs.sources.wandb_folders.log_framing import LogDamage, LogReader
from pull_logs.sources.wandb_folders.log_items import ItemTree, flat_values, item_values
from pull_logs.sources.wandb_folders.log_messages import (
    Exit,
    History,
    Record,
    RunHeader,
    Stats,
    environment_dict,
    kind_of,
    record_class,
    record_parser,
    utc_text,
)
from pull_logs.sources.wandb_folders.metric_records import MetricDefinitions

INTERNAL_KEYS = frozenset({"_wandb", "wandb_version"})
"""Keys of a config that are W&B's own (read API facts, section 4)."""

SYSTEM_PREFIX = "system."
BATCH_ROWS = 20_000
BATCH_BYTES = 32 * 1024 * 1024
"""A batch of rows ends with the first of these two bounds; bytes are those of the records."""


class RowSink(Protocol):
    """Takes the raw rows of a history, a batch at a time."""

    def __call__(self, rows: list[dict[str, Any]], /) -> int:
        """Take over `rows`; gives how many of them were refused, because no history can hold them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """All that a log tells of its run but the rows.

    Attributes:
        file: The log.
        run_id: As the log says, else as its file name does.
        entity: As the log says; None where it does not, as for most offline runs.
        project: As `entity`.
        state: `finished`, `failed`, `preempted`, or `crashed` without an exit record.
        comment: The run's own notes.
        started_at: UTC, as `RunInfo.created_at`.
        ended_at: When the last row of any kind was logged, in UTC.
        system_rows: Raw rows of system metrics, with `_timestamp` and `system.` keys.
        rows: How many rows of history the sink kept.
        first_step: The least step of the rows that went to the sink.
        last_step: The greatest.
        reason: Why the history is incomplete; empty when all that was written is there.
        notes: What a reader of the run should know, a sentence each.
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
    reason: str = ""
    notes: tuple[str, ...] = ()


def run_id_of(file: Path) -> str:
    """The run id in the name of a log, `run-ID.wandb`."""
    return file.name.removesuffix(".wandb").removeprefix("run-")


def read_run_log(file: Path, *, sink: RowSink) -> RunLog:
    """Read a log from its first record to its last.

    Args:
        file: A `run-ID.wandb` file.
        sink: Takes the rows as they are read, in the order of the log.

    Raises:
        FileMissingError: There is no such file, or it cannot be read.
        DamageError: The file is no transaction log, or one of a later version.
        PullLogsError: wandb is not installed.
    """
    parse = record_parser()
    decoder = _Decoder(sink)
    try:
        with file.open("rb") as source:
            reader = LogReader(source, name=str(file))
            for data in reader:
                decoder.take(parse(data), size=len(data))
    except OSError as exc:
        raise FileMissingError(f"cannot read {str(file)!r}: {exc.strerror or exc}") from exc
    decoder.flush()
    return decoder.result(file, damages=reader.damages, empty=not decoder.records)


class _Decoder:
    """The run as far as its records were read."""

    def __init__(self, sink: RowSink) -> None:
        self.records = 0
        self._sink = sink
        self._batch: list[dict[str, Any]] = []
        self._batch_bytes = 0
        self._rows = 0
        self._rows_lost = 0
        self._unread = 0
        self._first_step: int | None = None
        self._last_step: int | None = None
        self._last_row: Mapping[str, Any] = {}
        self._ended = 0.0
        self._config = ItemTree()
        self._summary = ItemTree()
        self._metrics = MetricDefinitions()
        self._system: list[dict[str, Any]] = []
        self._environment = record_class("EnvironmentRecord")()
        self._run = record_class("RunRecord")()
        self._exit: Exit | None = None
        self._preempting = False

    def take(self, record: Record | None, *, size: int) -> None:
        """Take over the next record, or None for one that is no protobuf message."""
        self.records += 1
        kind = kind_of(record) if record is not None else None
        if record is None:
            self._unread += 1
        elif kind == "history":
            self._take_row(record.history, size)
        elif kind == "summary":
            self._summary.update(record.summary.update)
            self._summary.remove(record.summary.remove)
        elif kind == "stats":
            self._take_stats(record.stats)
        elif kind == "config":
            self._config.update(record.config.update)
            self._config.remove(record.config.remove)
        else:
            self._take_fact(kind, record)

    def _take_fact(self, kind: str | None, record: Record) -> None:
        """Take over what a record says of the run as a whole."""
        if kind == "run":
            self._take_run(record.run)
        elif kind == "metric":
            self._metrics.take(record.metric)
        elif kind == "environment":
            # W&B writes the environment in parts, each a record of its own.
            self._environment.MergeFrom(record.environment)
        elif kind == "preempting":
            self._preempting = True
        elif kind == "exit":
            self._exit = record.exit

    def _take_run(self, run: RunHeader) -> None:
        # Sent again, whole, when the name or the tags change.
        self._config.update(run.config.update)
        self._summary.update(run.summary.update)
        self._run = run

    def _take_row(self, history: History, size: int) -> None:
        row, unread = item_values(history.item)
        self._unread += unread
        step = row.get(STEP)
        if type(step) is not int:
            if step is None and history.HasField("step"):
                step = history.step.num
            try:
                step = canon_step(step)
            except DataError:
                self._rows_lost += 1
                return
            row[STEP] = step
        if self._first_step is None or self._last_step is None:
            self._first_step = self._last_step = step
        self._first_step = min(self._first_step, step)
        self._last_step = max(self._last_step, step)
        self._last_row = row
        self._batch.append(row)
        self._batch_bytes += size
        if len(self._batch) >= BATCH_ROWS or self._batch_bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand the rows that wait to the sink."""
        if self._batch:
            refused = self._sink(self._batch)
            self._rows += len(self._batch) - refused
            self._rows_lost += refused
            self._note_time(self._batch[-1].get(TIMESTAMP))
        self._batch, self._batch_bytes = [], 0

    def _take_stats(self, stats: Stats) -> None:
        values, unread = flat_values(stats.item)
        self._unread += unread
        stamp = stats.timestamp.seconds + stats.timestamp.nanos / 1e9
        row = {SYSTEM_PREFIX + key: value for key, value in values.items()}
        row[TIMESTAMP] = stamp
        started = self._run.start_time
        if started.seconds:
            # W&B's own rows of system metrics carry it too (read API facts, section 3.5).
            row["_runtime"] = stamp - (started.seconds + started.nanos / 1e9)
        try:
            self._system.append(canon_members(row))
        except DataError:
            self._unread += 1
        self._note_time(stamp)

    def _note_time(self, stamp: object) -> None:
        if isinstance(stamp, (int, float)) and not isinstance(stamp, bool) and math.isfinite(stamp):
            self._ended = max(self._ended, stamp)

    def result(self, file: Path, *, damages: Sequence[LogDamage], empty: bool) -> RunLog:
        """The run, when the last record was taken."""
        run, environment = self._run, environment_dict(self._environment)
        config, config_unread = _record(self._config)
        summary, summary_unread = _record(self._summary)
        self._unread += config_unread + summary_unread
        reason = self._reason(damages, empty=empty)
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
            ended_at=utc_text(int(self._ended), int(self._ended % 1 * 1e9)),
            config={key: value for key, value in config.items() if key not in INTERNAL_KEYS},
            config_internal=self._internal(config),
            summary=self._whole_summary(summary),
            metadata=environment,
            system_rows=self._system,
            system_summary=_last_values(self._system),
            rows=self._rows,
            first_step=self._first_step,
            last_step=self._last_step,
            reason=reason,
            notes=tuple(self._notes(reason, empty=empty)),
        )

    def _internal(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """W&B's own part of the config, with the defined metrics where W&B's server has them."""
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

    def _whole_summary(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The summary with what W&B's server has in every one: the last row's place, and the runtime."""
        for key in (STEP, "_runtime", TIMESTAMP):
            if key in self._last_row:
                summary.setdefault(key, self._last_row[key])
        if self._exit is not None:
            summary.setdefault("_wandb", {"runtime": self._exit.runtime})
        return summary

    def _reason(self, damages: Sequence[LogDamage], *, empty: bool) -> str:
        lost = sum(damage.bytes_lost for damage in damages)
        if lost:
            places = ", ".join(map(str, damages[:3])) + (", ..." if len(damages) > 3 else "")
            return f"{lost} bytes of the log could not be read ({places})"
        if self._rows_lost:
            return f"{self._rows_lost} rows of the log could not be read"
        if self._unread:
            return f"{self._unread} records or values of the log could not be read"
        return "the log holds nothing but its header: W&B was stopped before it wrote" if empty else ""

    def _notes(self, reason: str, *, empty: bool) -> Iterable[str]:
        if reason:
            yield reason
        if self._exit is None and not empty:
            yield "the log ends without an exit record: the run was interrupted, or is still running"


def _record(tree: ItemTree) -> tuple[dict[str, Any], int]:
    """The canonical values of a config or summary, and how many could not be read."""
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
