"""Runs for questions: what a bundle's run answers with, out of rows in memory, without a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pull_logs.analyze import Subject
from pull_logs.frames import FactsBuilder, IndexEntry, MetricFacts, Vector
from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows
from pull_logs.rows.hashing import rows_hash
from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath

_BATCH = 3
"""Rows of a batch."""


class FakeRun:
    """A run of rows in memory that remembers which columns were read.

    Attributes:
        reads: The columns of each read, None for all.
        batches: The first row of each batch that was read.
        indexed: Whether an index has the facts about its columns.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        run_id: str = "r1",
        name: str = "run",
        config: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
        coverage: Coverage | None = None,
        host: str | None = None,
        indexed: bool = False,
        system: Iterable[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.indexed = indexed
        self.batch = batch_from_rows(list(rows))
        self.system = None if system is None else system_batch_from_rows(system)
        self.coverage = coverage or Coverage()
        self.info = RunInfo(
            path=RunPath("acme", "nano", run_id),
            name=name,
            state="finished",
            host=host,
            config=config or {},
            summary=summary or {},
            metadata=metadata or {},
        )
        self.last_seen: str | None = None
        self.parts: RunParts | None = None
        self.path, self.name, self.state, self.host = self.info.path, name, self.info.state, host
        self.reads: list[list[str] | None] = []
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        if name == "info":
            raise AttributeError(name)
        return getattr(self.info, name)

    @property
    def tags(self) -> Sequence[str]:
        return self.info.tags

    @property
    def config(self) -> Mapping[str, Any]:
        return self.info.config

    @property
    def config_internal(self) -> Mapping[str, Any]:
        return self.info.config_internal

    @property
    def summary(self) -> Mapping[str, Any]:
        return self.info.summary

    @property
    def created_at(self) -> str | None:
        return self.info.created_at

    @property
    def heartbeat_at(self) -> str | None:
        return self.info.heartbeat_at

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.info.metadata

    @property
    def complete(self) -> bool:
        return self.coverage.complete

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    @property
    def rows_hash(self) -> str:
        return rows_hash([self.batch])

    @property
    def last_step(self) -> int | None:
        return self.batch.column("_step")[-1].as_py() if self.rows else None

    @property
    def bundle_id(self) -> str:
        return ""

    def indexed_names(self) -> Sequence[str] | None:
        facts = self.indexed_facts()
        return None if facts is None else [one.name for one in facts]

    def indexed_facts(
        self, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Sequence[MetricFacts] | None:
        if not self.indexed:
            return None
        builder = FactsBuilder()
        builder.add(self.batch)
        found = [one for one in builder.facts() if names is None or one.name in names]
        return list(map(in_brief, found)) if brief else found

    def index_entry(self) -> IndexEntry | None:
        return None

    def system_schema(self) -> pa.Schema | None:
        return None if self.system is None else self.system.schema

    def system_table(self) -> pa.Table | None:
        return self.system

    def schema(self) -> pa.Schema:
        return self.batch.schema

    def number_columns(self, columns: Sequence[str]) -> Mapping[str, Vector]:
        return {}

    def arrow_table(self, columns: Sequence[str] | None = None, *, coded: bool = False) -> pa.Table:
        self.reads.append(None if columns is None else list(columns))
        asked = {*self.batch.column_names} if columns is None else {"_step", "_wpl_rest", *columns}
        return self.batch.select([name for name in self.batch.column_names if name in asked])

    def batches_at(
        self, columns: Sequence[str] | None = None, *, rows: range | None = None
    ) -> Iterator[tuple[int, pa.Table]]:
        table = self.arrow_table(columns)
        for start in range(0, self.rows, _BATCH):
            if rows is None or (rows.start < start + _BATCH and start < rows.stop):
                self.batches.append(start)
                yield start, table.slice(start, _BATCH)


def in_brief(facts: MetricFacts) -> MetricFacts:
    return facts._replace(
        first=None,
        last=None,
        last_number=None,
        last_number_step=None,
        last_finite=None,
        min_step=None,
        max_step=None,
    )


def label(place: int) -> str:
    """The name of the run at an index: A, B, ... Z, A1, B1, ..."""
    turns, letter = divmod(place, 26)
    return f"{chr(ord('A') + letter)}{turns or ''}"


def subjects(*runs: FakeRun) -> list[Subject]:
    """The runs, labelled in their order."""
    return [Subject(label=label(place), run=run, source="test") for place, run in enumerate(runs)]


def training(rows: int = 12, *, scale: float = 1.0, **facts: Any) -> FakeRun:
    """A run whose loss falls in every row and whose accuracy is logged in every third."""
    return FakeRun(
        (
            {
                "_step": step,
                "_runtime": step * 1.5,
                "_timestamp": 1_700_000_000 + step,
                "train/loss": scale * 2.5 / (1 + step),
                **({"val/acc": 1 - scale / (step + 4)} if step % 3 == 2 else {}),
            }
            for step in range(rows)
        ),
        **facts,
    )
