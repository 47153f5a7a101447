"""An operation that writes what a user keeps, and how it is done in one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
from anyio._backends._asyncio import AsyncIOBackend
from artifactkit import Version, artifacts_of
from bundlekit import ROWS, SYSTEM_ROWS, bundle_run
from consolekit import console_of, printed
from diskmodel import Tree

from pull_logs.fetch.history import exported, pieces
from pull_logs.snapshot import disk, write_bundle
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write import seal
from pull_logs.snapshot.write.run_sources import BundleRun

OUT = "out.wandb.zip"
SPOOL = f"{OUT}.partial"


class _OneThread(Executor):
    """An executor that runs each call at once."""

    def __init__(self, *_: Any) -> None:
        """Need nothing."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **options))
        except BaseException as exc:  # noqa: BLE001 - it belongs to the caller
            future.set_exception(exc)
        return future


async def _at_once(call: Callable[..., Any], arguments: Sequence[Any], *_: Any, **__: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return call(*arguments)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run what usually runs in threads at once, so that the calls have the same order every time."""
    with ExitStack() as stack:
        for module in (disk, seal):
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", _OneThread))
        stack.enter_context(patch.object(AsyncIOBackend, "run_sync_in_worker_thread", _at_once))
        stack.enter_context(patch.object(exported, "check_cancelled", lambda: None))
        stack.enter_context(patch.object(pieces, "_IN_MEMORY", 1))  # each piece goes to the spool at once
        yield


def everything(tree: Tree) -> Tree:
    """A tree of which all counts."""
    return tree


def beside_temporary_folders(tree: Tree) -> Tree:
    """A tree in which only the names of temporary folders count: their files are removed, and never read."""
    return {
        path: None if ".pull-logs-" in path.rpartition("/")[0] else content for path, content in tree.items()
    }


@dataclass(frozen=True)
class Operation:
    """An operation that replaces `kept`, or creates it.

    Attributes:
        name: Its name.
        prepare: Makes what is there before.
        run: Does it.
        again: The command that a user runs after a crash; the same one if None.
        kept: The file or folder that the user keeps.
        relevant: The part of a tree that the command reads.
        partly: Whether the files of the folder `kept` are replaced one by one.
        acknowledged: Whether what is new is on the disk when the operation ends.
        apart: Whether the folder `kept` is replaced by two renamings, between which both are beside it.
        copied: Files that the user has just copied, so that nobody waited for them.
        works_in: How the names begin of what the operation makes and removes for itself.
        spare: Whether it is done elsewhere if the system refuses a call.
        gone: What is not there any more once success is reported.
        inconsistent: Returns what is wrong with what the user keeps, besides the bytes of its files.
        left: A part of the names of files that a killed process leaves and this command does not remove.
    """

    name: str
    prepare: Callable[[Path], object]
    run: Callable[[Path], object]
    again: Callable[[Path], object] | None = None
    kept: str = OUT
    relevant: Callable[[Tree], Tree] = everything
    partly: bool = False
    acknowledged: bool = True
    apart: bool = False
    copied: tuple[str, ...] = ()
    works_in: str = SPOOL
    spare: bool = False
    gone: str = ""
    inconsistent: Callable[[Tree], str] = lambda _: ""
    left: str = "no file has this name"


def nothing(_: Path) -> None:
    """Nothing is there before."""


def both(*calls: Callable[[Path], object]) -> Callable[[Path], object]:
    """Do one after the other."""

    def call(root: Path) -> None:
        for one in calls:
            one(root)

    return call


def earlier(name: str) -> Callable[[Path], object]:
    """Write an earlier file of that name."""
    return lambda root: (root / name).write_bytes(b"an earlier file\n" * 50)


def rich_runs(*, more: int = 0) -> list[BundleRun]:
    """Two runs, with files, media, a console log, system metrics and artifacts."""
    picture, table = b"\x89PNG" + b"p" * 700, b'{"columns": ["a"], "data": [[1], [2]]}'
    rows: list[dict[str, Any]] = [
        {"_step": 0, "loss": 1.5, "pic": {"_type": "image-file", "path": "media/images/pic.png"}},
        {"_step": 1, "loss": 0.5, "t": {"_type": "table-file", "path": "media/table/t.table.json"}},
        *({"_step": 2 + step, "loss": float(step)} for step in range(more)),
    ]
    weights = Version({"model.bin": b"w" * 1500, "model.json": b"{}"})
    contents = {"media/images/pic.png": picture, "media/table/t.table.json": table, "out.log": b"hello\n"}
    first = bundle_run("acme/nano/3fk2a", rows, system=SYSTEM_ROWS, config={"mail": "a.person@example.org"})
    first = replace(
        first,
        files=[TextFile(record_of(name, [data]), data) for name, data in contents.items()],
        console=console_of(printed(12)),
        artifacts=artifacts_of([weights]),
    )
    return [first, bundle_run("acme/nano/b", ROWS[:1], state="crashed")]


def bundle(name: str, *, more: int = 0) -> Callable[[Path], object]:
    """Write a bundle of two runs."""
    return lambda root: write_bundle(root / name, rich_runs(more=more))
