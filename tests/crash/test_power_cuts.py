"""A loss of power at any call leaves the old file, the new one, or what the same command finishes.

A state has a number, and the environment variable CRASH_STATE=OPERATION:NUMBER chooses it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence

import pytest
from crashkit import VARIANTS, Judge, Recording, record
from crashoperations import OPERATIONS
from diskmodel import digest

ONCE = 24
"""How many states of each operation a usual run judges; the same command is run again in `AGAIN` of them."""

AGAIN = 1
EVERY = int(os.environ.get("CRASH_EVERY", "8"))
"""In every n-th state of a long run the same command is run again."""


def chosen(recording: Recording, count: int) -> list[int]:
    """The numbers of the states to judge: one from the environment, or some that a seed chooses."""
    name, _, number = os.environ.get("CRASH_STATE", "").partition(":")
    if name == recording.operation.name:
        return [int(number)]
    seed = os.environ.get("CRASH_SEED", "0")
    numbers = random.Random(f"{recording.operation.name} {seed}").sample(range(recording.count), count - 1)
    return sorted([*numbers, recording.count - 1])


def judged(judge: Judge, numbers: Sequence[int], again: Sequence[int]) -> None:
    """Fail for the first state that is wrong, with the command that shows it again."""
    name = judge.recording.operation.name
    rerun = set(again)
    for state in judge.recording.states(judge.recording.events, numbers):
        problem = judge.problem(state, rerun=state.number in rerun)
        if problem:
            call = state.number // VARIANTS
            last = judge.recording.events[call - 1] if call else None
            after = f"call {call}, {last.kind} {last.path} at {last.sites[:1]}" if last else "the start"
            sizes = {path: None if one is None else len(one) for path, one in sorted(state.tree.items())}
            pytest.fail(
                f"{problem}\nstate {state.number} of {name}, after {after}: {sizes}\n"
                f"CRASH_STATE={name}:{state.number} pytest -n 0 tests/crash/test_power_cuts.py -k {name}"
            )


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("plot", "report")])
def test_some_states_after_a_loss_of_power(name: str) -> None:
    recording = record(OPERATIONS[name])
    numbers = chosen(recording, min(ONCE, recording.count))
    again = random.Random(name).sample(numbers, min(AGAIN, len(numbers)))
    judged(Judge(recording), numbers, again)


@pytest.mark.parametrize("name", ["adopt", "bundle-over-one", "fetch", "export", "artifact"])
def test_every_call_is_recorded_and_a_number_is_always_the_same_state(name: str) -> None:
    first, second = record(OPERATIONS[name]), record(OPERATIONS[name])
    (state,) = first.states(first.events, [first.count - VARIANTS])
    assert state.tree == first.after
    numbers = range(0, first.count, 97)
    left, right = (one.states(one.events, numbers) for one in (first, second))
    same = Judge(first).compared
    assert [digest(same(one.tree)) for one in left] == [digest(same(one.tree)) for one in right]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_all_states_after_a_loss_of_power(capsys: pytest.CaptureFixture[str]) -> None:
    lines, total = [], 0
    for name, operation in OPERATIONS.items():
        began = time.process_time()
        judge = Judge(record(operation))
        count = judge.recording.count
        judged(judge, range(count), range(0, count, EVERY))
        total += count
        calls, seconds = len(judge.recording.events), time.process_time() - began
        lines.append(f"| {name} | {calls} | {count} | {len(judge.seen)} | {judge.reruns} | {seconds:.0f} |")
        with capsys.disabled():
            print(lines[-1], flush=True)  # noqa: T201
    assert total >= 100_000
    with capsys.disabled():
        print(f"{total} states")  # noqa: T201
