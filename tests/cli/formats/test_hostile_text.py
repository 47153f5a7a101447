"""No name, key or value of a run gets out of its cell, whatever the format."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter

import pytest
from hostileruns import NASTY, hostile_subjects
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pull_logs.analyze import Subject, View, answer
from pull_logs.cli.formats import Choice, draw_sections, markdown_text
from pull_logs.cli.formats.grid import Grid, grids_of
from pull_logs.cli.formats.latex import latex_text
from pull_logs.cli.formats.tables import draw_tables
from pull_logs.cli.formats.terminal import Terminal
from pull_logs.cli.render import Section, fit_groups
from pull_logs.cli.sections import view_sections
from pull_logs.errors import UsageError

VIEWS = st.sampled_from([View(), View(human=True), View(schema=True, stats=True)])
RUNS = hostile_subjects() | hostile_subjects(most=5)
SPECIAL = st.text(st.sampled_from("ab1 \\{}$&#%_^~<>|\"'`[]*-,=+@:/.!?\x1b\n\u202e"), max_size=20)
TEXTS = NASTY | SPECIAL


def sections_of(runs: list[Subject], view: View) -> list[Section]:
    return view_sections(answer(runs, view))


def grids(sections: list[Section]) -> list[Grid]:
    return [grid for group in fit_groups(sections) for grid in grids_of(group)]


def assert_harmless(text: str) -> None:
    """Only lines and what is visible; a zero-width space of Markdown hides nothing."""
    for char in text.replace("\n", "").replace("\u200b", ""):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp", "Cs"}, ascii(char)


@given(RUNS, VIEWS, st.integers(20, 200))
@settings(max_examples=30, deadline=None)
def test_a_table_fits_its_width_has_every_character_and_nothing_unsafe(
    runs: list[Subject], view: View, width: int
) -> None:
    shown = grids(sections_of(runs, view))
    text = draw_tables(shown, Terminal(width=width, colour=False))
    assert_harmless(text)
    assert all(cell_len(line) <= width for line in text.splitlines())
    wanted = Counter(
        "".join(
            "".join(cell for row in grid.rows for cell in row)
            + ("" if grid.headless or grid.sentences or not grid.rows else "".join(grid.head))
            + grid.name
            + "".join(f"{key}={fact}" for key, fact in grid.facts.items())
            + "".join(grid.notes)
            for grid in shown
        )
    )
    found = Counter(text)
    assert {char for char in wanted if not char.isspace() and wanted[char] > found[char]} == set()


@given(RUNS, VIEWS)
@settings(max_examples=15, deadline=None)
def test_colours_add_nothing_but_their_own_escapes(runs: list[Subject], view: View) -> None:
    shown = grids(sections_of(runs, view))
    coloured = draw_tables(shown, Terminal(width=100, colour=True))
    plain = draw_tables(shown, Terminal(width=100, colour=False))
    without = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in without.splitlines()] == plain.splitlines()


@given(RUNS, st.sampled_from(["markdown", "latex"]))
@settings(max_examples=30, deadline=None)
def test_no_text_breaks_a_table_of_a_paper(runs: list[Subject], form: str) -> None:
    sections = sections_of(runs, View(human=True))
    try:
        text = draw_sections(sections, Choice(form=form))
    except UsageError:
        assert len(runs) < 2
        return
    assert_harmless(text)
    (markdown_tables if form == "markdown" else latex_tables)(text)


def markdown_tables(text: str) -> None:
    """Each line of a table has as many cells as its head, and every other line is one that was written."""
    cells = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            cells = 0
            assert re.match(r"### [A-Z][a-z ]+$|- |[a-z_\\]+: |\(none\)$|$", line), line
            continue
        bars = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        cells = cells or bars
        assert bars == cells
        assert "<" not in line
        assert "`" not in re.sub(r"\\.", "", line)


def latex_tables(text: str) -> None:
    """Outside comments, braces are balanced and each row has the cells of its columns."""
    columns = None
    for line in text.splitlines():
        if line.startswith("%"):
            continue
        bare = re.sub(r"\\[{}$&#%_]", "", line)
        assert bare.count("{") == bare.count("}")
        assert "%" not in bare
        if found := re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", line):
            columns = len(found[1])
        elif line == r"\end{tabular}":
            columns = None
        elif columns and line.endswith(r" \\"):
            assert bare.count("&") == columns - 1
            assert not re.match(r"[\[*]", line)
            assert set(re.findall(r"\\([a-z]+)", bare)) <= {
                "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
                "char", "times",
            }  # fmt: skip


@given(TEXTS)
def test_a_text_is_read_back_from_latex(text: str) -> None:
    shown = latex_text(text)
    back = shown.replace(r"\textbackslash{}", "\0").replace("-{}", "-").replace(",{}", ",")
    for name, char in {
        r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<", r"\textgreater{}": ">",
        r"\textbar{}": "|", r"\char34{}": '"', r"\char39{}": "'", r"\char96{}": "`", "{[}": "[", "{]}": "]",
        "{*}": "*",
    }.items():  # fmt: skip
        back = back.replace(name, char)
    back = re.sub(r"\\([{}$&#%_])", r"\1", back).replace("\0", "\\")
    from pull_logs.cli.render import inline

    assert back == inline(text)


@given(TEXTS)
def test_markdown_has_no_markup_of_a_text(text: str) -> None:
    shown = markdown_text(text)
    assert_harmless(shown)
    bare = re.sub(r"\\[\\`*_\[\]#|~]", " ", shown)
    assert not re.search(r"[`*_\[\]|~<>$]|@\w|://|www\.|#\d", bare)


@given(RUNS, VIEWS)
@settings(max_examples=30, deadline=None)
def test_csv_has_no_formula_and_reads_back(runs: list[Subject], view: View) -> None:
    text = draw_sections(sections_of(runs, view), Choice(form="csv"))
    assert_harmless(text)
    number = re.compile(r"-(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|-Infinity")
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not re.match(r"[=+\-@\t\r]", cell) or number.fullmatch(cell), cell


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "latex"])
def test_markup_of_rich_is_only_text(form: str) -> None:
    section = Section(name="RANKING", rows=[["[bold red]x[/] :smile: [link=https://x.example]y[/link]"]])
    from dataclasses import replace

    from pull_logs.cli.render import columns

    text = draw_sections([replace(section, columns=columns("name"))], Choice(form=form))
    assert "\x1b" not in text
    for word in ("bold red", "smile"):
        assert word in text
