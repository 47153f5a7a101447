"""The runs that a bundle is made of: new ones, and those of other bundles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from pull_logs.frames import MetricFacts
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format import ArtifactsSource, ConsoleSource, Encoded, FileSource
from pull_logs.snapshot.write.encoded_history import Batches


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExtras:
    """What a run has besides its facts and its history.

    Attributes:
        system: The system metrics as one system batch.
        files: The files that the run logged, in any order.
        console: The console log; None without one.
        artifacts: The artifacts that the run logged and used; None without any.
    """

    system: pa.Table | None = None
    files: Sequence[FileSource] = ()
    console: ConsoleSource | None = None
    artifacts: ArtifactsSource | None = None


NO_EXTRAS = RunExtras()


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRun:
    """A run to encode into a bundle.

    Attributes:
        info: The facts of the run.
        coverage: What the server promised and what arrived.
        batches: Returns the rows as batches in step order, one row per step; called twice, in any thread.
        system: The system metrics as one system batch.
        files: The files that the run logged, in any order.
        console: The console log; None without one.
        artifacts: The artifacts that the run logged and used; None without any.
        redacted: The number of redaction markers of each kind in the run, for the manifest.
    """

    info: RunInfo
    coverage: Coverage
    batches: Batches
    system: pa.Table | None = None
    files: Sequence[FileSource] = ()
    console: ConsoleSource | None = None
    artifacts: ArtifactsSource | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)


class EncodedRun(Protocol):
    """A run whose histories are encoded: a run of a bundle."""

    @property
    def path(self) -> RunPath:
        """The path of the run."""

    @property
    def info(self) -> RunInfo:
        """The facts of the run."""

    @property
    def coverage(self) -> Coverage:
        """What the server promised and what arrived."""

    @property
    def history_encoded(self) -> Encoded:
        """Size, hashes and number of rows of `history.parquet`."""

    @property
    def system_encoded(self) -> Encoded | None:
        """The same for `system.parquet`; None without system metrics."""

    @property
    def writer(self) -> str:
        """The library that encoded the histories."""

    @property
    def files(self) -> Mapping[str, FileSource]:
        """The files that the run logged, by name."""

    @property
    def console(self) -> ConsoleSource | None:
        """The console log; None without one."""

    @property
    def artifacts(self) -> ArtifactsSource | None:
        """The artifacts that the run logged and used; None without any."""

    def metric_facts(self) -> Sequence[MetricFacts]:
        """Return the facts about the columns of its history, `_step` first."""

    def history_chunks(self) -> Iterator[bytes]:
        """Return the bytes of `history.parquet` in chunks."""

    def system_chunks(self) -> Iterator[bytes]:
        """Return the bytes of `system.parquet` in chunks; none without system metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRun:
    """A run of another bundle, to copy byte for byte.

    Attributes:
        run: The run.
        info: Facts that replace those of the run, where only they changed.
        coverage: A coverage that replaces that of the run.
        files: Files that replace those of the run.
        console: A console log that replaces that of the run.
        artifacts: Artifacts that replace those of the run.
        redacted: The number of redaction markers of each kind in the run, for the manifest.
    """

    run: EncodedRun
    info: RunInfo | None = None
    coverage: Coverage | None = None
    files: Sequence[FileSource] | None = None
    console: ConsoleSource | None = None
    artifacts: ArtifactsSource | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)
