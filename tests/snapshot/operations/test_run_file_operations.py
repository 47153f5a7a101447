"""Files of runs in what is made of bundles: after a crash, differences, merges, subsets, exports."""

from __future__ import annotations

import hashlib
import json
from itertools import permutations
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle, members_of
from runfilekit import CONTENTS, FOLDER, contents_in, merged, with_files

from pull_logs.cli.main import main
from pull_logs.errors import (
    DataError,
    MergeConflictError,
)
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import (
    diff_bundles,
    export_runs,
    open_bundle,
    subset_bundle,
)
from pull_logs.snapshot.format.file_record import FileRecord
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write.run_sources import BundleRun, RunExtras
from pull_logs.snapshot.write.spool import Spool

EARLY, LATE = "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "good.wandb.zip", [with_files(), bundle_run("acme/nano/b")])


def test_a_finished_run_keeps_its_files_over_a_crash(tmp_path: Path) -> None:
    out, run = tmp_path / "b.wandb.zip", with_files()
    with Spool.open(out, plan={}) as spool:
        position = spool.files_folder(run.info.path)
        (position / "half").write_bytes(b"x")
        spool.store_merged(run.info, run.coverage, run.batches, RunExtras(files=run.files))
        assert not position.exists()
    with Spool.open(out, plan={}) as spool:
        (stored,) = spool.stored.values()
        assert [record.name for record in stored.files] == sorted(CONTENTS, key=str.encode)
        half = spool.files_folder(RunPath("acme", "nano", "other"))
        report = spool.seal()
    assert (report.runs, half.exists(), contents_in(out)) == (1, False, dict(CONTENTS))
    with open_bundle(out) as sealed, Spool.open(tmp_path / "c.wandb.zip", plan={}) as spool:
        spool.adopt(sealed["3fk2a"])
        assert spool.seal().bundle_id == sealed.bundle_id


def test_a_file_of_another_size_than_it_says_is_not_stored(tmp_path: Path) -> None:
    record = FileRecord(name="a", bytes=3, hash="sha256:" + "0" * 64, md5="0" * 32)
    run = bundle_run()
    lying = BundleRun(
        info=run.info, coverage=Coverage(), batches=run.batches, files=[TextFile(record, b"four")]
    )
    with pytest.raises(DataError) as caught:
        make_bundle(tmp_path / "b.wandb.zip", [lying])
    assert str(caught.value) == "file 'a' has 4 bytes, not 3"
    assert not list(tmp_path.iterdir())


def test_a_difference_names_the_files(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = {**CONTENTS, "output.log": b"epoch 0\n", "new\n.txt": b"12"}
    del new[".."]
    other = make_bundle(tmp_path / "new.wandb.zip", [with_files(new), bundle_run("acme/nano/b")])
    with open_bundle(good) as before, open_bundle(other) as after:
        difference = diff_bundles(before, after)
        (run,) = difference.changed
        assert [(edit.path, edit.change) for edit in run.files] == [
            (("..",), "removed"),
            (("new\n.txt",), "added"),
            (("output.log",), "changed"),
        ]
        assert not diff_bundles(after, after)
    assert main(["diff", str(good), str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "[CHANGES] added=0 gone=0 changed=1 unchanged=1",
        "changed path=acme/nano/3fk2a files=3",
        "[FILE_CHANGES] changes=3",
        "run,file,change,old_bytes,new_bytes",
        "acme/nano/3fk2a,..,removed,2,",
        'acme/nano/3fk2a,"new\\n.txt",added,,2',
        "acme/nano/3fk2a,output.log,changed,16,8",
    ]
    assert main(["diff", str(good), str(other), "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["same_content"] is True
    assert reported["changed"][0]["files"][1] == {
        "name": "new\n.txt",
        "change": "added",
        "old": None,
        "new": {"bytes": 2, "sha256": hashlib.sha256(b"12").hexdigest()},
    }


def test_a_merge_takes_the_version_that_has_all_files_and_of_grown_logs_the_later(tmp_path: Path) -> None:
    parts = [
        make_bundle(tmp_path / "none.wandb.zip", [bundle_run(heartbeat_at=EARLY)]),
        make_bundle(tmp_path / "early.wandb.zip", [with_files({"output.log": b"1"}, heartbeat_at=EARLY)]),
        make_bundle(
            tmp_path / "late.wandb.zip", [with_files({"output.log": b"12", "a.png": b"x"}, heartbeat_at=LATE)]
        ),
    ]
    out = tmp_path / "out.wandb.zip"
    for order in permutations(parts):
        assert merged(order, out).read_bytes() == parts[2].read_bytes()
    assert merged([parts[1], parts[1]], out).read_bytes() == parts[1].read_bytes()
    assert merged([merged(parts[:2], out), parts[2]], out).read_bytes() == parts[2].read_bytes()


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        (
            with_files({"a": b"1"}, heartbeat_at=LATE),
            with_files({"b": b"1"}, heartbeat_at=EARLY),
            "has file 'a' and",
        ),
        (
            with_files({"a": b"1"}, heartbeat_at=EARLY),
            with_files({"a": b"2"}, heartbeat_at=EARLY),
            "file 'a' differs",
        ),
    ],
)
def test_files_that_no_version_has_all_of_are_a_conflict(
    tmp_path: Path, left: BundleRun, right: BundleRun, reason: str
) -> None:
    paths = [
        make_bundle(tmp_path / f"{name}.wandb.zip", [run])
        for name, run in zip("lr", (left, right), strict=True)
    ]
    sentences = set()
    for order in (paths, paths[::-1]):
        with pytest.raises(MergeConflictError) as caught:
            merged(order, tmp_path / "out.wandb.zip")
        sentences.add(caught.value.message)
    assert len(sentences) == 1
    assert "the bundles disagree about run 'acme/nano/3fk2a'" in min(sentences)
    assert reason in min(sentences) or "has file 'b' and" in min(sentences)


def test_a_subset_keeps_the_files(good: Path, tmp_path: Path) -> None:
    with open_bundle(good) as bundle:
        for metrics in (None, "loss"):
            subset_bundle([bundle["3fk2a"]], tmp_path / "part.wandb.zip", metrics=metrics, force=True)
            assert contents_in(tmp_path / "part.wandb.zip") == CONTENTS


def test_an_export_has_them_where_the_bundle_has_them(good: Path, tmp_path: Path) -> None:
    for force in (False, True):
        with open_bundle(good) as bundle:
            report = export_runs(bundle.runs(), tmp_path / "plain", to="csv", force=force)
        assert report.files == 3 + len(CONTENTS)
        found = {
            path.relative_to(tmp_path / "plain").as_posix(): path.read_bytes()
            for path in (tmp_path / "plain").rglob("*/files/*")
        }
        assert found == {name: data for name, data in members_of(good).items() if "/files/" in name}
    (tmp_path / "plain" / FOLDER / "files" / "deep").mkdir()
    (tmp_path / "plain" / FOLDER / "files" / "deep" / "thesis.txt").write_text("mine")
    with open_bundle(good) as bundle, pytest.raises(Exception, match="exists and is not an export"):
        export_runs(bundle.runs(), tmp_path / "plain", to="csv", force=True)


def test_info_lists_them(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(good)]) == 0
    *_, heading, first, second = capsys.readouterr().out.splitlines()
    size = sum(map(len, CONTENTS.values()))
    assert heading.startswith("[RUNS] runs=2 ")
    assert "last_step=4 complete=yes" in heading
    assert first.endswith(f" files={len(CONTENTS)} file_bytes={size}")
    assert "files=" not in second
    assert main(["info", str(good), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [file["name"] for file in runs[0]["files"]] == sorted(CONTENTS, key=str.encode)
    assert runs[1]["files"] == []
