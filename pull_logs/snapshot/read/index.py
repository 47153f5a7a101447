"""The index of a bundle: its manifest and its table of runs, checked against each other and the container."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap, zip_longest
from operator import eq

from pull_logs.errors import BundleDamagedError, DataError, UnsafeFileError
from pull_logs.snapshot.format import (
    ARTIFACTS,
    CONSOLE,
    DIGEST,
    FORMAT,
    HISTORY,
    MANIFEST,
    MAX_FORMAT,
    MAX_MANIFEST,
    RUNS,
    SYSTEM,
    TABLES,
    Container,
    FileResource,
    Manifest,
    RunFolders,
    RunTable,
    check_digest,
    check_format,
    check_version,
    file_members,
    folder_of_table,
    load_runs_table,
    parse_manifest,
    run_folders,
    sha256,
    stored_form,
)
from pull_logs.suggestions import counted

_UNLISTED = (FORMAT, MANIFEST, DIGEST)
"""The members that the manifest does not name."""

_HISTORY_END, _SYSTEM_END = f"/{HISTORY}", f"/{SYSTEM}"

MAX_RUNS_TABLE = 2 * 2**30
"""Most bytes of `runs.parquet`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleIndex:
    """All that is read when a bundle is opened.

    Attributes:
        bundle_id: SHA-256 of the manifest: the identity of the bundle's bytes.
        manifest: The content of `datapackage.json`.
        table: The runs.
        folders: The folder of each run, in the order of the table.
    """

    bundle_id: str
    manifest: Manifest
    table: RunTable
    folders: RunFolders


def load_index(container: Container) -> BundleIndex:
    """Read and check the index of a bundle.

    The manifest is checked against its digest, the members against the manifest, `runs.parquet` against its
    hash, and the files of the runs against both.

    Raises:
        FormatTooNewError: The bundle has a later format version.
        BundleDamagedError: A part of the index is damaged, or its parts do not agree.
        UnsafeFileError: It has members, names or sizes that no bundle has.
    """
    path = str(container.path)
    version = check_format(container.read(FORMAT, limit=MAX_FORMAT), path=path)
    data = container.read(MANIFEST, limit=MAX_MANIFEST)
    bundle_id = check_digest(container.read(DIGEST, limit=MAX_FORMAT), data, path=path)
    manifest = parse_manifest(data, path=path, members=container.sizes)
    check_version(version, manifest.version, path=path)
    _check_members(container.sizes, manifest, path=path)
    del data  # of very many runs it is as large as what follows
    container.contents = manifest.contents
    resource = manifest.resources[RUNS]
    runs = container.read(RUNS, limit=MAX_RUNS_TABLE)
    if sha256(runs) != resource.hash:
        raise _damaged(path, f"{RUNS} does not have its hash", RUNS)
    table = load_runs_table(runs, rows=resource.rows, path=path)
    folders = _checked_folders(table, manifest, path=path)
    return BundleIndex(bundle_id=bundle_id, manifest=manifest, table=table, folders=folders)


def _check_members(sizes: Mapping[str, int], manifest: Manifest, *, path: str) -> None:
    """Check that a container of these members has those of the manifest, no others, and the same sizes."""
    known = (found for found in sizes.items() if found[0] not in _UNLISTED)
    if all(starmap(eq, zip_longest(known, manifest.sizes()))):
        return
    sizes = dict(sizes)
    for name in _UNLISTED:
        sizes.pop(name, None)
    for name, resource in manifest.members().items():
        expected = stored_form(resource).bytes
        size = sizes.pop(name, None)
        if size is None:
            raise _damaged(path, f"{name!r} is missing", name)
        if size != expected:
            raise _damaged(path, f"{name!r} has {size} bytes and should have {expected}", name)
    if sizes:
        raise UnsafeFileError(f"{path!r} is not safe to use: its manifest does not name {min(sizes)!r}")


def _checked_folders(table: RunTable, manifest: Manifest, *, path: str) -> RunFolders:
    """Return the folder of each run, and check that every run has its files and every file a run."""
    folders = run_folders(table.paths)
    resources, with_files, with_console, with_artifacts = manifest.resources, 0, 0, 0
    others = Counter(_folder_of(name) for name in resources if not name.endswith(_HISTORY_END))
    known = sum(name in resources for name in TABLES)
    for index, (rows, folder) in enumerate(zip(table.cells["rows"], folders, strict=True)):
        if resources.rows(folder + _HISTORY_END) != rows:
            run = str(table.paths[index])
            raise _damaged(path, f"{RUNS} and the manifest disagree about run {run!r}", RUNS)
        known += 1 + others[folder]
        with_console += f"{folder}/{CONSOLE}" in manifest.consoles
        with_artifacts += f"{folder}/{ARTIFACTS}" in manifest.contents
        if folder in manifest.files:
            with_files += 1
            _check_file_members(folder, manifest.files[folder], path=path)
    orphans = len(resources) - known + len(manifest.files) - with_files
    orphans += len(manifest.consoles) - with_console
    tables = sum(name.endswith(f"/{ARTIFACTS}") for name in manifest.contents)
    orphans += tables - with_artifacts + (0 if tables else len(manifest.contents))
    if orphans:
        raise _damaged(path, f"{counted(orphans, 'file')} without a run", MANIFEST)
    return folders


def _folder_of(name: str) -> str | None:
    """Return the folder of the run that system metrics or a logged table belong to; None for another file."""
    return name.removesuffix(_SYSTEM_END) if name.endswith(_SYSTEM_END) else folder_of_table(name)


def _check_file_members(folder: str, files: Sequence[FileResource], *, path: str) -> None:
    """Check that each file of a run has the member that belongs to its name."""
    try:
        members = file_members(folder, [file.record.name for file in files])
    except DataError as exc:
        raise UnsafeFileError(f"{path!r} is not safe to use: {exc.message}") from exc
    for file in files:
        if members[file.record.name] != file.path:
            raise UnsafeFileError(
                f"{path!r} is not safe to use: member {file.path!r} is not where the file"
                f" {file.record.name[:80]!r} belongs"
            )


def _damaged(path: str, reason: str, member: str) -> BundleDamagedError:
    return BundleDamagedError(f"{path!r} is damaged: {reason}", path=path, member=member)
