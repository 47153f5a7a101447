"""Whatever makes, names or removes a file is part of an operation here, or not what a user keeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache

import pytest
from checkout import ROOT
from crashkit import record
from crashoperations import OPERATIONS
from diskrecord import Site

PACKAGE = ROOT / "pull_logs"

_METHODS = frozenset(
    {
        *("write_text", "write_bytes", "touch", "truncate", "unlink", "mkdir", "rmdir"),
        *("rename", "hardlink_to", "symlink_to", "get_file"),
    }
)
_FUNCTIONS = frozenset(
    {
        *("os.link", "os.rename", "os.replace", "os.remove", "os.truncate", "sqlite3.connect"),
        *("shutil.rmtree", "shutil.copyfile", "shutil.copy", "shutil.copy2", "shutil.move"),
        *("shutil.copytree", "shutil.copyfileobj", "tempfile.mkdtemp", "tempfile.mkstemp"),
        *("tempfile.TemporaryDirectory", "tempfile.NamedTemporaryFile"),
    }
)
"""What makes, names or removes files; `tempfile.TemporaryFile` makes one without a name."""

_NAMES = _METHODS | {"open", "replace"} | {name.rpartition(".")[2] for name in _FUNCTIONS}

PART_OF: Mapping[str, str] = {
    "cli/pulling/uploads.py": (
        "upload: staged _Staging.prepare _Staging.publish; upload-lost: _Staging._forget"
    ),
    "fetch/cache_folder.py": "prune: _remove _remove_empty; cache: using_cache _take_lock",
    "fetch/files/console.py": "fetch: create_log",
    "fetch/files/download.py": "fetch: _append _truncate",
    "fetch/sdk/parts.py": "sdk-file: _take",
    "interface/archive.py": "archive: _locked archive_project",
    "interface/media.py": "media: save_media _save",
    "snapshot/disk.py": (
        "artifact: name_files sync_file; export-apart: _replace_folder; set-move: link_new publish_new; "
        "new-skill: make_folder new_file; media: name_folder; import: replace_file; "
        "write-redacted: remove_file"
    ),
    "snapshot/operations/export.py": ("export: _Export.write _Export._write_runs"),
    "snapshot/operations/exported_runs.py": (
        "export: RunFilesWriter._write_run _copy_files _csv _write_console"
    ),
    "snapshot/operations/exported_media.py": "export: export_media export_artifacts _write_table",
    "snapshot/read/logged/artifacts.py": "artifact: Artifact.download",
    "snapshot/sets/membership.py": "set-move: _remove",
    "snapshot/sets/store.py": (
        "set-move: LocalStore.__init__; set-add: LocalStore.put_member; "
        "set-compact: LocalStore.mark LocalStore.remove"
    ),
    "snapshot/write/bundled_run.py": "subset: SharedFile.open",
    "snapshot/write/content_store.py": (
        "contents: ContentStore.unfinished ContentStore.add_file; adopt: ContentStore._keep"
    ),
    "snapshot/write/folder_lock.py": (
        "set-move: FolderLock.__init__ FolderLock.remove_folder; restate: FolderLock.release"
    ),
    "snapshot/write/page_store.py": "resume: PageStore.append",
    "snapshot/write/seal.py": "import: _write",
    "snapshot/write/spool.py": "resume: Spool.files_folder; restate: Spool.open; contents: Spool._recover",
    "snapshot/write/spool_folder.py": (
        "fetch-unclaimed: SpoolFolder._discard_unclaimed; contents: SpoolFolder.create_folders; "
        "resume: SpoolFolder.remove_data SpoolFolder.remove_leftovers SpoolFolder.remove_pages"
    ),
    "snapshot/write/temporary_folder.py": "set-move: _create _remove",
    "sources/locations.py": "import: _read _tracked",
    "sources/stored_rows.py": "import: store_batch store_rows",
}
"""The operations of these tests, and functions that write in them, by module."""

NOT_KEPT: Mapping[str, Mapping[str, str]] = {
    "in a spool: what is missing or torn is found by its hash, and downloaded again": {
        "fetch/artifacts/download.py": "read_manifest_file",
        "fetch/files/console.py": "_empty",
        "fetch/files/download.py": "_attempt checked_file",
        "fetch/sdk/process.py": "SdkProcess._running",
        "fetch/sdk/program.py": "Reader.events Reader.rows",
        "fetch/sdk/program_parts.py": "manifest",
        "snapshot/write/page_file.py": "cut_torn_tail",
        "snapshot/write/page_merge.py": "settle_frames",
        "snapshot/write/page_store.py": "PageStore.recover",
        "snapshot/write/spool.py": "Spool.discard Spool.finish",
    },
    "in a temporary folder, of which the next command reads nothing": {
        "cli/commands/proofs/reconcile.py": "_open_logs",
        "cli/pulling/folder_refresh.py": "refresh_from_folders",
        "recording.py": "Recorder._copy",
        "snapshot/format/console/writer.py": "console_in_file",
        "sources/local_files.py": "copied_file copy_local_files",
        "sources/mlflow/artifacts.py": "served_artifacts",
        "sources/mlflow/tracker.py": "MlflowRun._values",
        "sources/remote_folders.py": "RemoteFolder._download",
        "sources/tensorboard/event_files.py": "RunReader._begin",
        "sources/tensorboard/media_files.py": "MediaWriter._write",
        "sources/tensorboard/tracker.py": "TensorBoardRun.read",
        "sources/wandb_folders/logged_artifacts.py": "_Copier._content",
        "sources/wandb_folders/segments.py": "_BatchFiles.__call__ _ConsoleFile.add read_segments",
    },
    "as the CSV of an export, in the folder that gets its name when it is on the disk": {
        "snapshot/operations/exported_runs.py": "_ndjson _parquet _raw_csv",
    },
    "unfinished work of an archive: a bundle that is lost with it is downloaded again": {
        "interface/archive.py": "_add_left",
    },
    "an open file that somebody else named": {
        "snapshot/format/compression/writer.py": "compress_text",
    },
    "the note of a local bundle says whether it may be used": {
        "snapshot/storage/upload.py": "download_object",
    },
    "a report of one run of a command, written in place, because it may be a pipe": {
        "cli/pulling/options.py": "write_json",
        "cli/regression_gate.py": "_write",
    },
    "findings can be found again, and SQLite has a journal of its own": {
        "interface/kept_texts.py": "_open",
    },
    "locks, which a loss of power releases": {
        "fetch/cache_folder.py": "_remove_free_locks",
    },
    "a database that is only read": {
        "sources/mlflow/sql_store.py": "open_read_only",
        "sources/trackio/databases.py": "_opened",
    },
}
"""Other functions by module, and why what they write is not kept or needs no wait of its own."""


def writes(node: ast.Call) -> bool:
    """Whether a call makes, names or removes a file or a folder."""
    last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if last not in _NAMES:
        return False
    name = ast.unparse(node.func)
    if name in _FUNCTIONS or name == "os.open":
        return name != "os.open" or "O_CREAT" in ast.unparse(node)
    if last == "open":
        given = node.args[1:2] if name in ("open", "io.open") else node.args[:1]
        modes = [*given, *(word.value for word in node.keywords if word.arg == "mode")]
        return any(isinstance(one, ast.Constant) and set(str(one.value)) & set("wax+") for one in modes)
    if last == "replace" and (len(node.args) != 1 or node.keywords):
        return False
    text = last == "replace" and isinstance(node.args[0], ast.Constant | ast.Dict)
    method = isinstance(node.func, ast.Attribute) and last in _METHODS | {"replace"}
    return method and not text


def writers_in(source: str) -> Iterator[str]:
    """The functions of a module in which there are such calls."""
    stack: list[tuple[ast.AST, str]] = [(ast.parse(source), "")]
    while stack:
        node, function = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call) and writes(node):
            yield function
        stack += [(child, function) for child in ast.iter_child_nodes(node)]


@cache
def _functions(module: str) -> list[tuple[int, int, str]]:
    """The first and the last line of each function and class of a module, and its name."""
    found: list[tuple[int, int, str]] = []
    stack: list[tuple[ast.AST, str]] = [(ast.parse((PACKAGE / module).read_text("utf-8")), "")]
    while stack:
        node, name = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}".lstrip(".")
            found.append((node.lineno, node.end_lineno or node.lineno, name))
        stack += [(child, name) for child in ast.iter_child_nodes(node)]
    return found


def _function_at(site: Site) -> str:
    module, line = site
    inner = max((found for found in _functions(module) if found[0] <= line <= found[1]), default=(0, 0, ""))
    return f"{module} {inner[2]}"


def _part_of() -> Iterator[tuple[str, str]]:
    """The operations, each with a function that writes in it."""
    for module, text in PART_OF.items():
        for part in filter(None, text.split("; ")):
            operation, _, functions = part.partition(": ")
            for function in functions.split():
                yield operation, f"{module} {function}"


def test_calls_that_write_are_found_with_their_functions() -> None:
    source = """
class A:
    def m(self):
        with path.open("wb") as out: pass
def f():
    open(path); path.open("rb"); text.replace("a", "b"); text.replace("a"); path.open()
def g():
    path.replace(other)
def h():
    os.open(path, os.O_RDWR | os.O_CREAT)
async def i():
    open(path, mode="x")
def j():
    thread(lambda: path.unlink(missing_ok=True))
"""
    assert sorted(writers_in(source)) == ["A.m", "g", "h", "i", "j"]


def test_whatever_writes_is_part_of_an_operation_or_not_kept() -> None:
    found = {
        f"{file.relative_to(PACKAGE).as_posix()} {function}"
        for file in PACKAGE.rglob("*.py")
        for function in writers_in(file.read_text("utf-8"))
    }
    others = {
        f"{module} {function}"
        for modules in NOT_KEPT.values()
        for module, functions in modules.items()
        for function in functions.split()
    }
    known = [*(function for _, function in _part_of()), *others]
    assert sorted(known) == sorted(found)


@pytest.mark.slow
def test_each_operation_makes_the_calls_that_are_said_to_be_part_of_it() -> None:
    missing = []
    for name in sorted({operation for operation, _ in _part_of()}):
        made = {_function_at(site) for event in record(OPERATIONS[name]).events for site in event.sites[:3]}
        missing += [
            f"{name}: {function}"
            for operation, function in _part_of()
            if operation == name and function not in made
        ]
    assert missing == []
