"""What a run has besides its history: system metrics, files, its console log and artifacts.

Most pulls select none of them: this module is imported where one is selected, or an earlier bundle has some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pull_logs.errors import BundleDamagedError
from pull_logs.fetch.artifacts import read_artifacts
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.files import read_console, read_files
from pull_logs.fetch.history.system_rows import read_system
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import Run
from pull_logs.snapshot.read import RunArtifacts, RunConsole, RunFiles
from pull_logs.snapshot.write import RunExtras

Rows = Callable[[], tuple[Iterable[pa.Table], Mapping[str, Any]]]
"""Returns the batches of a history and the summary, whose values point to files and artifacts."""


@dataclass(frozen=True, slots=True)
class EarlierExtras:
    """What an earlier bundle has of a run besides its history, without what is damaged.

    Attributes:
        files: The files; None where it has none.
        console: The console log; None where it has none.
        artifacts: The artifacts; None where it has none.
    """

    files: RunFiles | None = None
    console: RunConsole | None = None
    artifacts: RunArtifacts | None = None

    @classmethod
    def of(cls, run: Run) -> EarlierExtras:
        """Return those of a run."""
        return cls(usable_files(run), usable_console(run), usable_artifacts(run))


def usable_files(run: Run) -> RunFiles | None:
    """Return the files of a run in an earlier bundle; None where it has none, or they are damaged."""
    files = run.files
    try:
        for file in files.values():
            file.check()
    except BundleDamagedError:
        return None
    return files or None


def usable_console(run: Run) -> RunConsole | None:
    """Return the console log of a run in an earlier bundle; None where it has none, or it is damaged."""
    console = run.console
    try:
        if console is not None:
            console.check()
    except BundleDamagedError:
        return None
    return console


def usable_artifacts(run: Run) -> RunArtifacts | None:
    """Return the artifacts of a run in an earlier bundle; None where it has none, or they are damaged."""
    artifacts = run.artifacts
    try:
        for content in () if artifacts is None else artifacts.contents:
            content.check()
    except BundleDamagedError:
        return None
    return artifacts


async def read_extras(
    context: PullContext, path: RunPath, *, earlier: EarlierExtras, rows: Rows, coverage: Coverage
) -> tuple[RunExtras, Coverage]:
    """Read what is selected of a run besides its history, and update what an earlier bundle has of it.

    Args:
        context: What the download needs, including what is selected.
        path: The path of the run.
        earlier: What an earlier bundle has.
        rows: Returns the rows, which may point to what is selected.
        coverage: What was promised of the history and what arrived.

    Returns:
        What arrived, and the coverage of the run, which is incomplete if something is missing.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        DataError: A row of the system metrics cannot be read.
        AccessError: A request failed.
    """
    system = await read_system(context, path)
    files = await read_files(context, path, earlier=earlier.files, rows=rows)
    console = await read_console(context, path, earlier=earlier.console)
    artifacts = await read_artifacts(context, path, earlier=earlier.artifacts, rows=rows)
    extras = RunExtras(
        system=system.table, files=files.sources, console=console.source, artifacts=artifacts.source
    )
    for part in (files, console, artifacts, system):
        coverage = part.apply_to(coverage)
    return extras, coverage
