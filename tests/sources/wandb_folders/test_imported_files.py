"""The files of local run folders: the selected ones are copied, as fetched files are, and links are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from logwriting import record, row, write_log

from pull_logs.cli.main import main
from pull_logs.fetch import PullOptions, Selection, Settings, pull_sync
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import FileSelection, open_bundle, verify_bundle
from pull_logs.snapshot.format import record_of
from pull_logs.sources import ImportReport, import_runs, local_files

EVERYTHING = FileSelection(("*",))
FILES = {
    "output.log": b"epoch 1\n",
    "config.yaml": b"lr:\n  value: 1\n",
    "media/table/pred_0_ab.table.json": b'{"columns": ["a"], "data": [[1]]}',
    "media/images/a b%2F.png": bytes(range(256)) * 9,
    "empty": b"",
    "con": b"a device on Windows",
}


def run_folder(top: Path, files: dict[str, bytes], *, number: int = 0, run_id: str = "r") -> Path:
    folder = top / "wandb" / f"offline-run-20261123_10000{number}-{run_id}"
    for name, data in files.items():
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_bytes(data)
    folder.mkdir(parents=True, exist_ok=True)
    start = record(run={"run_id": run_id, "project": "p", "start_time": {"seconds": 1_000_000 + number}})
    records = [start, row(number, x=1), record(exit={"exit_code": 0})]
    (folder / f"run-{run_id}.wandb").write_bytes(write_log(records)[0])
    return folder


def imported(top: Path, out: Path, files: FileSelection | None = EVERYTHING, **more: Any) -> ImportReport:
    return import_runs([top / "wandb"], out=out, files=files, force=True, **more)


def files_in(out: Path, run: str = "r") -> dict[str, bytes]:
    with open_bundle(out) as bundle:
        return {name: file.read() for name, file in bundle[run].files.items()}


def test_every_file_is_copied_byte_for_byte_with_its_media_type(tmp_path: Path) -> None:
    run_folder(tmp_path, FILES)
    report = imported(tmp_path, tmp_path / "b.zip")
    assert files_in(tmp_path / "b.zip") == dict(sorted(FILES.items()))
    assert (report.seal.files, report.notes) == (len(FILES), ())
    with open_bundle(tmp_path / "b.zip") as bundle:
        types = {name: file.mediatype for name, file in bundle["r"].files.items()}
    assert types["media/images/a b%2F.png"] == "image/png"
    assert types["media/table/pred_0_ab.table.json"] == "application/json"
    assert types["con"] is None
    assert not verify_bundle(tmp_path / "b.zip").damages


def test_an_import_without_a_selection_keeps_its_bytes(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, FILES)
    imported(tmp_path, tmp_path / "with.zip", None)
    for name in FILES:
        (folder / "files" / name).unlink()
    imported(tmp_path, tmp_path / "without.zip")
    assert (tmp_path / "with.zip").read_bytes() == (tmp_path / "without.zip").read_bytes()


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (("media/*",), ["media/images/a b%2F.png", "media/table/pred_0_ab.table.json"]),
        (("*.log", "*.yaml"), ["config.yaml", "output.log"]),
        (("output.log",), ["output.log"]),
        (("nothing",), []),
    ],
)
def test_the_patterns_are_those_of_a_fetch(tmp_path: Path, globs: tuple[str, ...], names: list[str]) -> None:
    run_folder(tmp_path, FILES)
    imported(tmp_path, tmp_path / "b.zip", FileSelection(globs))
    assert list(files_in(tmp_path / "b.zip")) == names


def test_what_is_too_large_or_cannot_be_stored_is_left_out_and_reported(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {"a": b"12", "b": b"1", "c": b"123"})
    long = folder / "files" / "/".join(["n" * 200] * 6)
    long.parent.mkdir(parents=True)
    long.write_bytes(b"x")
    report = imported(tmp_path, tmp_path / "b.zip", FileSelection(("*",), 1))
    assert files_in(tmp_path / "b.zip") == {"b": b"1"}
    assert report.notes == (
        "local/p/r: left out 2 files (larger than --max-file-size): 'a', 'c'",
        f"local/p/r: left out 1 file (no bundle can hold such a name): {'/'.join(['n' * 200] * 6)!r}",
    )


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_links_are_followed_only_if_that_is_asked_for(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {"a": b"1"})
    (tmp_path / "secret").write_bytes(b"key")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "inner").write_bytes(b"inner")
    (folder / "files" / "link").symlink_to(tmp_path / "secret")
    (folder / "files" / "loop").symlink_to(folder / "files")
    (folder / "files" / "gone").symlink_to(tmp_path / "nothing")
    (folder / "files" / "folder").symlink_to(tmp_path / "outside")
    report = imported(tmp_path, tmp_path / "b.zip")
    assert files_in(tmp_path / "b.zip") == {"a": b"1"}
    (note,) = report.notes
    assert note == (
        "local/p/r: left out 4 files (symbolic links are copied with --follow-links): 'folder', 'gone',"
        " 'link' and 1 more"
    )
    followed = imported(tmp_path, tmp_path / "c.zip", follow_links=True)
    assert files_in(tmp_path / "c.zip") == {"a": b"1", "link": b"key"}
    assert followed.notes == ("local/p/r: left out 3 files (not readable): 'folder', 'gone', 'loop'",)


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_folder_of_files_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"key")
    (folder / "files").symlink_to(tmp_path / "outside")
    imported(tmp_path, tmp_path / "b.zip", follow_links=True)
    assert files_in(tmp_path / "b.zip") == {}


def test_of_two_folders_of_a_run_the_later_file_is_taken(tmp_path: Path) -> None:
    run_folder(tmp_path, {"output.log": b"one", "first": b"1"})
    run_folder(tmp_path, {"output.log": b"two", "second": b"2"}, number=1)
    imported(tmp_path, tmp_path / "b.zip")
    assert files_in(tmp_path / "b.zip") == {"first": b"1", "output.log": b"two", "second": b"2"}


def test_a_file_that_changes_while_it_is_copied_is_stored_as_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path, {"output.log": b"one\n"})
    hashed = record_of

    def growing(*arguments: Any, **more: Any) -> Any:
        with (folder / "files" / "output.log").open("ab") as log:
            log.write(b"more\n")
        return hashed(*arguments, **more)

    monkeypatch.setattr(f"{local_files.__name__}.record_of", growing)
    imported(tmp_path, tmp_path / "b.zip")
    assert files_in(tmp_path / "b.zip") == {"output.log": b"one\n"}


def test_a_refresh_from_folders_updates_the_files_of_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder(tmp_path, {"output.log": b"one", "a[1].txt": b"1"})
    out = tmp_path / "b.wandb.zip"
    assert main(["import", str(tmp_path / "wandb"), "-o", str(out), "--files", "*"]) == 0
    run_folder(tmp_path, {"output.log": b"one two", "new": b"n"}, number=1)
    assert main(["refresh", str(out), "--from", str(tmp_path / "wandb")]) == 0
    assert files_in(out) == {"a[1].txt": b"1", "output.log": b"one two"}
    assert main(["refresh", str(out), "--from", str(tmp_path / "wandb"), "--files", "new"]) == 0
    assert files_in(out) == {"a[1].txt": b"1", "new": b"n", "output.log": b"one two"}
    assert "incomplete" not in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--max-file-size", "1kB"], ["--follow-links"]])
def test_options_about_files_need_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    run_folder(tmp_path, FILES)
    words = ["import", str(tmp_path / "wandb"), "-o", str(tmp_path / "b.wandb.zip"), *option]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"pull-logs: error: {option[0]} is given without --files; name files with --files GLOB\n"
    )


SCRIPT = """
import sys, pathlib, wandb
top = pathlib.Path(sys.argv[1])
(top / "model.txt").write_text("weights")
run = wandb.init(project="p", id="media", dir=str(top), mode="offline",
                 settings=wandb.Settings(silent=True, console="wrap", x_disable_stats=True))
print("printed")
print("\\x1b[31mred\\x1b[0m  loss 0.1\\rloss 0.5")
print("failed", file=sys.stderr)
run.log({"table": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2.5, None]])})
run.log({"page": wandb.Html("<b>hi</b>")})
run.save(str(top / "model.txt"), base_path=str(top), policy="now")
run.finish()
"""

READER = """
import json, sys, wandb
run = wandb.Api().run("local/p/media")
files = {file.name: open(file.download(root=sys.argv[1], replace=True).name, "rb").read().decode("latin-1")
         for file in run.files()}
lines = [[line.content, line.level or "", line.timestamp.isoformat()] for line in run.console_logs()]
print(json.dumps([files, lines]))
"""


def run_python(script: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    outside = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=outside | {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false"} | (environment or {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_sdk_logs_is_imported_served_read_by_it_and_fetched(tmp_path: Path) -> None:
    run_python(SCRIPT, tmp_path)
    out = tmp_path / "b.wandb.zip"
    report = imported(tmp_path, out, follow_links=True)
    assert [note for note in report.notes if "lacks" in note] == []
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    written = {
        path.relative_to(folder / "files").as_posix(): path.read_bytes()
        for path in (folder / "files").rglob("*")
        if path.is_file()
    }
    assert {"output.log", "requirements.txt", "model.txt"} <= written.keys()
    assert any(name.endswith(".table.json") for name in written)
    assert any(name.endswith(".html") for name in written)
    assert files_in(out, "media") == written
    with serve_bundle(out) as server:
        seen, lines = json.loads(run_python(READER, tmp_path, server.environment()))
        settings = Settings(base_url=server.url, api_key=server.api_key)
        options = PullOptions(files=["*"], console=True)
        pulled = tmp_path / "c.wandb.zip"
        pull_sync(Selection(projects=("local/p",)), out=pulled, settings=settings, options=options)
    seen.pop("wandb-metadata.json")
    assert {name: text.encode("latin-1") for name, text in seen.items()} == written
    with open_bundle(out) as bundle:
        printed = list(bundle["media"].console_logs())
    assert [text for text, _, _ in lines] == [line.text for line in printed]
    assert [level for _, level, _ in lines] == [line.level for line in printed]
    assert [stamp[:26] for _, _, stamp in lines] == [(line.timestamp or "")[:26] for line in printed]
    assert {"printed", "failed"} < {text for text, _, _ in lines}
    fetched = files_in(pulled, "media")
    fetched.pop("wandb-metadata.json")
    assert fetched == written
    with open_bundle(out) as first, open_bundle(pulled) as second:
        assert first.content_id == second.content_id
        for bundle in (first, second):
            table = bundle["media"].table("table")
            assert (table["a"].tolist(), table["b"].tolist()) == ([1.0, 2.5], ["x", None])
            kinds = {item.kind for item in bundle["media"].media() if item.file is not None}
            assert kinds == {"table-file", "html-file"}
        assert first["media"].console_hash == second["media"].console_hash
