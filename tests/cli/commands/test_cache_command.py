"""`cache dir`, `cache size` and `cache prune`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pull_logs.cli.main import main
from pull_logs.fetch import using_cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one run of 2 MB."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("pull_logs.fetch.default_folder", lambda: folder)
    run = folder / "runs" / "account" / "run=a.wandb.zip"
    run.parent.mkdir(parents=True)
    run.write_bytes(b"x" * 2_000_000)
    return folder


def test_the_folder_and_its_size_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "dir"]) == 0
    assert main(["cache", "size"]) == 0
    assert capsys.readouterr() == (f"{folder}\n{folder}: 1 run, 2.00 MB\n", "")


def test_pruning_prints_what_was_removed_and_what_is_left(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "prune", "--older-than", "1"]) == 0
    assert main(["cache", "prune", "--all"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"removed 0 runs, 0.00 MB; 1 run, 2.00 MB left in {folder}",
        f"removed 1 run, 2.00 MB; 0 runs, 0.00 MB left in {folder}",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cache", "cache needs a command; write: pull-logs cache dir, size or prune"),
        ("cache prnue", "'prnue' is not a command; the nearest is 'prune'"),
        ("cache a/b", "'a/b' is not a command; the commands are dir, prune, size"),
        ("cache prune", "cache prune has neither --all nor --older-than; write: --older-than DAYS or --all"),
        ("cache prune --all --older-than 3", "cache prune has both --all and --older-than; write: --older-than DAYS or --all"),  # noqa: E501
        ("cache prune --older-thn 3", "`pull-logs cache prune` has no option '--older-thn'; the nearest is '--older-than'"),  # noqa: E501
        ("cache --all", "`pull-logs cache` has no option '--all'; write: pull-logs cache prune --all"),
    ],
)  # fmt: skip
def test_the_error_says_what_to_write(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"pull-logs: error: {message}\n")


def test_a_cache_in_use_is_left_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with using_cache(folder):
        assert main(["cache", "prune", "--all"]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert main(["cache", "size"]) == 0
    assert "1 run" in capsys.readouterr().out
