from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from bundlekit import ROWS, SYSTEM_ROWS, bundle_run, make_bundle, run_info, two_runs
from spoolkit import PLAN, opened

from pull_logs.errors import BundleDamagedError, DataError, FileMissingError, PullLogsError, UsageError
from pull_logs.rows.batches import batch_from_rows, batch_rows, system_batch_from_rows
from pull_logs.rows.merge import Lane, LanedBatch
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import disk as disk_module
from pull_logs.snapshot.format.parquet_write import write_table
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.write import encoded_history, page_store
from pull_logs.snapshot.write.run_sources import BundleRun, CopiedRun, RunExtras
from pull_logs.snapshot.write.seal import write_bundle
from pull_logs.snapshot.write.spool import Spool
from pull_logs.snapshot.write.stored_run import read_stored, store_run

RUN = RunPath("acme", "nano", "3fk2a")
COVERAGE = Coverage(received_rows=3, received_last_step=4)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "sweep.wandb.zip"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def pages(count: int) -> list[list[dict[str, Any]]]:
    return [[{"_step": 10 * page + row, "loss": page / 7} for row in range(5)] for page in range(count)]


def filled(out: Path, count: int) -> Path:
    """Create a spool with that many pages of a run, close it, and return the file of the pages."""
    with opened(out) as begun:
        for number, page in enumerate(pages(count)):
            begun.append(RUN, Lane.SHARD, batch_from_rows(page), key=f"shard:{number}")
        return begun.frames(RUN)[0].file


def test_pages_are_there_again_after_a_crash(out: Path) -> None:
    filled(out, 3)
    with opened(out) as again:
        found = again.frames(RUN)
        assert [(frame.lane, frame.key, frame.rows) for frame in found] == [
            (Lane.SHARD, "shard:0", 5),
            (Lane.SHARD, "shard:1", 5),
            (Lane.SHARD, "shard:2", 5),
        ]
        assert [list(batch_rows(frame.load())) for frame in found] == pages(3)
        assert again.frames(RunPath("acme", "nano", "other")) == ()


def test_a_torn_tail_costs_the_page_that_was_written_and_no_other(out: Path, tmp_path: Path) -> None:
    file = filled(out, 3)
    data = file.read_bytes()
    with opened(out) as begun:
        ends = [frame.start + frame.size for frame in begun.frames(RUN)]
    for cut in [*ends, *random.Random(1).sample(range(len(data)), 40)]:
        file.write_bytes(data[:cut])
        with opened(out) as again:
            expected = sum(end <= cut for end in ends)
            assert len(again.frames(RUN)) == expected
            again.append(RUN, Lane.LIVE, batch_from_rows(pages(1)[0]), key="live")
        with opened(out) as later:
            assert [frame.key for frame in later.frames(RUN)][expected:] == ["live"]


def test_a_flipped_byte_in_a_page_ends_what_is_read(out: Path) -> None:
    file = filled(out, 3)
    data = file.read_bytes()
    with opened(out) as begun:
        ends = [0, *(frame.start + frame.size for frame in begun.frames(RUN))]
    for offset in random.Random(2).sample(range(len(data)), 60):
        file.write_bytes(data[:offset] + bytes([data[offset] ^ 0x40]) + data[offset + 1 :])
        with opened(out) as again:
            assert len(again.frames(RUN)) == sum(end <= offset for end in ends) - 1


def test_pages_in_any_order_and_lane_become_one_history(out: Path) -> None:
    with opened(out) as begun:
        begun.append(RUN, Lane.LIVE, batch_from_rows(ROWS[1:]), key="live")
        begun.append(RUN, Lane.SHARD, batch_from_rows(ROWS[:2]), key="shard")
        finished = begun.finish(run_info(), COVERAGE, RunExtras(system=system_batch_from_rows(SYSTEM_ROWS)))
        assert finished.history.rows == 3
        assert begun.frames(RUN) == ()
        begun.seal()
    direct = out.with_name("direct.wandb.zip")
    write_bundle(direct, [bundle_run(system=SYSTEM_ROWS)], force=True)
    assert out.read_bytes() == direct.read_bytes()


def test_a_sealed_spool_leaves_the_bundle_and_nothing_else(out: Path) -> None:
    with opened(out) as begun:
        begun.store(run_info(), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))])
        report = begun.seal()
    assert names_in(out.parent) == [out.name]
    assert (report.path, report.bytes, report.runs, report.rows) == (out, out.stat().st_size, 1, 3)
    bundle = open_bundle(out)
    assert (bundle.bundle_id, bundle.content_id) == (report.bundle_id, report.content_id)
    assert report.incomplete == ()


def test_a_run_that_was_finished_earlier_is_used_again(out: Path) -> None:
    with opened(out) as begun:
        begun.store(run_info(), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))])
        begun.append(RunPath("acme", "nano", "b"), Lane.SHARD, batch_from_rows(ROWS[:1]), key="shard")
    with opened(out) as again:
        assert list(again.stored) == [RUN]
        found = again.stored[RUN]
        assert (found.coverage, found.history.rows, found.info()) == (COVERAGE, 3, run_info())
        again.finish(run_info("acme/nano/b"), Coverage(received_rows=1, received_last_step=0))
        again.seal()
    assert open_bundle(out).run_paths == ("acme/nano/3fk2a", "acme/nano/b")


def test_a_finished_run_that_is_damaged_is_fetched_again(out: Path) -> None:
    with opened(out) as begun:
        file = begun.store(run_info(), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))]).file
    data = file.read_bytes()
    page_lost = data[:40] + bytes(40) + data[80:]
    for broken in (b"", data[:-1], data[:50], data[:-60] + bytes(1) + data[-59:], data[1:], page_lost):
        file.write_bytes(broken)
        with opened(out) as again:
            assert not again.stored
            assert not file.exists()


def test_a_crash_between_finishing_and_tidying_leaves_no_pages(out: Path) -> None:
    file = filled(out, 2)
    data = file.read_bytes()
    with opened(out) as begun:
        begun.finish(run_info(), COVERAGE)
    file.write_bytes(data)
    with opened(out) as again:
        assert again.frames(RUN) == ()
        assert list(again.stored) == [RUN]


def test_a_run_under_a_temporary_name_is_not_finished(out: Path) -> None:
    """A process killed before the renaming leaves a complete file, but a discarded run must not come back."""
    with opened(out) as begun:
        file = begun.store(run_info(), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))]).file
    file.rename(file.with_name(file.name + ".tmp"))
    with opened(out) as again:
        assert dict(again.stored) == {}
        assert names_in(file.parent) == []


def test_another_plan_is_refused_with_the_next_step(out: Path) -> None:
    filled(out, 1)
    with pytest.raises(UsageError) as caught:
        Spool.open(out, plan={"runs": ["acme/nano/other"]})
    folder = f"{out}.partial"
    assert caught.value.message == f"{folder!r} holds what arrived for another selection of runs"
    assert caught.value.hint == "run that command again to finish it, pass --fresh, or delete the folder"
    with Spool.open(out, plan=dict(reversed(PLAN.items()))) as again:
        assert len(again.frames(RUN)) == 1


def test_many_runs_finish_at_once_in_threads(out: Path) -> None:
    runs = [f"acme/nano/r{number}" for number in range(24)]

    def work(path: str) -> None:
        run = RunPath(*path.split("/"))
        for number, page in enumerate(pages(3)):
            begun.append(run, Lane.SHARD, batch_from_rows(page), key=str(number))
        begun.finish(run_info(path), Coverage(received_rows=15, received_last_step=24))

    with opened(out) as begun:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, runs))
        begun.seal()
    bundle = open_bundle(out)
    assert bundle.run_paths == tuple(sorted(runs))
    assert {run.rows_hash for run in bundle.runs()} == {bundle[runs[0]].rows_hash}


def test_a_discarded_run_is_forgotten(out: Path) -> None:
    filled(out, 2)
    with opened(out) as begun:
        begun.store(run_info("acme/nano/b"), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))])
        begun.discard(RUN)
        begun.discard(RunPath("acme", "nano", "b"))
        begun.discard(RunPath("acme", "nano", "never"))
    with opened(out) as again:
        assert (again.frames(RUN), dict(again.stored)) == ((), {})


def test_a_run_of_another_bundle_is_adopted_byte_for_byte(out: Path, tmp_path: Path) -> None:
    old = make_bundle(tmp_path / "old.wandb.zip")
    with open_bundle(old) as bundle, opened(out) as begun:
        for run in bundle.runs():
            begun.adopt(run)
        begun.seal()
    assert out.read_bytes() == old.read_bytes()


class FullDisk:
    """From now on, no more than `left` bytes can be flushed: the system refuses the rest."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, file: BinaryIO) -> None:
        file.flush()
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    disk = FullDisk(10**9)
    for module, name in (
        (disk_module, "sync"),
        (disk_module, "flush"),
        (page_store, "flush"),
    ):
        monkeypatch.setattr(module, name, disk)
    return disk


def all_the_rest(begun: Spool) -> None:
    begun.append(RUN, Lane.SHARD, batch_from_rows(ROWS[2:]), key="second")
    begun.finish(run_info(), COVERAGE)
    begun.seal()


@pytest.mark.parametrize("step", ["append", "finish", "seal"])
def test_a_full_disk_is_one_clear_error_and_loses_nothing_that_was_kept(
    out: Path, full_disk: FullDisk, step: str
) -> None:
    with opened(out) as begun:
        begun.append(RUN, Lane.SHARD, batch_from_rows(ROWS[:2]), key="first")
        full_disk.left = ["append", "finish", "seal"].index(step)
        with pytest.raises(PullLogsError) as caught:
            all_the_rest(begun)
    assert caught.value.message == f"the disk is full, {str(out)!r} is not finished"
    assert caught.value.hint == (
        f"what arrived is kept in {str(out) + '.partial'!r}: free some space and run the same command again"
    )
    assert not out.exists()
    full_disk.left = 10**9
    with opened(out) as again:
        assert len(again.frames(RUN)) == {"append": 1, "finish": 2, "seal": 0}[step]
        if step == "append":
            again.append(RUN, Lane.SHARD, batch_from_rows(ROWS[2:]), key="second")
        if step != "seal":
            again.finish(run_info(), COVERAGE)
        again.seal()
    assert open_bundle(out)[str(RUN)].rows == 3


class Full:
    """A disk that is full."""

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_under_the_encoder_leaves_no_complaint_of_a_library(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with contextlib.suppress(OSError):
        write_table(lambda: [batch_from_rows(ROWS)], Full())  # type: ignore[arg-type]
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_under_the_encoder_is_the_same_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(batches: encoded_history.Batches, sink: BinaryIO, **options: Any) -> object:
        return write_table(batches, Full(), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(encoded_history, "write_table", encode)
    monkeypatch.setattr("pull_logs.snapshot.write.spool._ENCODED_IN_MEMORY", -1)  # as for a long run
    with opened(out) as begun, pytest.raises(PullLogsError) as caught:
        begun.store(run_info(), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))])
    assert caught.value.message == f"the disk is full, {str(out)!r} is not finished"
    assert names_in(begun.folder / "runs") == []


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError) as caught:
        opened(tmp_path / "none" / "a.wandb.zip")
    folder = str(tmp_path / "none" / "a.wandb.zip.partial")
    assert str(caught.value) == f"{folder!r} cannot be written: its folder does not exist"
    with pytest.raises(FileMissingError):
        write_bundle(tmp_path / "none" / "a.wandb.zip", two_runs(), force=True)


def test_a_stored_run_that_goes_bad_before_the_seal_is_found(out: Path) -> None:
    with opened(out) as begun:
        file = begun.store(run_info(), COVERAGE, [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))]).file
        data = file.read_bytes()
        file.write_bytes(data[:10] + bytes([data[10] ^ 1]) + data[11:])
        with pytest.raises(BundleDamagedError) as caught:
            begun.seal()
    assert caught.value.message.startswith(f"the new bundle {str(out)!r} was not written as it should be: ")
    assert caught.value.hint == "remove what was spooled and try again"
    assert not out.exists()


def test_a_bundle_is_the_same_whatever_order_its_runs_come_in(tmp_path: Path) -> None:
    runs = [bundle_run(f"acme/p{number % 3}/r{number}", ROWS[: number % 4]) for number in range(12)]
    first = make_bundle(tmp_path / "a.wandb.zip", runs).read_bytes()
    for seed in range(3):
        random.Random(seed).shuffle(runs)
        assert make_bundle(tmp_path / "b.wandb.zip", runs).read_bytes() == first
    assert sorted(names_in(tmp_path)) == ["a.wandb.zip", "b.wandb.zip"]


def test_a_bundle_is_the_same_in_any_process(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; import bundlekit; bundlekit.make_bundle(Path(sys.argv[1]))"
    made = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.wandb.zip"
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=True)
        made.append(path.read_bytes())
    assert made[0] == made[1] == make_bundle(tmp_path / "0.wandb.zip").read_bytes()


@pytest.mark.parametrize("copied", [False, True])
def test_each_run_brings_its_redaction_counts_and_the_manifest_has_their_sum(
    tmp_path: Path, *, copied: bool
) -> None:
    counts = [{"email": 2, "api-key": 1}, {}, {"email": 3}]
    runs = [
        replace(bundle_run(f"acme/nano/r{number}"), redacted=redacted)
        for number, redacted in enumerate(counts)
    ]
    out = tmp_path / "a.wandb.zip"
    write_bundle(out, runs, force=True)
    if copied:
        with open_bundle(out) as bundle:
            copies = [
                CopiedRun(run=run, redacted=redacted)
                for run, redacted in zip(bundle.runs(), counts, strict=True)
            ]
            write_bundle(out, copies, read=bundle.runs(), force=True)
    with open_bundle(out) as bundle:
        assert bundle.manifest.redacted == {"api-key": 1, "email": 5}


def test_a_stored_run_keeps_its_redaction_counts(tmp_path: Path) -> None:
    run = replace(bundle_run(), redacted={"email": 2})
    first = store_run(tmp_path / "a.run", run)
    assert first.redacted == {"email": 2}
    assert read_stored(first.file, contents=first.file.parent) == first


def test_a_run_given_twice_is_a_usage_error(out: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_bundle(out, [bundle_run(), bundle_run()], force=True)
    assert str(caught.value) == "run 'acme/nano/3fk2a' is given twice"
    assert names_in(out.parent) == []


def test_a_run_that_cannot_be_stored_leaves_the_old_bundle_alone(out: Path) -> None:
    make_bundle(out)
    before = out.read_bytes()
    bad = BundleRun(
        info=run_info("acme/nano/c"),
        coverage=COVERAGE,
        batches=lambda: [batch_from_rows(ROWS), batch_from_rows(ROWS)],
    )
    with pytest.raises(DataError):
        write_bundle(out, [*two_runs(), bad], force=True)
    assert out.read_bytes() == before
    assert names_in(out.parent) == [out.name]


def test_incomplete_runs_are_reported(out: Path) -> None:
    short = Coverage(promised_rows=9, received_rows=3, complete=False, reason="6 rows did not arrive")
    report = write_bundle(out, [bundle_run(coverage=short)], force=True)
    assert report.incomplete == ((RUN, "6 rows did not arrive"),)
    run = open_bundle(out)[str(RUN)]
    assert (run.complete, run.coverage) == (False, short)
