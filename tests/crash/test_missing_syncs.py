"""Without any one wait for the disk, or with a renaming in another order, a state is wrong."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from checkout import ROOT
from crashkit import Judge, record
from crashoperations import OPERATIONS
from diskmutants import DISK, DURABLE, Call, calls, calls_in, failing_state, mutants

QUICK = ("save", "skill", "artifact", "restate", "media", "import")
"""Operations with few calls that use all functions of `pull_logs.snapshot.disk`."""

NOTHING_LOST = {
    "snapshot/disk.py name_folder: folder.rename": "an earlier export is missing for longer, and made again",
    "snapshot/disk.py name_folder: replaced.rename": "made only when a renaming failed",
    "fetch/cache.py _install: sealed.replace": "a cached run that is lost is downloaded again",
    "fetch/sdk/parts.py _take: written.replace": "in a spool: checked by its hash when it is used",
    "snapshot/disk.py publish_new: file.rename": "made only where there are no hard links",
    "snapshot/storage/upload.py download_object: temporary.replace": "not used without its note",
    "snapshot/write/content_store.py add_file: file.replace": "likewise",
}
"""Renamings of which no order matters, and why."""

COVERED = {
    "snapshot/disk.py link_new: sync_file": "the model begins with a given bundle that is on the disk",
    "snapshot/disk.py link_new: sync_folder": "the given file stays until the catalog waited for the folder",
    "snapshot/sets/store.py put_member: link_new": "both of these",
}
"""Waits that another one covers in the model, and why."""


def survivors(names: Collection[str], found: Collection[Call], *, most_reruns: int) -> dict[str, str]:
    """Each call that can be left out or moved, with the operations that make it."""
    judges = [Judge(record(OPERATIONS[name])) for name in names]
    judges.sort(key=lambda judge: len(judge.recording.events))
    left: dict[str, str] = {}
    for call in found:
        for how in ("earlier", "later") if call.renames else ("without",):
            made = []
            for judge in judges:
                events = mutants(judge.recording.events, call).get(how)
                if events is None:
                    continue
                made.append(judge.recording.operation.name)
                if failing_state(judge, events, most_reruns=most_reruns) is not None:
                    break
            else:
                left[f"{call} {how}"] = ", ".join(made)
    return left


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
    left = survivors(QUICK, found, most_reruns=0)
    assert [name for name, made in left.items() if made] == []
    assert len(left) < len(found) / 2  # calls that only other operations make


def test_what_is_renamed_elsewhere_needs_no_order() -> None:
    """Files get their names in `disk.py`, except those of which no order matters."""
    elsewhere = {str(call) for call in calls() if call.renames and call.module != DISK}
    assert elsewhere == {name for name in NOTHING_LOST if not name.startswith(DISK)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_wait_for_the_disk_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    found = calls()
    left = survivors(OPERATIONS, found, most_reruns=250)
    waits = [call for call in found if not call.renames]
    renames = [call for call in found if call.renames]
    with capsys.disabled():
        print(f"\n{len(waits)} waits, {len(renames)} renamings; left: {left}")  # noqa: T201
    assert {name.rpartition(" ")[0] for name in left} == NOTHING_LOST.keys() | COVERED.keys()
