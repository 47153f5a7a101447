"""Files are replaced and removed only while nothing has them open, as Windows demands."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle, run_info
from logwriting import row, run, write_run_folder
from openfiles import refuse_open_files

from pull_logs.rows.batches import batch_from_rows
from pull_logs.runs import Coverage
from pull_logs.snapshot import (
    Spool,
    export_runs,
    merge_bundles,
    open_bundle,
    subset_bundle,
    temporary_folder,
)
from pull_logs.snapshot.privacy import redact_bundle
from pull_logs.sources import import_runs

if not Path("/proc/self/fd").exists():
    pytest.skip("open files are found in /proc", allow_module_level=True)


@pytest.fixture(autouse=True)
def as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_open_files(monkeypatch)


def test_the_interface_refuses_what_is_open(tmp_path: Path) -> None:
    held, other = tmp_path / "held", tmp_path / "other"
    held.write_bytes(b"1")
    other.write_bytes(b"2")
    with held.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        source.close()
        assert mapped[:1] == b"1"
        for work in (held.unlink, lambda: other.replace(held), lambda: held.rename(tmp_path / "new")):
            with pytest.raises(PermissionError, match="being used by another process"):
                work()
    with held.open("rb"), pytest.raises(PermissionError):
        tmp_path.rename(tmp_path.with_name("moved"))
    other.replace(held)
    held.unlink()


def test_merge_replaces_one_of_its_bundles(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "a.zip", [bundle_run("e/p/a")])
    second = make_bundle(tmp_path / "b.zip", [bundle_run("e/p/b")])
    with open_bundle(first) as left, open_bundle(second) as right:
        merge_bundles([left, right], first)
        assert len(list(right["b"].scan_history())) == 3
    with open_bundle(first) as merged:
        assert merged.run_paths == ("e/p/a", "e/p/b")


@pytest.mark.parametrize("metrics", [None, "loss"])
def test_subset_replaces_its_bundle(metrics: str | None, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a.zip")
    with open_bundle(bundle) as opened:
        subset_bundle([opened["b"]], bundle, metrics=metrics, force=True)
    with open_bundle(bundle) as kept:
        assert kept.run_paths == ("acme/nano/b",)


def test_redact_replaces_its_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a.zip", [bundle_run(config={"password": "hunter2-hunter2"})])
    assert redact_bundle(bundle, bundle).findings
    assert b"hunter2" not in bundle.read_bytes()


def test_import_and_export_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_run_folder(
        tmp_path / "wandb", "run-20260101_000000-abc", [run("abc"), *[row(step, x=step) for step in range(9)]]
    )
    import_runs([tmp_path / "wandb"], out=out / "a.zip")
    for force in (False, True):
        with open_bundle(out / "a.zip") as opened:
            export_runs(opened.runs(), out / "plain", to="csv", force=force)
    assert sorted(item.name for item in out.iterdir()) == ["a.zip", "plain"]


def test_a_temporary_folder_is_removed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        (folder / "x").write_bytes(b"")
    assert not list(tmp_path.iterdir())


def test_a_finished_download_leaves_the_bundle_alone(tmp_path: Path) -> None:
    for _ in range(2):
        with Spool.open(tmp_path / "a.zip", plan={}) as spool:
            spool.store_merged(run_info(), Coverage(), lambda: [batch_from_rows([{"_step": 1}])])
            spool.seal()
        assert [item.name for item in tmp_path.iterdir()] == ["a.zip"]
