"""Open a bundle and read from it: a mapping of run paths to runs.

Opening reads the directory of the ZIP and the index (`load_index`), all checked against hashes. Everything
else is read on request and checked then: a small history by its hash, a large one by that of its footer, and
its pages by their checksums. `verify_bundle` checks every byte.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from itertools import count
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from pull_logs.errors import MetricNotFoundError, RunNotFoundError, refuse_text
from pull_logs.rows.canonical import STEP
from pull_logs.runs import RunPath
from pull_logs.snapshot.bundle_location import container_at, is_bundle_set
from pull_logs.snapshot.format import METRICS, Container, Manifest
from pull_logs.snapshot.read.index import BundleIndex, load_index
from pull_logs.snapshot.read.logged import Artifact, ArtifactIndex
from pull_logs.snapshot.read.metrics_index import MetricsIndex
from pull_logs.snapshot.read.run import Run
from pull_logs.snapshot.read.run_facts import BundleParts, RunSource
from pull_logs.suggestions import counted, did_you_mean, listed, shortened

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd
    from matplotlib.figure import Figure

    from pull_logs.snapshot.read.number_columns import NumberReader

_Default = TypeVar("_Default")

_PLOT = "pull_logs:plot"
_SQL = "pull_logs.analyze.sql:query_frame"
_OPEN_SET = "pull_logs.snapshot.sets:open_bundle_set"
"""What draws plots, answers SQL and opens bundle sets, above this package: looked up by name when called."""


class Bundle(Mapping[str, Run]):
    """An open bundle; a mapping of `entity/project/run_id` to runs, in path order.

    A run is also found by `project/run_id` and `run_id` if only one run has it. Several threads may read
    from a bundle at once. Close it after use, or use it in `with`.

    Attributes:
        path: The file, or the folder that it was unzipped to; for a URL, the part that may be shown.
    """

    def __init__(self, container: Container, index: BundleIndex) -> None:
        self.path = container.path
        self._index = index
        self._container = container
        self._table = index.table
        self._metrics = MetricsIndex(container, index.manifest.resources.get(METRICS), index.table.paths)
        self._parts = BundleParts(
            container=container,
            table=index.table,
            manifest=index.manifest,
            metrics=self._metrics,
            numbers=cache(_number_reader),
            folders=index.folders,
            bundle_id=index.bundle_id,
        )
        self._short: dict[str, list[int]] | None = None

    @cached_property
    def run_paths(self) -> tuple[str, ...]:
        """`entity/project/run_id` of every run, in path order."""
        return tuple(self)

    @property
    def manifest(self) -> Manifest:
        """The content of `datapackage.json`."""
        return self._index.manifest

    @property
    def bundle_id(self) -> str:
        """SHA-256 of the manifest: the identity of these bytes."""
        return self._index.bundle_id

    @property
    def content_id(self) -> str:
        """The identity of the content, whichever writer encoded it."""
        return self._index.manifest.content_id

    @property
    def kept_metrics(self) -> str | None:
        """The regular expression of the metrics that were kept; None if all were."""
        return self.manifest.metrics

    @property
    def redacted(self) -> Mapping[str, int]:
        """How many texts of each kind were removed from it."""
        return self.manifest.redacted

    def __getitem__(self, key: str | RunPath) -> Run:
        """Return the run with this path or id.

        Raises:
            RunNotFoundError: The bundle has no such run, or more than one.
        """
        return self._run(self._find(str(key)))

    @overload
    def get(self, key: str | RunPath, default: None = None) -> Run | None: ...
    @overload
    def get(self, key: str | RunPath, default: _Default) -> Run | _Default: ...
    def get(self, key: str | RunPath, default: object = None) -> object:
        """Return the run with this path or id, or `default` if there is not exactly one."""
        try:
            return self[key]
        except RunNotFoundError:
            return default

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, RunPath)):
            return False
        return self._index_of(str(key)) is not None or len(self._short_names().get(str(key), ())) == 1

    def __iter__(self) -> Iterator[str]:
        return map(str, self._table.paths)

    def __len__(self) -> int:
        return len(self._table.paths)

    def __repr__(self) -> str:
        return f"<Bundle {shortened(str(self.path))!r}: {counted(len(self), 'run')}>"

    def _repr_html_(self) -> str:
        """Return the runs as a notebook shows them."""
        from pull_logs.snapshot.notebook import html_table

        rows = ((run.path, run.name, run.state, run.rows, run.last_step, run.complete) for run in self.runs())
        return html_table(
            f"{shortened(str(self.path))}: {counted(len(self), 'run')}",
            ("run", "name", "state", "rows", "last step", "complete"),
            rows,
            total=len(self),
        )

    def check_metrics(self) -> None:
        """Check that the index of metrics, if there is one, is that of these runs.

        Raises:
            BundleDamagedError: It is damaged, or of other runs.
        """
        self._metrics.check()

    def runs(self) -> Iterator[Run]:
        """Iterate over the runs, in path order."""
        return map(self._run_at, self._table.paths, count())

    def runs_frame(self) -> pd.DataFrame:
        """Return a data frame with one row per run; the index, `run`, is its path.

        Its columns are the plain columns of `runs.parquet`, then `config.KEY` and `summary.KEY` of every
        top-level key. Times are in UTC. Integers and booleans that some runs lack are Int64 and boolean, so
        that nothing is rounded; a column of lists, dicts or several kinds of values is an object column.

        Raises:
            BundleDamagedError: A config or summary cannot be read.
        """
        from pull_logs.snapshot.read.dataframe import to_runs_frame

        columns: dict[str, list[Any]] = {"path": list(self.run_paths)}
        columns |= self._plain_columns()
        for document in ("config", "summary"):
            for index, run in enumerate(self.runs()):
                for key, value in getattr(run, document).items():
                    column = columns.setdefault(f"{document}.{key}", [None] * len(self))
                    column[index] = value
        return to_runs_frame(columns)

    def _plain_columns(self) -> dict[str, list[Any]]:
        """Return the plain columns of the table of runs, by name."""
        return {name: self._table.column(name) for name in self._table.plain_columns}

    def plot(
        self,
        *,
        select: str | None = None,
        group_by: str | Iterable[str] = (),
        smooth: float = 0.0,
        x: str = STEP,
        log_x: bool = False,
        log_y: bool = False,
    ) -> Figure:
        """Draw metrics of the runs with matplotlib; `pull_logs.plot`, which draws, describes the arguments.

        Raises:
            PullLogsError: As `pull_logs.plot`.
        """
        figure: Figure = resolve_name(_PLOT)(
            self, select=select, group_by=group_by, smooth=smooth, x=x, log_x=log_x, log_y=log_y
        )
        return figure

    def sql(self, query: str, *, max_rows: int = 1_000_000) -> pd.DataFrame:
        """Return the answer to a SELECT over the runs as a data frame; docs/sql.md describes the views.

        Args:
            query: One SELECT, which DuckDB (the extra `sql`) answers.
            max_rows: The most rows that the answer may have.

        Raises:
            UsageError: DuckDB is not installed, or refuses the query; or the answer has more rows.
            MachineLimitError: The query needs too much memory or time.
            BundleDamagedError: The bundle is damaged.
        """
        frame: pd.DataFrame = resolve_name(_SQL)([*self.runs()], query, max_rows=max_rows)
        return frame

    def long_frame(self, columns: Collection[str] | None = None) -> pd.DataFrame:
        """Return the histories of all runs as one data frame, with a row per cell that was logged.

        The columns are `run` (its path) and `metric`, which are categories, `step` and `value`; the rows are
        in the order of the runs, then of the metrics, then of the steps. `value` is float64 if every value is
        a number that a float holds exactly, else object, with every value as it was logged. A NaN that was
        logged is a row; a cell that was not logged is none.

        Args:
            columns: The metrics wanted; all if None. Only these are read.

        Raises:
            UsageError: `columns` is one string.
            MetricNotFoundError: A metric is in no run.
            BundleDamagedError: A history is damaged.
        """
        from pull_logs.snapshot.read.dataframe import to_long_frame

        refuse_text("columns", columns, "names")
        frame = to_long_frame(self.run_paths, (run.arrow_table(columns) for run in self.runs()), columns)
        found = frozenset(frame["metric"].cat.categories)
        for name in columns or ():
            if name not in found:
                known = {other for run in self.runs() for other in run.column_names()} - {STEP}
                hint = did_you_mean(name, sorted(known), otherwise="the runs have no metrics", cutoff=0)
                raise MetricNotFoundError(f"no run of {str(self.path)!r} has a metric {name!r}", hint=hint)
        return frame

    @cached_property
    def _artifacts(self) -> ArtifactIndex:
        return ArtifactIndex(
            self._container,
            [(str(run.path), run.artifacts) for run in self.runs() if run.artifacts is not None],
        )

    def artifacts(self) -> Iterator[Artifact]:
        """Iterate over the artifacts that its runs logged and used, each version once, by name and version.

        Raises:
            BundleDamagedError: Their records are damaged.
        """
        return iter(self._artifacts)

    def artifact(self, name: str) -> Artifact:
        """Return an artifact by `entity/project/name:alias`, where the alias may be a version, `v3`.

        A unique end suffices: `name:alias`. Without an alias it is that of `latest`.

        Raises:
            FileMissingError: The bundle has no such artifact, or more than one.
            BundleDamagedError: The records of artifacts are damaged.
        """
        return self._artifacts.find(name, bundle=str(self.path))

    def close(self) -> None:
        """Close the file; runs can no longer be read."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, index: int) -> Run:
        return self._run_at(self._table.paths[index], index)

    def _run_at(self, path: RunPath, index: int) -> Run:
        return Run(path, RunSource(self._parts, index))

    def source_of(self, path: RunPath) -> RunSource:
        """Return where a run is stored.

        Raises:
            RunNotFoundError: The bundle has no run of exactly this path.
        """
        index = self._table.paths.find(path)
        if index is None:
            raise RunNotFoundError(f"no run {str(path)!r} in {str(self.path)!r}")
        return RunSource(self._parts, index)

    def _index_of(self, key: str) -> int | None:
        """Return the index of the run with this path; None if there is none."""
        for path in RunPath.written(key):
            if (index := self._table.paths.find(path)) is not None:
                return index
        return None

    def _find(self, key: str) -> int:
        index = self._index_of(key)
        if index is not None:
            return index
        found = self._short_names().get(key, [])
        if len(found) == 1:
            return found[0]
        if found:
            names = [self.run_paths[index] for index in found]
            raise RunNotFoundError(
                f"{key!r} is the id of {len(names)} runs in {str(self.path)!r}: {listed(names)}",
                hint="write entity/project/run_id",
            )
        called = [
            path for index, path in enumerate(self.run_paths) if self._table.value("name", index) == key
        ]
        if called:
            verb = "is the name of the run" if len(called) == 1 else f"is the name of {len(called)} runs:"
            raise RunNotFoundError(
                f"no run has the id {key!r} in {str(self.path)!r}", hint=f"it {verb} {listed(called)}"
            )
        contents = f"it has {listed(self.run_paths)}" if self.run_paths else "it has no runs"
        raise RunNotFoundError(
            f"no run {key!r} in {str(self.path)!r}",
            hint=did_you_mean(key, self._known_names(key), otherwise=contents, cutoff=0.5),
        )

    def _short_names(self) -> dict[str, list[int]]:
        """Return the indices of the runs by `project/run_id` and by `run_id`."""
        if self._short is None:
            short: dict[str, list[int]] = {}
            for index, path in enumerate(self._table.paths):
                short.setdefault(path.run_id, []).append(index)
                short.setdefault(f"{path.project}/{path.run_id}", []).append(index)
            self._short = short
        return self._short

    def _known_names(self, key: str) -> Collection[str]:
        """Return the names that have as many parts as an unknown one."""
        parts = key.count("/")
        if parts > 1:
            return self.run_paths
        return [name for name in self._short_names() if name.count("/") == parts]


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open a bundle, the folder that one was unzipped to, or a bundle set.

    Args:
        path: A path; or, with the extra `remote`, a URL that fsspec opens (`https://...`, `s3://...`): only
            the parts that are needed are downloaded, by range requests, and checked as a local bundle is.

    Raises:
        FileMissingError: There is no readable file or folder.
        AccessError: The URL cannot be reached, or its server does not support range requests.
        UsageError: It is a URL, and fsspec, or a library it needs for such a URL, is not installed.
        FormatTooNewError: The bundle has a later format version; the hint names the release to install.
        BundleDamagedError: Its bytes are not those that were written.
        UnsafeFileError: It is not a bundle, or has members, names or sizes that no bundle has.
    """
    if is_bundle_set(path):
        opened: Bundle = resolve_name(_OPEN_SET)(path)
        return opened
    container = container_at(path)
    try:
        return Bundle(container, load_index(container))
    except BaseException:
        container.close()
        raise


def _number_reader() -> NumberReader:
    from pull_logs.snapshot.read.number_columns import NumberReader

    return NumberReader()
