"""What a terminal gets, driven on a pseudo-terminal of a given width."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from threading import Thread
from typing import Any

import pytest
from checkout import ROOT
from rich.cells import cell_len

from pull_logs.cli.main import main

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

BUNDLE = "fixtures/digits.wandb.zip"
COMPARE = ("compare", BUNDLE, "--group-by", "config.lr", "--best", "val/acc:max", "--no-hints")
TWO = (BUNDLE, "-r", "cnn1e1s0", "-r", "mlp5e2s0")
VIEWS = (
    COMPARE,
    (BUNDLE, "-r", "cnn1e1s0", "-r", "nan1e6s0", "--max-rows", "5", "--no-hints"),
    (BUNDLE, "-r", "cnn1e1s0", "--stats", "--schema", "--no-hints"),
    ("overview", BUNDLE, "--no-hints"),
    ("info", BUNDLE),
)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(ROOT)


@contextmanager
def terminal(columns: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the descriptor of a terminal of this width, and what it was sent, complete at the end."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    parts: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                parts.append(part)

    reader = Thread(target=read)
    reader.start()
    try:
        yield theirs, parts
    finally:
        reader.join()
        os.close(ours)


def on_terminal(words: tuple[str, ...], *, columns: int, encoding: str = "utf-8") -> str:
    """Return what a command prints on a terminal of this width."""
    with terminal(columns) as (descriptor, parts):
        stream = open(descriptor, "w", encoding=encoding, errors="pull_logs.json_escapes")  # noqa: SIM115, PTH123
        with stream, redirect_stdout(stream):
            assert main(words) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def in_a_pipe(words: tuple[str, ...]) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        assert main(words) == 0
    return stream.getvalue()


@pytest.mark.parametrize("words", VIEWS, ids=["compare", "two-runs", "stats", "overview", "info"])
def test_no_line_is_longer_than_the_terminal_is_wide(words: tuple[str, ...]) -> None:
    names = re.findall(r"^\[([A-Z_]+)\]", in_a_pipe(words), re.MULTILINE)
    for columns in (40, 80, 200):
        text = on_terminal(words, columns=columns)
        assert all(cell_len(ESCAPE.sub("", line)) <= columns for line in text.splitlines())
        assert [name for name in names if f"\x1b[1m{name}\x1b[0m" not in text] == []


def test_a_process_draws_tables_in_a_terminal_and_writes_text_into_a_pipe() -> None:
    command = [sys.executable, "-m", "pull_logs", *COMPARE]
    with terminal(60) as (descriptor, parts):
        environ = dict(os.environ)  # without the COLUMNS that readline may have put into that of the process
        subprocess.run(command, stdout=descriptor, stderr=subprocess.DEVNULL, check=True, env=environ)
        os.close(descriptor)
    text = b"".join(parts).decode()
    assert "\x1b[1mRANKING\x1b[0m" in text
    assert max(cell_len(line) for line in ESCAPE.sub("", text).splitlines()) <= 60
    done = subprocess.run(command, capture_output=True, check=True, env={**environ, "FORCE_COLOR": "1"})
    assert done.stdout.decode() == in_a_pipe(COMPARE)


def test_a_pipe_gets_text_even_where_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    text = in_a_pipe(COMPARE)
    assert text.startswith("[RUNS] ")
    assert on_terminal((*COMPARE, "--format", "text"), columns=40) == text
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    assert in_a_pipe(COMPARE) == text


@pytest.mark.parametrize(
    "changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}]
)
def test_a_terminal_without_colours_gets_plain_tables(
    changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    text = on_terminal(COMPARE, columns=80)
    assert "\x1b" not in text
    assert "\nRANKING  metric=val/acc" in text


def test_colours_are_forced_on_tables_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*COMPARE, "--format", "table")
    assert "\x1b" not in in_a_pipe(words)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[1m" in in_a_pipe(words)


def test_news_have_colours() -> None:
    assert re.search(r"\x1b\[38;5;32mbetter *\x1b\[0m", on_terminal(COMPARE, columns=200))
    flags = on_terminal(("overview", BUNDLE, "--no-hints"), columns=200)
    assert re.search(r"\x1b\[1;38;5;166mplateau *\x1b\[0m", flags)
    assert re.search(r"^(# )?in no run: divergence, ", flags, re.MULTILINE)
    two = on_terminal((*TWO, "-H", "--no-hints", "--section", "summary_comparison"), columns=200)
    assert re.search(r"val/loss .*\x1b\[1;38;5;166m *0\.060385", two)
    assert re.search(r"val/acc .*\x1b\[1;38;5;166m *-0\.0111111", two)


def test_a_terminal_in_ascii_gets_rules_of_hyphens() -> None:
    text = on_terminal(COMPARE, columns=80, encoding="ascii")
    assert text.isascii()
    assert re.search(r"^-{20,}$", text, re.MULTILINE)


def test_columns_of_the_environment_decide_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = on_terminal((*COMPARE, "--section", "group_stats"), columns=200)
    assert max(cell_len(ESCAPE.sub("", line)) for line in text.splitlines()) <= 60


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    def luminance(rgb: tuple[int, ...]) -> float:
        parts = [value / 255 for value in rgb]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_colours_are_legible_on_black_and_on_white() -> None:
    from pull_logs.cli.formats.tables import STYLES

    colours: list[Any] = [style.color for style in STYLES.values()]
    for colour in colours:
        rgb = tuple(colour.get_truecolor())
        assert contrast(rgb, (0, 0, 0)) > 3.5
        assert contrast(rgb, (255, 255, 255)) > 3.5
