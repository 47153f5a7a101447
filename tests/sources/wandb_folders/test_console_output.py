"""What a run printed comes out of its log as the lines that W&B shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logwriting import record, row, write_log

from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.format import ConsoleLine
from pull_logs.sources import import_runs
from pull_logs.sources.wandb_folders import console_output
from pull_logs.sources.wandb_folders.console_output import ConsoleOutput, Stream

Piece = tuple[Stream, str]

PARTS = ["a", "bc", "déf", "\n", "\n", "\r", "\x1b[A", "\x1b[B", "\x1b", "[", "\x1b[31m", " "]
pieces = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stdout", "stderr"]),
        st.lists(
            st.sampled_from(
                ["a", "bc", "déf", "\n", "\n", "\r", "\x1b[A", "\x1b[B", "\x1b", "[", "\x1b[31m", " "]
            ),
            max_size=8,
        ).map("".join),
    ),
    max_size=60,
)


def shown(given_pieces: Iterable[Piece]) -> list[ConsoleLine]:
    lines: list[ConsoleLine] = []
    output = ConsoleOutput(lines.append)
    for number, (stream, text) in enumerate(given_pieces):
        output.write(stream, text, f"t{number}")
    output.close()
    return lines


class NaiveScreen:
    """A screen one character at a time, with every line that was ever begun."""

    def __init__(self, lines: list[list[str]], begun: list[tuple[str, str]], level: str, height: int) -> None:
        self.lines, self.begun, self.level, self.height = lines, begun, level, height
        self.view: list[int] = []
        self.row = self.column = 0
        self.escape = ""

    def down(self) -> None:
        self.row += 1
        if self.row >= self.height:
            del self.view[:1]
            self.row -= 1

    def put(self, character: str, stamp: str) -> None:
        while self.row >= len(self.view):
            self.view.append(len(self.lines))
            self.lines.append([])
            self.begun.append((self.level, stamp))
        number = self.view[self.row]
        if number >= len(self.lines) - 32:
            line = self.lines[number]
            line += " " * (self.column + 1 - len(line))
            line[self.column] = character
        self.column += 1

    def write(self, character: str, stamp: str) -> None:
        if self.escape == "\x1b[" and character in "AB":
            self.escape = ""
            if character == "B":
                self.down()
            self.row -= character == "A" and self.row > 0
        elif self.escape == "\x1b" and character == "[":
            self.escape = "\x1b["
        elif self.escape:
            for part in self.escape + character:
                self.put(part, stamp)
            self.escape = ""
        elif character == "\x1b":
            self.escape = character
        elif character in "\r\n":
            self.column = 0
            if character == "\n":
                self.down()
        else:
            self.put(character, stamp)


@given(pieces)
def test_lines_are_those_of_a_screen_that_is_written_a_character_at_a_time(given_pieces: list[Piece]) -> None:
    lines: list[list[str]] = []
    begun: list[tuple[str, str]] = []
    screens = {
        "stdout": NaiveScreen(lines, begun, "", 32),
        "stderr": NaiveScreen(lines, begun, "error", 4096),
    }
    for number, (stream, text) in enumerate(given_pieces):
        for character in text:
            screens[stream].write(character, f"t{number}")
    assert shown(given_pieces) == [
        ConsoleLine(number=number, text="".join(line), level=level, timestamp=stamp)
        for number, (line, (level, stamp)) in enumerate(zip(lines, begun, strict=True))
    ]


@given(pieces)
def test_how_the_text_is_divided_does_not_matter(given_pieces: list[Piece]) -> None:
    single = [(stream, character) for stream, text in given_pieces for character in text]
    assert [line.text for line in shown(single)] == [line.text for line in shown(given_pieces)]


def test_a_progress_bar_is_one_line_and_a_long_line_is_kept() -> None:
    bar = [("stdout", f"\r{at:3d}% {'#' * (at // 10)}") for at in range(101)]
    long: list[Piece] = [("stdout", "x" * 1000)] * 50
    lines = shown([*bar, ("stdout", "\n"), *long])  # type: ignore[list-item]
    assert [line.text for line in lines] == ["100% ##########", "x" * 50_000]


def test_a_line_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_output, "MAX_CHARACTERS", 10)
    (line,) = shown([("stdout", "123456"), ("stdout", "789abcdef"), ("stdout", "gh")])
    assert line.text == "123456789a"


SCRIPT = """
import sys, time, wandb
run = wandb.init(project="p", id="printing", dir=sys.argv[1], mode="offline",
                 settings=wandb.Settings(silent=True, console="wrap", x_disable_stats=True))
for at, (stream, text) in enumerate(eval(sys.stdin.read())):
    getattr(sys, stream).write(text)
    if at % 20 == 0:
        run.log({"at": at})
run.finish()
"""


def sdk_pieces() -> list[Piece]:
    """Text with all that a screen reacts to, in an order that looks random."""
    parts = [
        "epoch done\n",
        "\rloss 0.5",
        "\x1b[A",
        "\x1b[B",
        "\n",
        "a\x1b[31mred\x1b[0m",
        "é✓",
        "\n\n",
        "\x1b",
        "x\ty\n",
    ]
    chosen = [(at * at * 7 + at * 3) % 101 for at in range(400)]
    return [("stderr" if value % 4 == 0 else "stdout", parts[value % len(parts)]) for value in chosen]


@pytest.fixture(scope="module")
def printing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that W&B's own SDK recorded offline."""
    folder = tmp_path_factory.mktemp("printing")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env=environment
        | {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false", "PYTHONIOENCODING": "utf-8"},
        input=repr(sdk_pieces()).encode(),
        capture_output=True,
        cwd=folder,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


def test_the_lines_are_those_that_the_sdk_writes_to_output_log(printing: Path, tmp_path: Path) -> None:
    report = import_runs([printing], out=tmp_path / "b.wandb.zip")
    (log,) = printing.glob("wandb/offline-run-*/files/output.log")
    with open_bundle(tmp_path / "b.wandb.zip") as bundle:
        lines = list(bundle["printing"].console_logs())
    assert report.seal.console_lines == len(lines) > 100
    # In the file, spaces at the ends of lines are missing, and a line may contain a line feed.
    assert "".join(f"{line.text.rstrip(' ')}\n" for line in lines) == log.read_bytes().decode()
    assert {line.level for line in lines} == {"", "error"}
    stamps = [line.timestamp or "" for line in lines]
    assert stamps == sorted(stamps)
    assert all(len(stamp) == len("2026-11-23T10:00:00.250000") for stamp in stamps)


def output(text: str, *, second: int, stderr: bool = False) -> bytes:
    kind = 0 if stderr else 1
    return record(
        output_raw={"output_type": kind, "timestamp": {"seconds": second, "nanos": 250}, "line": text}
    )


def local_run(folder: Path, number: int, records: list[bytes]) -> None:
    run = folder / f"offline-run-20261123_10000{number}-r"
    run.mkdir(parents=True)
    start = record(run={"run_id": "r", "project": "p", "start_time": {"seconds": 1_000_000 + number}})
    (run / "run-r.wandb").write_bytes(write_log([start, *records, record(exit={"exit_code": 0})])[0])


def test_a_resumed_run_has_one_log(tmp_path: Path) -> None:
    local_run(tmp_path / "wandb", 0, [row(0, x=1), output("one\ntwo\n", second=1_000_000)])
    local_run(tmp_path / "wandb", 1, [row(1, x=1)])
    local_run(tmp_path / "wandb", 2, [row(2, x=1), output("three\n", second=1_000_009, stderr=True)])
    import_runs([tmp_path / "wandb"], out=tmp_path / "b.wandb.zip")
    with open_bundle(tmp_path / "b.wandb.zip") as bundle:
        assert list(bundle["r"].console_logs()) == [
            ConsoleLine(number=0, text="one", timestamp="1970-01-12T13:46:40.000000"),
            ConsoleLine(number=1, text="two", timestamp="1970-01-12T13:46:40.000000"),
            ConsoleLine(number=2, text="three", timestamp="1970-01-12T13:46:49.000000", level="error"),
        ]


def test_a_run_that_printed_nothing_has_no_log(tmp_path: Path) -> None:
    local_run(tmp_path / "wandb", 0, [row(0, x=1)])
    report = import_runs([tmp_path / "wandb"], out=tmp_path / "b.wandb.zip")
    assert report.seal.console_lines == 0
    with open_bundle(tmp_path / "b.wandb.zip") as bundle:
        assert bundle["r"].console is None
