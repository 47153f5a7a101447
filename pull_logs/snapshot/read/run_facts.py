"""The facts about one run of an open bundle: all that is stored about it except its histories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath
from pull_logs.snapshot.format import (
    ARTIFACTS,
    CONSOLE,
    COVERAGE,
    HISTORY,
    SYSTEM,
    Container,
    Manifest,
    Resource,
    RunFolders,
    RunTable,
    coverage_from_fields,
    files_hash,
)
from pull_logs.snapshot.read.logged import RunArtifacts, RunConsole
from pull_logs.snapshot.read.metrics_index import MetricsIndex
from pull_logs.snapshot.read.run_files import RunFiles
from pull_logs.suggestions import counted, shortened

if TYPE_CHECKING:
    from pull_logs.snapshot.read.number_columns import NumberReader


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleParts:
    """What all runs of an open bundle are read from.

    Attributes:
        container: The members of the bundle.
        table: The table of runs.
        manifest: The content of `datapackage.json`.
        metrics: The index of metrics.
        numbers: Returns what decodes columns of numbers.
        folders: The folders of the runs.
        bundle_id: The identity of the bytes of the bundle.
    """

    container: Container
    table: RunTable
    manifest: Manifest
    metrics: MetricsIndex
    numbers: Callable[[], NumberReader]
    folders: RunFolders
    bundle_id: str


class RunSource(NamedTuple):
    """Where a run is stored: there is one for each of very many runs.

    Attributes:
        bundle: Its bundle.
        row: The row of the run in the table of runs.
    """

    bundle: BundleParts
    row: int

    def opened(self) -> RunSource:
        """Return it: the bundle is open."""
        return self


class Source(Protocol):
    """Where a run is stored, which may have to be opened first."""

    def opened(self) -> RunSource:
        """Return it, open."""


class RunFacts:
    """What a bundle stores about a run, apart from its histories; the bundle has to stay open.

    Nested facts (`config`, `summary`, ...) are parsed at each access and returned as new dicts, with NaN as
    a float.

    Attributes:
        path: `entity/project/run_id`.
    """

    __slots__ = ("_source", "path")

    def __init__(self, path: RunPath, source: Source) -> None:
        self.path = path
        self._source = source

    @property
    def bundle_id(self) -> str:
        """The identity of the bytes of its bundle."""
        return self._source.opened().bundle.bundle_id

    @property
    def _container(self) -> Container:
        return self._source.opened().bundle.container

    @property
    def _table(self) -> RunTable:
        return self._source.opened().bundle.table

    @property
    def _manifest(self) -> Manifest:
        return self._source.opened().bundle.manifest

    @property
    def _metrics(self) -> MetricsIndex:
        return self._source.opened().bundle.metrics

    @property
    def _numbers(self) -> Callable[[], NumberReader]:
        return self._source.opened().bundle.numbers

    @property
    def _folder(self) -> str:
        return self._source.opened().bundle.folders.of(self.path)

    @property
    def _index(self) -> int:
        return self._source.opened().row

    def __repr__(self) -> str:
        incomplete = "" if self.complete else ", incomplete"
        rows = counted(self.rows, "row")
        return f"<{type(self).__name__} {shortened(str(self.path))!r}: {self.state}, {rows}{incomplete}>"

    def _repr_html_(self) -> str:
        """Return the run as a notebook shows it: its facts, its config and its summary."""
        from pull_logs.frames import flatten
        from pull_logs.snapshot.notebook import html_values

        facts = {
            "name": self.name,
            "state": self.state,
            "rows": self.rows,
            "last step": self.last_step,
            "complete": self.complete,
        }
        return "".join(
            [
                html_values(str(self.path), facts),
                html_values("config", flatten(self.config)),
                html_values("summary", flatten(self.summary)),
            ]
        )

    def _fact(self, name: str) -> Any:
        source = self._source.opened()
        return source.bundle.table.cells[name][source.row]

    def _text(self, name: str) -> str | None:
        text: str | None = self._fact(name)
        return text

    def _document(self, name: str) -> dict[str, Any]:
        return self._table.document(name, self._index)

    @property
    def name(self) -> str:
        """The display name; untrusted text, not unique."""
        return str(self._fact("name"))

    @property
    def state(self) -> str:
        """Its state when it was pulled."""
        return str(self._fact("state"))

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        return tuple(self._fact("tags") or ())

    @property
    def group(self) -> str | None:
        """Its group."""
        return self._text("group")

    @property
    def job_type(self) -> str | None:
        """Its job type."""
        return self._text("job_type")

    @property
    def notes(self) -> str | None:
        """Its notes; untrusted text."""
        return self._text("notes")

    @property
    def sweep(self) -> str | None:
        """The id of its sweep."""
        return self._text("sweep")

    @property
    def user(self) -> str | None:
        """The user who logged it."""
        return self._text("user")

    @property
    def commit(self) -> str | None:
        """The commit of the code that logged it."""
        return self._text("commit")

    @property
    def created_at(self) -> str | None:
        """When it was created, UTC."""
        return self._text("created_at")

    @property
    def heartbeat_at(self) -> str | None:
        """When it was last seen, UTC."""
        return self._text("heartbeat_at")

    @property
    def host(self) -> str | None:
        """The host of the API it was read from."""
        return self._text("host")

    @property
    def config(self) -> dict[str, Any]:
        """Its config, unwrapped and without internal keys."""
        return self._document("config")

    @property
    def config_internal(self) -> dict[str, Any]:
        """The internal keys of its config."""
        return self._document("config_internal")

    @property
    def summary(self) -> dict[str, Any]:
        """Its summary, nested as logged."""
        return self._document("summary")

    @property
    def system_summary(self) -> dict[str, Any]:
        """Its last system metrics."""
        return self._document("system_summary")

    @property
    def metadata(self) -> dict[str, Any]:
        """The content of its `wandb-metadata.json`."""
        return self._document("metadata")

    @property
    def sweep_config(self) -> dict[str, Any] | None:
        """The config of its sweep; None without a sweep, and where it was not pulled."""
        return self._table.sweep_config(self._index)

    @property
    def last_seen(self) -> str | None:
        """The last day on which W&B saw it, if W&B no longer has it; None for any other run."""
        return self._text("last_seen")

    @property
    def via(self) -> str | None:
        """What read it from W&B where that was not this package, for example `sdk 0.31.0`."""
        return self._text("via")

    @property
    def parts(self) -> RunParts | None:
        """The parts that it was logged in; None where nothing shows that there are more than one."""
        return self._table.parts(self._index)

    @property
    def info(self) -> RunInfo:
        """All facts together."""
        return self._table.row(self._index).info

    @property
    def coverage(self) -> Coverage:
        """What W&B promised of its history, and what arrived."""
        return coverage_from_fields({name: self._fact(name) for name in COVERAGE})

    @property
    def complete(self) -> bool:
        """Whether the bundle has all rows that W&B promised when the run was pulled."""
        return bool(self._fact("complete"))

    @property
    def rows(self) -> int:
        """Rows of its history."""
        return int(self._fact("rows"))

    @property
    def first_step(self) -> int | None:
        """The first step, or None without rows."""
        step: int | None = self._fact("first_step")
        return step

    @property
    def last_step(self) -> int | None:
        """The last step, or None without rows."""
        step: int | None = self._fact("last_step")
        return step

    @property
    def rows_hash(self) -> str:
        """The identity of its rows, whichever writer encoded them: `sha256:<hex>`."""
        return self._history_resource.rows_hash or ""

    @property
    def system_rows_hash(self) -> str | None:
        """The identity of its system metrics, likewise; None without them."""
        resource = self._system_resource
        return resource.rows_hash if resource else None

    @property
    def writer(self) -> str:
        """The library that encoded its history."""
        return self._history_resource.writer

    @property
    def files(self) -> RunFiles:
        """The files that it logged and that were pulled (`fetch --files`), by name."""
        resources = self._manifest.files.get(self._folder, ())
        return RunFiles(self._container, resources, run=str(self.path), from_server=self.coverage.from_server)

    @property
    def files_hash(self) -> str | None:
        """The identity of its files, by names and bytes alone: `sha256:<hex>`; None without files."""
        return files_hash(file.record for file in self._manifest.files.get(self._folder, ()))

    @property
    def console(self) -> RunConsole | None:
        """What it printed, if that was pulled (`fetch --console`); None without a console log."""
        resource = self._manifest.consoles.get(f"{self._folder}/{CONSOLE}")
        return None if resource is None else RunConsole(self._container, resource, run=str(self.path))

    @property
    def console_hash(self) -> str | None:
        """The identity of its console log, whichever library compressed it; None without one."""
        resource = self._manifest.consoles.get(f"{self._folder}/{CONSOLE}")
        return None if resource is None else resource.record.text_hash

    @property
    def artifacts(self) -> RunArtifacts | None:
        """The artifacts that it logged and used, if those were pulled (`fetch --artifacts`)."""
        resource = self._manifest.contents.get(f"{self._folder}/{ARTIFACTS}")
        return None if resource is None else RunArtifacts(self._container, resource, run=str(self.path))

    @property
    def artifacts_hash(self) -> str | None:
        """The identity of the records of its artifacts, which name all contents; None without them."""
        resource = self._manifest.contents.get(f"{self._folder}/{ARTIFACTS}")
        return None if resource is None else resource.record.hash

    @property
    def data_hash(self) -> str:
        """The identity of all its data: rows, system metrics, files, console log and artifacts."""
        hashes = (
            self.rows_hash,
            self.system_rows_hash,
            self.files_hash,
            self.console_hash,
            self.artifacts_hash,
        )
        text = "\n".join(found or "" for found in hashes)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def stored_columns(self) -> dict[str, Any]:
        """The plain columns of the table of runs for it, and the JSON texts of its config and summary."""
        texts = {name: self._table.documents.text(name, self._index) for name in ("config", "summary")}
        return self._table.plain_values(self._index) | texts

    @property
    def history_start(self) -> int | None:
        """Where its `history.parquet` begins in the file of its bundle; None for an unzipped bundle."""
        return self._container.start_of(f"{self._folder}/{HISTORY}")

    @property
    def bundle_path(self) -> str:
        """The bundle that contains it, as it was opened."""
        return str(self._container.path)

    @property
    def bundle_location(self) -> str:
        """What opens its bundle in another process: a path, or the complete URL."""
        return self._container.location

    @property
    def remote(self) -> bool:
        """Whether its bundle is at a URL, so that bytes are downloaded each time they are read."""
        return self._container.remote

    @property
    def indexed(self) -> bool:
        """Whether its bundle has an index of metrics."""
        return self._metrics.available

    @property
    def optional_fields(self) -> frozenset[str]:
        """The optional columns of the table of runs for which it has a value."""
        return self._table.optional_fields(self._index)

    def close_bundle(self) -> None:
        """Close the bundle that contains it; nothing can be read from any of its runs afterwards."""
        self._container.close()

    @property
    def bundle_has_console(self) -> bool:
        """Whether its bundle has the console log of at least one run."""
        return bool(self._manifest.consoles)

    @property
    def bundle_has_artifacts(self) -> bool:
        """Whether its bundle has the artifacts of at least one run."""
        return bool(self._manifest.contents)

    @property
    def bundle_metrics(self) -> str | None:
        """The regular expression of the metrics that were kept in its bundle; None if all were."""
        return self._manifest.metrics

    @property
    def bundle_redacted(self) -> bool:
        """Whether its bundle records that something was removed from it."""
        return bool(self._manifest.redacted)

    @property
    def _history_resource(self) -> Resource:
        return self._manifest.resources[f"{self._folder}/{HISTORY}"]

    @property
    def _system_resource(self) -> Resource | None:
        return self._manifest.resources.get(f"{self._folder}/{SYSTEM}")
