"""What is written of a set of two bundles is what is written of the bundle that they are merged into."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bundlekit import SYSTEM_ROWS, bundle_run, make_bundle
from consolekit import console_of, printed

from pull_logs.cli.main import main
from pull_logs.snapshot import BundleRun, add_bundles, merge_bundles, open_bundle, open_store
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

NAME = "night.wandb.zip"


def rich_run(number: int) -> BundleRun:
    """A run with media, files, a console log and system metrics."""
    picture = f"media/images/p{number % 3}.png"
    rows = [{"_step": step, "loss": 1 / (step + number + 1), "acc": step / 10} for step in range(4)]
    shown = {"_type": "image-file", "path": picture, "width": 6, "height": 4, "format": "png"}
    run = bundle_run(
        f"acme/{'nano' if number % 2 else 'wide'}/r{number}",
        [*rows, {"_step": 4, "pic": shown}],
        system=SYSTEM_ROWS,
        config={"lr": number / 100, "seed": number % 2},
        summary={"loss": rows[-1]["loss"], "pic": shown},
    )
    data = {picture: b"png" * (number + 1), "notes.txt": f"run {number}\n".encode()}
    return replace(
        run,
        files=[TextFile(record_of(name, [content]), content) for name, content in data.items()],
        console=console_of(printed(3 + number)),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `set` with a set of two members, and `one` with the bundle that they are merged into.

    Both have the same name, `night.wandb.zip`.
    """
    path = tmp_path_factory.mktemp("outputs")
    given = [
        make_bundle(path / f"{name}.wandb.zip", [rich_run(number) for number in numbers])
        for name, numbers in {"a": (0, 3), "b": (1, 2, 4)}.items()
    ]
    with open_bundle(given[0]) as first, open_bundle(given[1]) as second:
        (path / "one").mkdir()
        merge_bundles([first, second], path / "one" / NAME)
    (path / "set").mkdir()
    add_bundles(open_store(path / "set" / NAME, create=True), given)
    return path


def written(out: Path) -> dict[str, bytes]:
    """The files at a path."""
    files = [out] if out.is_file() else sorted(file for file in out.rglob("*") if file.is_file())
    return {file.relative_to(out.parent).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "words",
    [
        ("plot",),
        ("plot", "--select", "loss", "--group-by", "config.seed", "--smooth", "0.5"),
        ("plot", "--select", "^acc$", "--filter", "config.lr > 0.01", "-o", "plot.png"),
        ("report", "-o", "report.html"),
        ("sql", "SELECT * FROM runs ORDER BY run"),
        ("sql", "SELECT * FROM history ORDER BY run, _step"),
        ("sql", "SELECT * FROM metrics ORDER BY ALL"),
        ("export", "--format", "parquet", "-o", "out"),
        ("export", "--format", "csv", "-r", "r3", "-r", "r4", "-o", "out"),
        ("export", "--format", "ndjson", "--filter", 'project == "nano"', "-o", "out"),
        ("subset", "-o", "out.wandb.zip"),
        ("subset", "--metrics", "^loss$", "-o", "out.wandb.zip"),
        ("subset", "--filter", "config.seed == 1", "-o", "out.wandb.zip"),
        ("media", "--json"),
        ("media", "-o", "out"),
        ("logs",),
        ("logs", "-r", "r4", "--json"),
    ],
    ids=" ".join,
)
def test_what_is_written_of_a_set_is_what_is_written_of_one_bundle(
    folder: Path, words: Sequence[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text and files, byte for byte; a report has the identity of its source."""
    answers = []
    for name in ("set", "one"):
        monkeypatch.chdir(folder / name)
        assert main([*words, "-b", NAME]) == 0
        shown = capsys.readouterr()
        out = folder / name / words[words.index("-o") + 1] if "-o" in words else None
        with open_bundle(NAME) as source:
            identity = source.bundle_id.encode()
        files = {} if out is None else written(out)
        if "report.html" in files:
            files["report.html"] = files["report.html"].replace(identity, b"IDENTITY")
        assert out is None or files
        answers.append((shown.out, shown.err, files))
        if out is not None:
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    assert answers[0] == answers[1]
