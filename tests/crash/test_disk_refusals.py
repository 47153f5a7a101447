"""The system refuses a call, as a full or a failing disk does: the error says so, and nothing is lost."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Iterable

import pytest
from crashkit import Recording, is_beside, kept_of, materialize, record, scratch
from crashoperations import OPERATIONS
from diskrecord import Kind, Recorder, recorded, tree_of
from operationkit import Operation, one_thread

from pull_logs.errors import PullLogsError

REFUSALS = (errno.ENOSPC, errno.EIO)


def refused(recording: Recording, at: int, number: int) -> str:
    """What is wrong when a call is refused; empty if nothing is."""
    operation, new = recording.operation, kept_of(recording.operation, recording.after)

    def refuse(call: int, _: Kind) -> int | None:
        return number if call == at else None

    with scratch() as root, one_thread():
        materialize(recording.before, root)
        error = ""
        with recorded(Recorder(root, refuse=refuse)):
            try:
                operation.run(root)
            except PullLogsError as exc:
                error = exc.message
            except OSError as exc:
                return f"an error of the system: {exc}"
        kept = kept_of(operation, tree_of(root))
        old = kept_of(operation, recording.before)
        if not error and operation.acknowledged and not operation.spare and kept != new:
            return "it was reported as done, and is not"
        beside = operation.apart and is_beside(tree_of(root), operation.kept, (old, new))
        if not operation.partly and kept not in (old, new) and not beside:
            return f"{operation.kept} is neither the old nor the new one after {error!r}"
        (operation.again or operation.run)(root)
        if kept_of(operation, tree_of(root)) != new:
            return f"the same command again does not end in the new one after {error!r}"
    return ""


def calls_of(operation: Operation) -> tuple[Recording, int]:
    """An operation, and the number of calls that can be refused."""
    recording, count = record(operation), 0

    def counted(call: int, _: Kind) -> None:
        nonlocal count
        count = call

    with scratch() as root, one_thread():
        materialize(recording.before, root)
        with recorded(Recorder(root, refuse=counted)):
            operation.run(root)
    return recording, count


def all_refused(operation: Operation, chosen: Iterable[int] | None = None) -> int:
    """Refuse each call once with each error; return how many that were."""
    recording, count = calls_of(operation)
    done, problems = 0, list[str]()
    for at in range(1, count + 1) if chosen is None else chosen:
        for number in REFUSALS:
            call = 1 + at % count
            problem = refused(recording, call, number)
            if problem:
                problems.append(f"{operation.name}, call {call}, {errno.errorcode[number]}: {problem}")
            done += 1
    assert problems == [], problems
    return done


@pytest.mark.parametrize("name", ["merge", "fetch", "export-over-one", "artifact", "skill"])
def test_some_calls_are_refused(name: str) -> None:
    all_refused(OPERATIONS[name], random.Random(name).sample(range(1000), 2))


def test_the_calls_that_lock_the_folder_of_an_upload_are_refused() -> None:
    all_refused(OPERATIONS["upload"], range(6, 12))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_call_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    began, total = time.process_time(), 0
    for operation in OPERATIONS.values():
        total += all_refused(operation)
    with capsys.disabled():
        seconds = time.process_time() - began
        print(f"\n{total} refused calls in {len(OPERATIONS)} operations, {seconds:.0f} s")  # noqa: T201
