"""Open a bundle and read from it: a mapping of run paths to runs.

Opening reads the directory, the manifest and the plain columns of
`runs.parquet`, all of them checked against their hashes. Everything else waits
until it is asked for, and is checked then: a small history by its hash, a large
one by that of its footer, and its pages by their checksums. `verify_bundle` is
the check of every byte.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from pull_logs.errors import BundleDamagedError, DataError, RunNotFoundError, UnsafeFileError
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import (
    DIGEST,
    FORMAT,
    HISTORY,
    LIGHT,
    MANIFEST,
    MAX_FORMAT,
    MAX_MANIFEST,
    RUNS,
    SYSTEM,
    Container,
    FileResource,
    Manifest,
    RunTable,
    check_digest,
    check_format,
    file_members,
    is_url,
    member_folders,
    open_container,
    parse_manifest,
    sha256,
)
from pull_logs.snapshot.read.run import Run

__all__ = ["Bundle", "Run", "open_bundle"]

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd

MAX_TABLE = 2 * 2**30
"""Bytes of `runs.parquet` that are read at all."""

_NEAREST = 5
_Default = TypeVar("_Default")


class Bundle(Mapping[str, Run]):
    """An open bundle; a mapping of `entity/project/run_id` to runs, in path order.

    Looking up also takes `project/run_id` and `run_id` where only one run has it.
    Several threads may read from it at once. Close it after use, or use it in `with`.

    Attributes:
        path: The file, or the folder that it was unzipped to; of a URL, what of it may be shown.
        manifest: What `datapackage.json` says.
        bundle_id: SHA-256 of the manifest: the identity of these bytes.
        content_id: The identity of the content, whichever writer encoded it.
        run_paths: `entity/project/run_id` of every run, in path order.
    """

    def __init__(self, container: Container) -> None:
        self.path = container.path
        self._container = container
        data = read_manifest_bytes(container)
        self.bundle_id = sha256(data)
        self.manifest = parse_manifest(data, path=str(self.path), members=container.sizes)
        self.content_id = self.manifest.content_id
        check_members(container, self.manifest)
        self._table = read_run_table(container, self.manifest)
        self._folders = tuple(check_runs(self._table, self.manifest, path=str(self.path)))
        self.run_paths = tuple(map(str, self._table.paths))
        self._places = {text: place for place, text in enumerate(self.run_paths)}
        self._short: dict[str, list[int]] | None = None

    def __getitem__(self, key: str | RunPath) -> Run:
        """The run of that path or id.

        Raises:
            RunNotFoundError: The bundle has none, or more than one.
        """
        return self._run(self._place(str(key)))

    @overload
    def get(self, key: str | RunPath, default: None = None) -> Run | None: ...
    @overload
    def get(self, key: str | RunPath, default: _Default) -> Run | _Default: ...
    def get(self, key: str | RunPath, default: object = None) -> object:
        """The run of that path or id, or `default` if there is not exactly one."""
        try:
            return self[key]
        except RunNotFoundError:
            return default

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, RunPath)):
            return False
        return str(key) in self._places or len(self._short_names().get(str(key), ())) == 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.run_paths)

    def __len__(self) -> int:
        return len(self.run_paths)

    def __repr__(self) -> str:
        return f"<Bundle {str(self.path)!r}: {len(self)} runs>"

    def runs(self) -> Iterator[Run]:
        """Every run, in path order."""
        return map(self._run, range(len(self.run_paths)))

    def runs_frame(self) -> pd.DataFrame:
        """A row a run: the plain columns of `runs.parquet`, then `config.KEY` and `summary.KEY` of every
        top-level key.

        Raises:
            BundleDamagedError: A config or summary cannot be read.
        """  # noqa: D205 - one sentence
        import pandas as pd

        columns: dict[str, list[Any]] = {"path": list(self.run_paths)}
        columns |= {name: self._table.column(name) for name in LIGHT}
        for document in ("config", "summary"):
            for place in range(len(self)):
                for key, value in self._table.document(document, place).items():
                    column = columns.setdefault(f"{document}.{key}", [None] * len(self))
                    column[place] = value
        return pd.DataFrame(columns)

    def close(self) -> None:
        """Give back the file; runs can be read no more."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, place: int) -> Run:
        return Run(self._container, self._table, self.manifest, self._folders[place], place)

    def _place(self, key: str) -> int:
        if key in self._places:
            return self._places[key]
        found = self._short_names().get(key, [])
        if len(found) == 1:
            return found[0]
        if found:
            names = [self.run_paths[place] for place in found]
            raise RunNotFoundError(
                f"{key!r} is the id of {len(names)} runs in {str(self.path)!r}: {_listed(names)}",
                hint="write entity/project/run_id",
            )
        near = difflib.get_close_matches(key, self._known_names(key), n=_NEAREST, cutoff=0.5)
        raise RunNotFoundError(
            f"no run {key!r} in {str(self.path)!r}",
            hint=f"the nearest are {_listed(near)}" if near else f"it has {_listed(self.run_paths)}",
        )

    def _short_names(self) -> dict[str, list[int]]:
        """The places of the runs by `project/run_id` and by `run_id`."""
        if self._short is None:
            short: dict[str, list[int]] = {}
            for place, path in enumerate(self._table.paths):
                short.setdefault(path.run_id, []).append(place)
                short.setdefault(f"{path.project}/{path.run_id}", []).append(place)
            self._short = short
        return self._short

    def _known_names(self, key: str) -> Collection[str]:
        """The names to compare a wrong one with: as many parts as it has."""
        parts = key.count("/")
        return (
            self.run_paths
            if parts > 1
            else [name for name in self._short_names() if name.count("/") == parts]
        )


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no runs"
    shown = ", ".join(map(repr, names[:_NEAREST]))
    return shown if len(names) <= _NEAREST else f"{shown} and {len(names) - _NEAREST} more"


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open a bundle, or the folder that one was unzipped to.

    Args:
        path: A path; or, with the extra `remote`, a URL that fsspec opens (`https://...`, `s3://...`): only what
            is needed is asked for, by requests for ranges, and checked as a local bundle is.

    Raises:
        FileMissingError: Nothing can be read there.
        AccessError: It lies behind a URL that cannot be asked, or not in ranges.
        UsageError: It is a URL, and fsspec, or what it needs for such a URL, is not installed.
        FormatTooNewError: It is of a version after this one; the hint names the release to install.
        BundleDamagedError: Its bytes are not what they were.
        UnsafeFileError: It is not a bundle, or holds what no bundle holds.
    """
    container = _container(path)
    try:
        return Bundle(container)
    except BaseException:
        container.close()
        raise


def _container(path: str | os.PathLike[str]) -> Container:
    if isinstance(path, str) and is_url(path):
        from pull_logs.snapshot.format import RemoteContainer

        return RemoteContainer(path)
    return open_container(Path(path))


def read_manifest_bytes(container: Container) -> bytes:
    """The bytes of the manifest, checked against their digest; FORMAT is checked before.

    Raises:
        BundleDamagedError: One of them is damaged.
        UnsafeFileError: One of them is too large.
    """
    path = str(container.path)
    check_format(container.read(FORMAT, limit=MAX_FORMAT), path=path)
    data = container.read(MANIFEST, limit=MAX_MANIFEST)
    check_digest(container.read(DIGEST, limit=MAX_FORMAT), data, path=path)
    return data


def check_members(container: Container, manifest: Manifest) -> None:
    """Check that the container holds what the manifest names, all of it and nothing else, in these sizes.

    Raises:
        BundleDamagedError: A file is missing or has another size.
        UnsafeFileError: A file is there that the manifest does not name.
    """
    path, sizes = str(container.path), dict(container.sizes)
    for name in (FORMAT, MANIFEST, DIGEST):
        sizes.pop(name, None)
    for name, resource in manifest.members().items():
        told = resource.record.bytes if isinstance(resource, FileResource) else resource.bytes
        size = sizes.pop(name, None)
        if size is None:
            raise BundleDamagedError(f"{path!r} is damaged: {name!r} is missing", path=path, member=name)
        if size != told:
            raise BundleDamagedError(
                f"{path!r} is damaged: {name!r} has {size} bytes and should have {told}",
                path=path,
                member=name,
            )
    if sizes:
        raise UnsafeFileError(f"{path!r} is not safe to use: its manifest does not name {min(sizes)!r}")


def read_run_table(container: Container, manifest: Manifest) -> RunTable:
    """`runs.parquet`, checked against its hash.

    Raises:
        BundleDamagedError: It is damaged.
        UnsafeFileError: It is too large.
    """
    path, resource = str(container.path), manifest.resources[RUNS]
    data = container.read(RUNS, limit=MAX_TABLE)
    if sha256(data) != resource.hash:
        raise BundleDamagedError(
            f"{path!r} is damaged: {RUNS} does not have its hash", path=path, member=RUNS
        )
    return RunTable(data, rows=resource.rows, path=path)


def check_runs(table: RunTable, manifest: Manifest, *, path: str) -> Iterator[str]:
    """The folder of each run, checked that its files are there and that nothing belongs to no run.

    Raises:
        BundleDamagedError: The runs and the files do not fit together.
        UnsafeFileError: A file does not lie where its name belongs.
    """
    folders = member_folders(table.paths)
    resources, known, with_files = manifest.resources, 1, 0
    for run, rows in zip(table.paths, table.column("rows"), strict=True):
        folder = folders[run]
        history = resources.get(f"{folder}/{HISTORY}")
        if history is None or history.rows != rows:
            raise BundleDamagedError(
                f"{path!r} is damaged: {RUNS} and the manifest disagree about run {str(run)!r}",
                path=path,
                member=RUNS,
            )
        known += 1 + (f"{folder}/{SYSTEM}" in resources)
        if folder in manifest.files:
            with_files += 1
            _check_places(folder, manifest.files[folder], path=path)
        yield folder
    lost = len(resources) - known + len(manifest.files) - with_files
    if lost:
        raise BundleDamagedError(
            f"{path!r} is damaged: {lost} files belong to no run", path=path, member=MANIFEST
        )


def _check_places(folder: str, files: Sequence[FileResource], *, path: str) -> None:
    """Make sure that each file of a run lies where its name belongs, so that no name can stand for another."""
    try:
        places = file_members(folder, [file.record.name for file in files])
    except DataError as exc:
        raise UnsafeFileError(f"{path!r} is not safe to use: {exc.message}") from exc
    for file in files:
        if places[file.record.name] != file.path:
            raise UnsafeFileError(
                f"{path!r} is not safe to use: member {file.path!r} is not where the file"
                f" {file.record.name[:80]!r} belongs"
            )
