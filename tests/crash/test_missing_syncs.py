"""Without any one wait for the disk, or with a renaming in another order, a state is wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pytest
from checkout import ROOT
from crashkit import Judge, record
from crashoperations import OPERATIONS
from diskmutants import DISK, DURABLE, Call, calls, calls_in, failing_state, is_refused, mutants

QUICK = (
    *("skill", "new-skill", "artifact", "media", "import"),
    *("set-add", "set-move-copied", "set-move-without-links"),
)
"""Operations with few calls that use most functions of `pull_logs.snapshot.disk`."""

OTHERS = ("name_folder: exchange", "name_folder: _replace_folder", "_replace_folder: ", "remove_file: ")
"""Calls of that module that only operations with more calls make."""

_OTHERS = tuple(f"{DISK} {name}" for name in OTHERS)


@dataclass
class Found:
    """What was found of the calls, left out or moved.

    Attributes:
        left: Those with which nothing is wrong, with the operations that make them.
        refused: Those that the system refuses.
        wrong: Those after which a state is wrong.
    """

    left: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def judge(self, call: Call, how: str, judges: Sequence[Judge], most_reruns: int) -> None:
        """Judge a call in these operations."""
        made = []
        for judge in judges:
            trace = mutants(judge.recording.trace, call).get(how)
            if trace is None:
                continue
            made.append(judge.recording.operation.name)
            if call.renames and is_refused(judge.recording, trace):
                self.refused.append(f"{call} {how}")
                return
            if failing_state(judge, trace, most_reruns=most_reruns) is not None:
                self.wrong.append(f"{call} {how}")
                return
        self.left[f"{call} {how}"] = ", ".join(made)


def survey(names: Collection[str], found: Collection[Call], *, most_reruns: int) -> Found:
    """Leave out each wait, and move each renaming to both sides."""
    judges = [Judge(record(OPERATIONS[name])) for name in names]
    judges.sort(key=lambda judge: len(judge.recording.events))
    result = Found()
    for call in found:
        for how in ("earlier", "later") if call.renames else ("without",):
            result.judge(call, how, judges, most_reruns)
    return result


def test_the_calls_of_a_module_are_found_with_their_lines() -> None:
    source = """
def save(path):
    with (
        errors(path),
        new_file(path, durable=durable) as out,
    ):
        out.write(b"")
    pool.submit(sync_file, path)
    new_file(path, durable=False)
    text.replace("a", "b")
    path.replace(other)
"""
    found = [(call.name, call.first, call.last) for call in sorted(calls_in(source, "m.py"))]
    assert found == [("new_file", 3, 5), ("path.replace", 11, 11), ("sync_file", 8, 8)]


def test_the_functions_that_wait_for_the_disk_are_known() -> None:
    assert {
        "sync",
        "sync_file",
        "sync_folder",
        "new_file",
        "write_file",
        "replace_file",
        "name_folder",
    } < DURABLE
    assert not {"disk_errors", "flush"} & DURABLE


def test_no_call_of_the_disk_module_can_be_left_out_or_moved() -> None:
    found = set(calls_in((ROOT / "pull_logs" / DISK).read_text("utf-8"), DISK))
    left = survey(QUICK, found, most_reruns=0).left
    assert {name: made for name, made in left.items() if made or not name.startswith(_OTHERS)} == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_wait_for_the_disk_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    found = calls()
    result = survey(OPERATIONS, found, most_reruns=250)
    waits = [call for call in found if not call.renames]
    with capsys.disabled():
        print(f"\n{len(waits)} waits, {len(found) - len(waits)} renamings in two orders")  # noqa: T201
        print(f"{len(result.wrong)} wrong, {len(result.refused)} refused: {result.refused}")  # noqa: T201
    assert result.left == {}
