"""Files that are downloaded while what decodes them is imported: none twice, and none that is not needed."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import httpx
import pytest
from anyio.abc import TaskGroup
from pulling import assert_rows, pull_from
from scripted_wandb import FakeRun, ScriptedWandb, once, rows_of, to_storage

from pull_logs.fetch import attempt
from pull_logs.fetch.api import Download
from pull_logs.fetch.discovery import EarlyFiles, FoundRun

pytestmark = pytest.mark.anyio

TRUTH = {f"r{number}": rows_of(range(number, number + 30)) for number in range(3)}
EARLY = 4
"""The files that are downloaded early, of the six that there are."""


class SlowImport:
    """An import that ends when some files were requested.

    Attributes:
        before: The files that were requested before it ended.
    """

    def __init__(self, server: ScriptedWandb, *, files: int) -> None:
        self.before = -1
        self._server, self._files, self._enough = server, files, Event()
        server.faults.insert(0, self._count)

    def _count(self, _: httpx.Request) -> None:
        if self._requested() >= self._files:
            self._enough.set()

    def _requested(self) -> int:
        return sum(map(to_storage, self._server.requests))

    def __call__(self, _: str) -> None:
        assert self._enough.wait(timeout=60)
        self.before = self._requested()


def wandb() -> ScriptedWandb:
    return ScriptedWandb(*(FakeRun.exported(run_id, rows, shards=2) for run_id, rows in TRUTH.items()))


async def test_the_first_files_arrive_meanwhile_and_each_is_requested_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = wandb()
    importing = SlowImport(server, files=EARLY)
    monkeypatch.setattr(attempt, "import_module", importing)
    report = await pull_from(server, tmp_path / "b.zip", concurrency=EARLY)
    assert_rows(tmp_path / "b.zip", TRUTH)
    assert (importing.before, report.requests, report.incomplete) == (EARLY, 1 + 6, ())
    files = [name for name in server.operations() if name.startswith("GET")]
    assert len(files) == len(set(files)) == 6


async def test_an_early_file_that_is_refused_is_treated_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = []
    for files in (0, EARLY):
        server = wandb()
        server.faults.append(once(httpx.Response(403), when=to_storage))
        monkeypatch.setattr(attempt, "import_module", SlowImport(server, files=files))
        await pull_from(server, tmp_path / f"{files}.zip", concurrency=EARLY)
        assert_rows(tmp_path / f"{files}.zip", TRUTH)
        operations.append(sorted(name.split()[0] for name in server.operations()))
    assert operations[0] == operations[1]


@pytest.mark.parametrize(("fresh", "most"), [(False, 0), (True, EARLY)])
async def test_no_file_is_downloaded_early_if_an_interrupted_pull_may_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fresh: bool, most: int
) -> None:
    listed, found, taken = Event(), [], []

    class Recorded(EarlyFiles):
        def begin(self, run: FoundRun, group: TaskGroup) -> None:
            super().begin(run, group)
            found.append(run)
            if len(found) == len(TRUTH):
                listed.set()

        async def take(self, url: str) -> Download | None:
            file = await super().take(url)
            taken.append(file is not None)
            return file

    monkeypatch.setattr(attempt, "EarlyFiles", Recorded)
    monkeypatch.setattr(attempt, "import_module", lambda _: listed.wait(timeout=60))
    (tmp_path / "b.zip.partial").mkdir()
    await pull_from(wandb(), tmp_path / "b.zip", concurrency=EARLY, fresh=fresh)
    assert_rows(tmp_path / "b.zip", TRUTH)
    assert (len(taken), sum(taken)) == (6, most)
