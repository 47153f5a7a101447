"""The live display of a download in a real terminal, against a server that answers when the test says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from pathlib import Path
from threading import Event, Lock

import httpx
import pytest
from checkout import ROOT
from http_wandb import serve_scripted
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from scripted_wandb import FakeRun, ScriptedWandb, rows_of
from terminalkit import Terminal

from pull_logs.cli.pulling.live import _Frame, _PullDrawing, _wrapped
from pull_logs.cli.pulling.progress_text import (
    Pace,
    PullPace,
    bar_line,
    details,
    duration,
    headline,
    pack,
    rate_limit,
)
from pull_logs.fetch import PullProgress, RateLimit

RUNS = 40
QUOTA = {"RateLimit-Remaining": "620", "RateLimit-Reset": "3000"}
CONTINUE = "pull-logs: stopped: interrupted; the same command continues where it stopped"


class Gate:
    """Lets some requests pass, and holds the others up until it is opened."""

    def __init__(self, passing: int) -> None:
        self._left, self._open, self._lock = passing, Event(), Lock()

    def __call__(self, _request: httpx.Request) -> None:
        with self._lock:
            self._left -= 1
            held = self._left < 0
        if held:
            self._open.wait(60)

    def open(self) -> None:
        self._open.set()


@contextmanager
def _server(passing: int) -> Iterator[tuple[Gate, dict[str, str]]]:
    runs = [
        FakeRun.logging(f"run{number:02}", rows_of(range(20)), state="finished") for number in range(RUNS)
    ]
    gate = Gate(passing)
    with serve_scripted(ScriptedWandb(*runs), before=gate, headers=QUOTA) as environment:
        try:
            yield gate, environment
        finally:
            gate.open()


def _fetch(out: Path, environment: Mapping[str, str], *flags: str, columns: int = 80) -> Terminal:
    return Terminal("fetch", "-p", "acme/nano", "-o", out, *flags, columns=columns, environment=environment)


def test_a_fetch_shows_what_it_did_and_the_rate_limit_and_leaves_only_its_report(tmp_path: Path) -> None:
    with _server(passing=3) as (gate, environment), _fetch(tmp_path / "b.zip", environment) as terminal:
        shown = terminal.wait_for(lambda text: "rate limit" in text and "of 40 runs" in text)
        assert re.search(r"^downloading [━─]{8,} \d+ of 40 runs", shown, re.MULTILINE), shown
        assert re.search(r"^[\d,]+ rows   \d+\.\d MB .*requests?, \d+ at a time", shown, re.MULTILINE), shown
        assert re.search(r"^rate limit: 620 left, renewed in (50:00|49:\d\d)$", shown, re.MULTILINE), shown
        assert terminal.cursor_hidden()
        gate.open()
        end = terminal.finish()
    assert terminal.code == 0
    assert not terminal.cursor_hidden()
    assert terminal.lines[0].startswith("pull-logs: warning: the bundle contains 40 personal details"), end
    assert "40 of 40 runs complete" in end
    assert "downloading" not in end
    assert "rate limit" not in end


def test_ctrl_c_takes_the_display_down_and_says_how_to_continue(tmp_path: Path) -> None:
    with _server(passing=3) as (_, environment), _fetch(tmp_path / "b.zip", environment) as terminal:
        terminal.wait_for(lambda text: "of 40 runs" in text)
        terminal.type(b"\x03")
        terminal.finish()
    assert terminal.code == 130
    assert terminal.lines == [CONTINUE]
    assert not terminal.cursor_hidden()
    assert terminal.screen.cursor.x == 0


def test_lines_of_the_log_appear_above_it(tmp_path: Path) -> None:
    with _server(passing=3) as (gate, environment), _fetch(tmp_path / "b.zip", environment, "-v") as terminal:
        shown = terminal.wait_for(lambda text: "of 40 runs  " in text and "rate limit" in text)
        assert re.match(r"pull-logs: \d+ s: 0 of \? runs, 0 rows, 1 request, 0 retries\n", shown), shown
        gate.open()
        terminal.finish()
    assert "acme/nano/run39: downloaded completely" in terminal.lines
    assert [line for line in terminal.lines if line.startswith(("downloading", "rate limit"))] == []


PRINTS = """
import sys, click
from pull_logs.cli.pulling import progress_display
with progress_display() as hook:
    click.echo("a note of click, longer than the display", err=True)
    print("a line", "in parts", file=sys.stderr)
    sys.stderr.write("a line that does not end")
click.echo("afterwards", err=True)
"""


def test_what_is_printed_while_it_is_shown_appears_above_it() -> None:
    with Terminal(program=("-c", PRINTS)) as terminal:
        terminal.finish()
    assert terminal.code == 0, terminal.text
    printed = ["a note of click, longer than the display", "a line in parts", "a line that does not end"]
    assert terminal.lines == [*printed, "afterwards"]
    assert not terminal.cursor_hidden()


def test_a_failed_run_is_named_and_cannot_write_to_the_terminal() -> None:
    drawing = _PullDrawing()
    failure = "acme/nano/b\x1b[2J: 400\r\n\x1b]0;title\x07\u202e" + "\u65e5" * 200
    drawing.update(PullProgress(runs_done=2, runs_total=3, runs_failed=1, failure=failure, seconds=1.0))
    out = StringIO()
    console = Console(file=out, width=60, force_terminal=True, no_color=True)
    console.print(_Frame(drawing))
    lines = out.getvalue().splitlines()
    assert "\x1b[2J" not in out.getvalue()
    assert "\x1b]" not in out.getvalue()
    assert lines[-1].startswith("1 failed, the last: acme/nano/b\\u001b[2J: 400")
    assert max(map(cell_len, lines[1:])) <= 59


def test_a_narrow_terminal_without_colours_gets_short_lines_at_any_width(
    tmp_path: Path,
) -> None:
    with _server(passing=3) as (gate, environment):
        plain = {**environment, "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
        with _fetch(tmp_path / "b.zip", plain, columns=60) as terminal:
            shown = terminal.wait_for(lambda text: "of 40 runs" in text and "rate limit" in text)
            assert re.search(r"^downloading [#.]{8,} \d+ of 40 runs", shown, re.MULTILINE), shown
            terminal.resize(24, 24)
            shown = terminal.wait_for(lambda text: "rate limit: 620 left, r" in text.splitlines())
            assert max(map(len, shown.splitlines())) <= 23
            gate.open()
            terminal.finish()
    assert terminal.code == 0
    assert "downloading" not in terminal.text
    assert not re.search(rb"\x1b\[[\d;]*3\dm", terminal.output), "a colour was written"
    assert terminal.output.isascii()


def test_a_terminal_that_cannot_redraw_gets_lines_and_quiet_gets_nothing(tmp_path: Path) -> None:
    with _server(passing=10**6) as (_, environment):
        dumb = {**environment, "TERM": "dumb"}
        with _fetch(tmp_path / "a.zip", dumb, columns=200) as terminal:
            terminal.finish()
        assert b"\x1b" not in terminal.output
        assert re.match(r"pull-logs: \d+ s: 0 of \? runs, 0 rows, ", terminal.text), terminal.text
        with _fetch(tmp_path / "b.zip", environment, "--quiet") as terminal:
            terminal.finish()
        assert (terminal.code, terminal.output) == (0, b"")


def test_a_question_that_downloads_and_an_import_show_their_progress(tmp_path: Path) -> None:
    with _server(passing=3) as (gate, environment):
        cached = {**environment, "XDG_CACHE_HOME": str(tmp_path)}
        with Terminal("compare", "-p", "acme/nano", environment=cached) as terminal:
            terminal.wait_for(lambda text: "of 40 runs" in text)
            gate.open()
            terminal.finish()
        assert terminal.code == 0
        assert "rate limit" not in terminal.text
    folders = ROOT / "fixtures" / "digits" / "wandb"
    with Terminal("import", folders, "-o", tmp_path / "c.zip") as terminal:
        terminal.finish()
    # The last frame is drawn however fast the import is.
    assert re.search(r"(reading|writing the bundle) ━+ 17 of 17 logs", terminal.output.decode())
    assert "of 17 logs" not in terminal.text
    assert not terminal.cursor_hidden()


@given(st.integers(0, 200), st.integers(0, 50), st.integers(1, 200))
def test_a_bar_never_makes_a_line_wider_than_the_terminal(done: int, total: int, width: int) -> None:
    line = bar_line("downloading", "text", width, done=done, total=total, track="#.")
    if "#" in line or "." in line:
        assert len(line) <= width
        bar = line.split()[1]
        assert bar == "#" * bar.count("#") + "." * bar.count(".")
        assert bar.count("#") == len(bar) * min(done, total) // total
    else:
        assert line == "downloading   text"


@given(st.lists(st.text("ab", min_size=1, max_size=12), min_size=1), st.integers(1, 60))
def test_parts_keep_their_order_and_share_lines_where_they_fit(parts: list[str], width: int) -> None:
    lines = pack(parts, width)
    assert [part for line in lines for part in line.split("   ")] == parts
    assert all(len(line) <= width or "   " not in line for line in lines)
    for before, after in pairwise(lines):
        assert len(before) + 3 + len(after.split("   ")[0]) > width


@given(st.lists(st.integers(0, 300)), st.integers(1, 200))
def test_wrapped_lines_are_counted_as_a_terminal_wraps_them(widths: list[int], columns: int) -> None:
    rows = sum(len(range(0, max(width, 1), columns)) for width in widths)
    assert _wrapped(widths, columns) == rows - len(widths)


@given(st.lists(st.tuples(st.floats(0.01, 9), st.integers(0, 1000)), min_size=1), st.floats(1, 20))
def test_a_pace_is_that_of_the_last_seconds(steps: list[tuple[float, int]], window: float) -> None:
    pace, now, count, known = Pace(window), 0.0, 0, [(0.0, 0)]
    pace.add(0.0, 0)
    for seconds, more in steps:
        now, count = now + seconds, count + more
        pace.add(now, count)
        known.append((now, count))
    start = max((item for item in known[:-1] if item[0] <= now - window), default=known[0])
    assert pace.per_second == pytest.approx((count - start[1]) / (now - start[0]))


@given(st.floats(0, 1e6))
def test_a_duration_is_given_to_the_second(seconds: float) -> None:
    text = duration(seconds)
    if text.endswith(" s"):
        assert int(text[:-2]) == round(seconds) < 60
        return
    value = 0
    for part in text.split(":"):
        value = 60 * value + int(part)
    assert value == round(seconds) >= 60


def test_the_words_name_what_matters() -> None:
    limit = RateLimit(requests=8, remaining=12, resets_in=75.0)
    state = PullProgress(
        runs_done=10,
        runs_total=40,
        rows=12_345,
        bytes_received=3_400_000,
        requests=20,
        retries=1,
        limit=8,
        seconds=10.0,
        rate_limit=limit,
    )
    pace = PullPace()
    pace.add(PullProgress(), now=0.0)
    pace.add(state, now=10.0)
    assert headline(state, pace, now=10.0) == "10 of 40 runs   30 s left"
    assert details(state, pace) == [
        "12,345 rows",
        "3.4 MB",
        "0.3 MB/s",
        "20 requests, 8 at a time",
        "1 retry",
    ]
    assert rate_limit(state, age=5.0) == ("rate limit: 12 left, renewed in 1:10", False)
    assert rate_limit(state, age=76.0) == ("", False)


def test_a_wait_for_the_server_counts_down() -> None:
    state = PullProgress(rate_limit=RateLimit(wait=95.0))
    assert rate_limit(state, age=0.0) == ("rate limit: waiting 1:35", True)
    assert rate_limit(state, age=90.0) == ("rate limit: waiting 5 s", True)
    assert rate_limit(state, age=94.5) == ("", False)
