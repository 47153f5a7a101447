"""What the model says that a loss of power may leave, on calls that were recorded from the real system."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from crashkit import scratch
from diskmodel import Disk, RefusedError, states
from diskrecord import Event, Recorder, recorded, tree_of
from hypothesis import example, given
from hypothesis import strategies as st

from pull_logs.snapshot import disk
from pull_logs.snapshot.disk import new_file, sync, sync_file, sync_folder

OLD, NEW = b"o" * 1000, b"n" * 1300


def left_by(before: dict[str, bytes], work: Callable[[Path], Any]) -> set[tuple[tuple[str, bytes], ...]]:
    """The files that may be there after a loss of power at the end, or at any call before it."""
    return {
        tuple(sorted((path, content) for path, content in state.tree.items() if content is not None))
        for state in _states(before, work, last_only=False)
    }


def left_at_end(before: dict[str, bytes], work: Callable[[Path], Any]) -> list[dict[str, bytes]]:
    """The files that may be there after a loss of power when everything was done."""
    found: list[dict[str, bytes]] = []
    for state in _states(before, work, last_only=True):
        files = {path: content for path, content in state.tree.items() if content is not None}
        if files not in found:
            found.append(files)
    return found


def _states(before: dict[str, bytes], work: Callable[[Path], Any], *, last_only: bool) -> Sequence[Any]:
    with scratch() as root:
        for path, content in before.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(content)
        tree = tree_of(root)
        with recorded(Recorder(root)) as recorder:
            work(root)
        events, count = recorder.events, 200
        numbers = range(len(events) * count if last_only else 0, (len(events) + 1) * count)
        return list(states("law", tree, events, numbers, variants=count))


def write(root: Path, name: str, data: bytes = NEW, *, durable: bool = True) -> None:
    with (root / name).open("wb") as out:
        out.write(data)
        if durable:
            sync(out)


def test_bytes_that_were_not_waited_for_are_there_in_any_part_or_not() -> None:
    found = {files["a"] for files in left_at_end({"a": b""}, lambda root: write(root, "a", durable=False))}
    assert {b"", NEW, bytes(1300), NEW[:512], NEW[:512] + bytes(788), NEW[:1024]} <= found
    sectors = {NEW[at : at + 512] for at in range(0, 1300, 512)} | {bytes(512), bytes(276)}
    assert all(data[at : at + 512] in sectors for data in found for at in range(0, len(data), 512))


def test_bytes_that_were_waited_for_are_there() -> None:
    assert left_at_end({"a": b""}, lambda root: write(root, "a")) == [{"a": NEW}]


def test_a_new_name_is_there_when_its_folder_was_waited_for() -> None:
    assert left_at_end({}, lambda root: write(root, "a")) == [{"a": NEW}, {}]

    def work(root: Path) -> None:
        write(root, "a")
        sync_folder(root)

    # The folder itself is the recorded one, which was there before.
    assert left_at_end({}, work) == [{"a": NEW}]


def test_a_name_without_its_bytes_is_possible() -> None:
    def work(root: Path) -> None:
        write(root, "a", durable=False)
        sync_folder(root)

    assert {"a": b""} in left_at_end({}, work)


def test_a_file_in_a_new_folder_needs_both_names() -> None:
    def work(root: Path) -> None:
        (root / "f").mkdir()
        write(root / "f", "a")
        sync_folder(root / "f")

    assert left_at_end({}, work) == [{"f/a": NEW}, {}]


def test_a_removed_name_may_come_back() -> None:
    assert left_at_end({"a": OLD}, lambda root: (root / "a").unlink()) == [{}, {"a": OLD}]

    def work(root: Path) -> None:
        (root / "a").unlink()
        sync_folder(root)

    assert left_at_end({"a": OLD}, work) == [{}]


def test_a_file_that_is_replaced_is_the_old_or_the_new_one_if_its_bytes_came_first() -> None:
    def work(root: Path) -> None:
        write(root, "t")
        (root / "t").replace(root / "a")

    found = {dict(files)["a"] for files in left_by({"a": OLD}, work)}
    assert found == {OLD, NEW}


def test_a_file_that_is_replaced_before_its_bytes_are_there_may_be_torn() -> None:
    def work(root: Path) -> None:
        write(root, "t", durable=False)
        (root / "t").replace(root / "a")
        sync_file(root / "a")
        sync_folder(root)

    found = {dict(files)["a"] for files in left_by({"a": OLD}, work)}
    assert {OLD, NEW, b"", bytes(1300), NEW[:512]} <= found
    assert left_at_end({"a": OLD}, work) == [{"a": NEW}]


def test_a_renamed_file_has_one_of_its_names_or_both() -> None:
    def work(root: Path) -> None:
        (root / "f" / "a").rename(root / "g" / "b")

    before = {"f/a": OLD, "g/other": b""}
    names = [sorted(files) for files in left_at_end(before, work)]
    assert sorted(names) == [["f/a", "g/b", "g/other"], ["f/a", "g/other"], ["g/b", "g/other"]]

    def waited(root: Path) -> None:
        work(root)
        sync_folder(root / "f")

    assert left_at_end(before, waited) == [{"g/b": OLD, "g/other": b""}]


def test_two_exchanged_names_are_both_the_old_ones_or_both_the_new_ones() -> None:
    def work(root: Path) -> None:
        disk.exchange(root / "a", root / "f" / "b")

    before = {"a": OLD, "f/b": NEW}
    assert left_at_end(before, work) == [{"a": NEW, "f/b": OLD}, before]

    def waited(root: Path) -> None:
        work(root)
        sync_folder(root)

    assert left_at_end(before, waited) == [{"a": NEW, "f/b": OLD}]


def test_a_copy_that_nobody_waited_for_may_be_torn_or_missing() -> None:
    def copied(work: Callable[[Path], Any]) -> list[dict[str, Any]]:
        with scratch() as root:
            write(root, "a")
            tree = tree_of(root)
            with recorded(Recorder(root)) as recorder:
                work(root)
            count = len(recorder.events)
            numbers = range(count * 40, count * 40 + 40)
            found = states("law", tree, recorder.events, numbers, variants=40, copied=["a"])
            return [dict(state.tree) for state in found]

    left = copied(lambda _: None)
    assert {} in left
    assert {"a": bytes(1300)} in left
    assert {"a": NEW} in left

    def waited(root: Path) -> None:
        sync_file(root / "a")
        sync_folder(root)

    assert all(tree == {"a": NEW} for tree in copied(waited))


def test_a_file_that_was_moved_away_keeps_its_new_name_when_the_old_one_is_taken_again() -> None:
    def work(root: Path) -> None:
        (root / "f" / "a").rename(root / "g" / "b")
        write(root / "f", "a")
        sync_folder(root / "f")

    assert left_at_end({"f/a": OLD, "g/other": b""}, work) == [{"f/a": NEW, "g/b": OLD, "g/other": b""}]


@pytest.mark.parametrize(
    "events",
    [
        [Event("rename", "none", target="b")],
        [Event("rename", "f", target="g")],
        [Event("rename", "a", target="g")],
        [Event("link", "a", target="g/b")],
        [Event("exchange", "a", target="none")],
        [Event("unlink", "g")],
        [Event("mkdir", "none/f")],
        [Event("read", "none")],
        [Event("unlink", "a"), Event("read", "a")],
        [Event("rename", "a", target="b"), Event("read", "a")],
    ],
)
def test_what_the_system_refuses_is_refused(events: list[Event]) -> None:
    model = Disk({"a": b"1", "f": None, "g": None, "g/b": b"2"})
    for event in events[:-1]:
        model.apply(event)
    with pytest.raises(RefusedError):
        model.apply(events[-1])


def test_what_was_read_is_recorded_and_no_state_comes_of_it(tmp_path: Path) -> None:
    write(tmp_path, "old")
    with recorded(Recorder(tmp_path)) as recorder:
        write(tmp_path, "a")
        (tmp_path / "a").read_bytes()
        (tmp_path / "old").open("rb").close()
    assert [(event.kind, event.path) for event in recorder.trace[-2:]] == [("read", "a"), ("read", "old")]
    assert [event.kind for event in recorder.events] == ["create", "write", "fsync"]


def test_two_names_of_one_folder_are_lost_each_for_itself() -> None:
    def work(root: Path) -> None:
        write(root, "a")
        write(root, "b")

    names = {tuple(sorted(files)) for files in left_at_end({}, work)}
    assert names == {(), ("a",), ("b",), ("a", "b")}


def test_a_new_file_is_the_old_or_the_complete_new_one_and_in_the_end_the_new_one() -> None:
    def work(root: Path) -> None:
        with new_file(root / "a") as out:
            out.write(NEW)

    assert {dict(files)["a"] for files in left_by({"a": OLD}, work)} == {OLD, NEW}
    assert left_at_end({"a": OLD}, work) == [{"a": NEW}]


NAMES = st.sampled_from(["a", "b", "f/a", "f/b", "f"])
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=40)),
        st.tuples(st.just("append"), NAMES, st.binary(max_size=40)),
        st.tuples(st.just("truncate"), NAMES, st.integers(0, 60)),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("exchange"), NAMES, NAMES),
        st.tuples(st.just("link"), NAMES, NAMES),
        st.tuples(st.just("unlink"), NAMES, st.none()),
        st.tuples(st.just("mkdir"), NAMES, st.none()),
        st.tuples(st.just("rmdir"), NAMES, st.none()),
        st.tuples(st.just("sync"), NAMES, st.none()),
    ),
    max_size=12,
)


def make(root: Path, kind: str, path: Path, more: Any) -> None:
    """Make a call; the system may refuse it."""
    if kind in ("rename", "exchange", "link"):
        naming: dict[str, Callable[[Path, Path], Any]] = {"rename": os.rename, "link": os.link}
        naming.get(kind, disk.exchange)(path, root / more)
        return
    match kind:
        case "write":
            path.write_bytes(more)
        case "append":
            with path.open("ab") as out:
                out.write(more)
        case "truncate":
            os.truncate(path, more)
        case "unlink":
            path.unlink()
        case "mkdir":
            path.mkdir()
        case "rmdir":
            path.rmdir()
        case "sync":
            (sync_folder if path.is_dir() else sync_file)(path)
        case _:
            raise ValueError(kind)


@given(CALLS)
@example([("mkdir", "f", None), ("write", "f/a", b"1"), ("rename", "f/a", "a"), ("sync", "a", None)])
def test_without_a_crash_the_model_has_what_the_system_has(calls: list[tuple[str, str, Any]]) -> None:
    with scratch() as root:
        (root / "a").write_bytes(OLD)
        before = tree_of(root)
        with recorded(Recorder(root)) as recorder:
            for kind, name, more in calls:
                try:
                    make(root, kind, root / name, more)
                except OSError:
                    continue
        after = tree_of(root)
        (state,) = states("law", before, recorder.events, [len(recorder.events)], variants=1)
        assert state.tree == after
        with recorded(recorder):
            for path in sorted(after, reverse=True):
                (sync_folder if after[path] is None else sync_file)(root / path)
            sync_folder(root)
        count = len(recorder.events)
        found = states("law", before, recorder.events, range(count * 20, count * 20 + 20), variants=20)
        assert all(state.tree == after for state in found)


def test_what_is_renamed_into_the_recorded_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "f").mkdir()
    with (
        recorded(Recorder(tmp_path / "f")),
        pytest.raises(AssertionError, match="moved into the recorded folder, or out of it"),
    ):
        (tmp_path / "a").rename(tmp_path / "f" / "a")


def test_the_number_of_calls_is_that_of_the_disk() -> None:
    disk = Disk({"a": b""})
    assert (disk.count, len(disk.pending().names), len(disk.pending().files)) == (0, 0, 0)
