"""Sets on object storage: requests that fail within a compaction or a drop, and writers that meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from objectserver import ObjectServer, every_service_slowly
from setkit import held
from writerkit import (
    BEFORE,
    PAIRS,
    Work,
    add,
    add_again,
    check,
    compact,
    drop,
    expected,
    meet,
)

from pull_logs.errors import PullLogsError
from pull_logs.snapshot import open_bundle_set, open_store

pytest_plugins = ["setfixtures"]


@pytest.fixture
def fresh(lab: ObjectServer, template: Path) -> Callable[[], str]:
    """Makes that set under another prefix, and returns its URL."""
    system = lab.system()
    numbers = count()

    def copied() -> str:
        name = str(next(numbers))
        for file in (template / "set").rglob("*"):
            if file.is_file():
                path = file.relative_to(template / "set").as_posix()
                system.pipe_file(f"lab/{name}/{path}", file.read_bytes())
        return lab.at(f"{name}/")

    return copied


Fault = Callable[[str, str], str]


def fail(server: ObjectServer, fresh: Callable[[], str], given: Path, work: Work, fault: Fault) -> bool:
    """Let requests of a work fail, look at the set, and do it again; return whether it failed."""
    url, failed = fresh(), False
    server.fault = fault
    try:
        work(open_store(url), given)
    except PullLogsError:
        failed = True
    finally:
        server.fault = lambda _method, _path: ""
    with open_bundle_set(url) as opened:
        found = held(opened)
    assert found in (BEFORE, expected(work))
    if failed and (work is not drop or found == BEFORE):
        work(open_store(url), given)
    check(url, expected(work))
    return failed


@every_service_slowly
@pytest.mark.parametrize(
    ("work", "request_part"),
    [
        (drop, "PUT catalog-"),
        (compact, "PUT compact-"),
        (compact, "PUT catalog-"),
        (compact, "PUT .removed/"),
        (compact, "DELETE .wandb.zip"),
        (compact, "DELETE catalog-"),
    ],
)
def test_a_request_of_a_change_that_fails_loses_nothing(
    lab: ObjectServer, fresh: Callable[[], str], template: Path, work: Work, request_part: str
) -> None:
    """The set is the former or the new one, and the same command completes it."""
    method, part = request_part.split()

    def fault(asked: str, path: str) -> str:
        return "503" if asked == method and part in path else ""

    assert fail(lab, fresh, template / "given", work, fault)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", ["lost", "reset", "cut"])
@pytest.mark.parametrize("work", [compact, drop, add, add_again], ids=lambda work: work.__name__)
def test_storage_that_goes_away_at_each_request(
    lab: ObjectServer, fresh: Callable[[], str], template: Path, work: Work, fault: str
) -> None:
    """From each request on, also where an answer is lost: `pytest -m slow tests/snapshot/sets`."""
    for at in count():
        numbers = count()

        def fails(_method: str, _path: str, numbers: Iterator[int] = numbers, at: int = at) -> str:
            return fault if next(numbers) >= at else ""

        if not fail(lab, fresh, template / "given", work, fails):
            break
    assert at > 4


@every_service_slowly
@pytest.mark.parametrize(("first", "second", "at"), [(compact, add_again, 20), (add, compact, 3)])
def test_writers_of_a_prefix_meet(
    fresh: Callable[[], str], template: Path, first: Work, second: Work, at: int
) -> None:
    """No run is lost, and the catalog names members that exist."""
    url = fresh()
    assert meet(first, second, url, template / "given", at)
    check(url, expected(first, second))


@pytest.mark.parametrize(("work", "opened"), [(add, 0), (compact, 7)])
def test_a_version_that_is_removed_between_two_requests_for_it_is_not_there(
    fresh: Callable[[], str], template: Path, monkeypatch: pytest.MonkeyPatch, work: Work, opened: int
) -> None:
    """Opening a version only asks for its size; it is read afterwards."""
    url, given, numbers = fresh(), template / "given", count()
    store = open_store(url)
    found = store.open_catalog

    def open_slowly(version: int) -> object:
        source = found(version)
        if next(numbers) == opened:
            compact(open_store(url), given)
        return source

    monkeypatch.setattr(store, "open_catalog", open_slowly)
    work(store, given)
    check(url, expected(work))
    assert next(numbers) > opened


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda work: work.__name__)
def test_writers_of_a_prefix_meet_at_many_steps(
    fresh: Callable[[], str], template: Path, first: Work, second: Work
) -> None:
    """All pairs at every seventh step; tests of two writers of a folder have each step."""
    for at in count(step=7):
        url = fresh()
        if not meet(first, second, url, template / "given", at):
            break
        check(url, expected(first, second))
