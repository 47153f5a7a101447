"""`fetch --files` as a user runs it: what is downloaded, what is reported, what is refused."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundlekit import bundle_run
from test_fetch_command import pull_logs

from pull_logs.cli.main import main
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.snapshot import open_bundle, write_bundle
from pull_logs.snapshot.format.file_record import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write.run_sources import BundleRun

FILES = {
    "output.log": b"saved to /home/ada/run\n",
    "media/a.png": b"\x89PNG" * 100,
    "config.yaml": b"lr:\n  value: 1\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayServer]:
    path = tmp_path_factory.mktemp("served") / "served.wandb.zip"
    run = bundle_run("acme/nano/a")
    files = [TextFile(record_of(name, [data]), data) for name, data in FILES.items()]
    write_bundle(
        path,
        [
            BundleRun(info=run.info, coverage=run.coverage, batches=run.batches, files=files),
            bundle_run("acme/nano/b"),
        ],
        force=True,
    )
    with serve_bundle(path) as serving:
        yield serving


def test_a_user_pulls_files_and_unzip_shows_them(server: ReplayServer, tmp_path: Path) -> None:
    out = tmp_path / "b.wandb.zip"
    words: list[str | Path] = [
        "fetch",
        "-p",
        "acme/nano",
        "--files",
        "*.log",
        "--files",
        "media/*",
        "-o",
        out,
    ]
    done = pull_logs(*words, environment=server.environment())
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 runs, 6 rows, 2 files of 0.00 MB, " in done.stderr
    assert "pull-logs: note: 1 of 2 runs have no file that matches '*.log' or 'media/*'" in done.stderr
    assert "1 personal detail in 1 run" in done.stderr
    with zipfile.ZipFile(out) as plain:
        assert plain.read("runs/entity=acme/project=nano/run=a/files/media%2Fa.png") == FILES["media/a.png"]
    done = pull_logs(*words, "--redact", environment=server.environment())
    with open_bundle(out) as bundle:
        assert bundle["a"].files["output.log"].read() == b"saved to /home/[redacted: home-path]/run\n"
        assert bundle["a"].files["media/a.png"].read() == FILES["media/a.png"]


def test_a_dry_run_shows_how_many_files_there_are_and_how_large(server: ReplayServer, tmp_path: Path) -> None:
    reported = tmp_path / "report.json"
    words: list[str | Path] = [
        "fetch",
        "-p",
        "acme/nano",
        "--dry-run",
        "--files",
        "*",
        "--max-file-size",
        "100B",
        "--report-json",
        reported,
    ]
    done = pull_logs(*words, environment=server.environment())
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2:] == ["run_files 2", "run_file_bytes 38"]
    assert "pull-logs: note: omitted 1 file of more than 100 bytes" in done.stderr
    assert json.loads(reported.read_text())["run_file_bytes"] == 38
    assert not (tmp_path / "b.wandb.zip").exists()


def test_refresh_copies_files_and_adds_those_that_are_asked_for(server: ReplayServer, tmp_path: Path) -> None:
    out = tmp_path / "b.wandb.zip"
    environment = server.environment()
    pull_logs("fetch", "-r", "acme/nano/a", "--files", "config.yaml", "-o", out, environment=environment)
    before = hashlib.sha256(out.read_bytes()).digest()
    assert pull_logs("refresh", out, environment=environment).returncode == 0
    assert hashlib.sha256(out.read_bytes()).digest() == before
    assert pull_logs("refresh", out, "--files", "*.log", environment=environment).returncode == 0
    with open_bundle(out) as bundle:
        assert list(bundle["a"].files) == ["config.yaml", "output.log"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--files", ""], "a pattern for files is empty; write '*' for every file"),
        (
            ["--files", "*", "--max-file-size", "big"],
            "--max-file-size 'big' is not a size; write it as 500kB, 20MB or 1GiB",
        ),
        (
            ["--max-file-size", "1MB"],
            "--max-file-size is given without --files; name files with --files GLOB",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "-p", "acme/nano", "-o", str(tmp_path / "b.wandb.zip"), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"),
    [("7", 7), ("500kB", 500_000), ("1.5 MB", 1_500_000), ("1GiB", 2**30), ("2Ki", 2048), ("3T", 3 * 10**12)],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    from pull_logs.cli.pulling.options import size_in_bytes

    assert size_in_bytes(text) == size


def test_media_is_short_for_the_files_below_media(server: ReplayServer, tmp_path: Path) -> None:
    out = tmp_path / "b.wandb.zip"
    done = pull_logs("fetch", "-p", "acme/nano", "--media", "-o", out, environment=server.environment())
    assert done.returncode == 0, done.stderr
    with open_bundle(out) as bundle:
        assert list(bundle["a"].files) == ["media/a.png"]
    more = pull_logs("refresh", out, "--media", "--files", "*.log", environment=server.environment())
    assert more.returncode == 0, more.stderr
    with open_bundle(out) as bundle:
        assert list(bundle["a"].files) == ["media/a.png", "output.log"]
