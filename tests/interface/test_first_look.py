"""A first look with workers finds what one without them does; a worker that fails costs only time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundlekit import bundle_run, make_bundle, unzipped
from checkout import RECORDED

from pull_logs.analyze import Subject, overview
from pull_logs.errors import BundleDamagedError
from pull_logs.fetch import default_folder
from pull_logs.interface import Sources, first_look, open_subjects, overview_of
from pull_logs.interface.first_look import Part, find_in_part, look_first, serve_parts
from pull_logs.interface.known_findings import KnownFindings, known_findings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_look, "FEWEST_RUNS", 2)
    monkeypatch.setattr(first_look, "_RUNS_AT_ONCE", 3)


@contextmanager
def recorded() -> Iterator[Sequence[Subject]]:
    with open_subjects(Sources(bundles=(RECORDED,)), report=pytest.fail) as subjects:
        yield subjects


@pytest.mark.parametrize("select", [None, "^val/"])
def test_workers_and_this_process_find_together_what_one_process_finds(select: str | None) -> None:
    alone, together = KnownFindings(None), KnownFindings(None)
    with recorded() as subjects:
        expected = overview(subjects, select=select, known=alone)
        look_first(subjects, together, select=select, workers=1)
        assert dict(together.new) == dict(alone.new)
        assert overview_of(subjects, select=select, workers=1) == expected
        with known_findings(default_folder()) as known:
            look_first(subjects, known, select=select, workers=1)
            assert known.new == ()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
@pytest.mark.parametrize(("columns", "found"), [(2, True), (10**6, False)])
def test_few_runs_of_many_columns_are_looked_at_in_copies(
    columns: int,
    found: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_look, "FEWEST_RUNS", 10**6)
    monkeypatch.setattr(first_look, "FEWEST_COLUMNS", columns)
    # The threads of the program that runs tests do not matter to a copy.
    monkeypatch.setattr("pull_logs.executors.forked_map.can_fork", lambda: True)
    alone, together = KnownFindings(None), KnownFindings(None)
    with recorded() as subjects:
        overview(subjects, known=alone)
        look_first(subjects, together, select=None, workers=1)
    assert dict(together.new) == (dict(alone.new) if found else {})


@pytest.mark.parametrize(("answers", "runs"), [(0, 6), (1, 3), (2, 6)])
def test_what_a_lost_worker_had_is_found_by_the_overview(
    answers: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker ends after it has answered so many parts, and has as many runs then."""

    class Lost:
        def __init__(self) -> None:
            self.parts: list[Part] = []
            self.answered = 0

        def poll(self) -> bool:
            return True

        def send(self, part: Part) -> None:
            self.parts.append(part)

        def recv(self) -> Any:
            if self.answered == answers:
                raise EOFError
            self.answered += 1
            return find_in_part(self.parts.pop(0))

    @contextmanager
    def lost(_: int) -> Iterator[list[Any]]:
        yield [Lost()]

    monkeypatch.setattr(first_look, "_workers", lost)
    monkeypatch.setattr("pull_logs.executors.forked_map.can_fork", lambda: False)  # else no worker is started
    with recorded() as subjects:
        alone, together = KnownFindings(None), KnownFindings(None)
        expected = overview(subjects, known=alone)
        look_first(subjects, together, select=None, workers=1)
        missing = dict(alone.new).keys() - dict(together.new).keys()
        assert len(missing) == runs
        assert overview(subjects, known=together) == expected


def test_a_damaged_history_is_the_error_of_the_overview(tmp_path: Path) -> None:
    def rows(number: int) -> list[dict[str, Any]]:
        return [{"_step": step, "loss": number / (1 + step)} for step in range(20)]

    runs = [bundle_run(f"acme/nano/r{number}", rows(number)) for number in range(4)]
    folder = unzipped(make_bundle(tmp_path / "a.wandb.zip", runs), tmp_path / "a")
    file = next(folder.rglob("run=r2/history.parquet"))
    file.write_bytes(file.read_bytes().replace(b"loss", b"lofs"))
    with (
        open_subjects(Sources(bundles=(folder,)), report=pytest.fail) as subjects,
        pytest.raises(BundleDamagedError, match=r"history\.parquet of run 'acme/nano/r2'"),
    ):
        overview_of(subjects, workers=1)
    assert find_in_part(Part(str(tmp_path / "none"), ("a/b/c",), None)) == ()


def test_a_worker_ends_with_its_connection() -> None:
    ours, theirs = Pipe()
    ours.send(Part(str(RECORDED), (), None))
    ours.close()
    serve_parts(theirs)


def test_few_runs_and_no_workers_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def workers(_: int) -> list[Connection]:
        pytest.fail("a worker was started")

    monkeypatch.setattr(first_look, "_workers", workers)
    known = KnownFindings(None)
    with recorded() as subjects:
        look_first(subjects, known, select=None, workers=0)
        look_first(subjects[:1], known, select=None, workers=1)
    assert known.new == ()
