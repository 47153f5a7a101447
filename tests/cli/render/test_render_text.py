"""The renderer of sections: its text is harmless, complete without a budget, and within a budget."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hostileruns import NASTY
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.render.budget import MIN_TOKENS
from pull_logs.cli.render.cells import (
    ABSENT,
    At,
    at_cell,
    cell,
    exact,
    known,
    known_exact,
    name_cell,
    text_cell,
)
from pull_logs.cli.render.escape import escape, inline
from pull_logs.cli.render.section import Column, Layout, Section
from pull_logs.cli.render.text import render_text
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.errors import UsageError

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | NASTY | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=6,
)
CELLS = st.one_of(
    st.tuples(st.just(cell), VALUES | st.just(ABSENT)),
    st.tuples(st.sampled_from([exact, known]), VALUES),
    st.tuples(st.just(known_exact), VALUES | st.just(ABSENT)),
    st.tuples(st.sampled_from([name_cell, text_cell]), st.none() | NASTY),
    st.tuples(st.just(at_cell), st.builds(At, VALUES, st.none() | st.integers(0, 2**40))),
)


@st.composite
def sections(draw: st.DrawFn, names: tuple[str, ...] = ("ONE", "TWO", "THREE", "FOUR")) -> list[Section]:
    made = []
    for name in draw(st.lists(st.sampled_from(names), max_size=6).map(sorted)):
        layout: Layout = draw(st.sampled_from(["table", "records", "legend", "sentences"]))
        width = {"records": 2, "sentences": 1}.get(layout) or draw(st.integers(1, 5))
        many = draw(st.sampled_from([0, 1, 3, 400]))
        first = [draw(st.tuples(st.just(name_cell), NASTY)), *(draw(CELLS) for _ in range(width - 1))]
        if layout == "sentences":
            first = [(str, draw(NASTY))]
        shows = [show for show, _ in first]
        row = [value for _, value in first]
        made.append(
            Section(
                name=name,
                facts=draw(
                    st.dictionaries(st.sampled_from(["run", "rows", "at"]), st.none() | NASTY, max_size=3)
                ),
                columns=[Column("name" if layout == "legend" else draw(NASTY), show) for show in shows],
                rows=[row] * many,
                notes=draw(st.lists(NASTY, max_size=2)),
                layout=layout,
                kept=draw(st.integers(1, width)) if layout == "table" else width,
                sampled=many if layout == "table" and draw(st.booleans()) else None,
            )
        )
    return made


def harmless(text: str) -> bool:
    return all(
        not line.startswith("[")
        or re.fullmatch(r'\[[A-Z_]+\]( [a-z_]+=([^\s"\[]\S*|"([^"\\]|\\.)*"))*', line)
        for line in text.splitlines()
    ) and not any(
        unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"} for char in text.replace("\n", "")
    )


@given(sections())
def test_without_a_budget_every_row_is_a_line_and_nothing_is_forged(made: list[Section]) -> None:
    text = render_text(made)
    assert harmless(text)
    lines = text.splitlines()
    for section in made:
        assert sum(line.startswith(f"[{section.name}]") for line in lines) == sum(
            other.name == section.name for other in made
        )
    expected = sum(
        1  # the heading
        + len(section.rows)
        + (section.layout == "table" and bool(section.rows))
        + len(section.notes)
        + (not section.rows and not section.notes)  # (none)
        for section in made
    )
    assert len(lines) == expected


@given(sections(), st.integers(MIN_TOKENS, 2000))
def test_with_a_budget_it_fits_keeps_every_heading_and_says_what_was_cut(
    made: list[Section], tokens: int
) -> None:
    text = render_text(made, max_tokens=tokens)
    assert count_tokens(text) <= tokens
    assert harmless(text)
    names = {section.name for section in made}
    assert {line.split("]")[0][1:] for line in text.splitlines() if line.startswith("[")} == names
    complete = render_text(made)
    if text != complete:
        assert count_tokens(complete) > tokens
        assert re.search(
            r"^# cut to (nothing|0 of \d+ .+|.+; --max-tokens N shows more)$", text, re.MULTILINE
        )


def test_sections_of_one_name_are_cut_together_and_the_note_counts_runs_rows_and_columns() -> None:
    columns = [Column("_step"), *(Column(f"metric{number}") for number in range(30))]
    rows: list[list[Any]] = [[step, *[step / 7] * 30] for step in range(100)]
    made = [
        Section(name="HISTORY", facts={"run": f"run{n}"}, columns=columns, rows=rows, remedy="see --where")
        for n in range(50)
    ]
    text = render_text(made, max_tokens=MIN_TOKENS)
    headings = [line for line in text.splitlines() if line.startswith("[")]
    found = re.search(
        r"\n# cut to (\d+) of 50 runs, (\d+) of 100 rows, (\d+) of 30 columns; see --where\n$", text
    )
    assert found
    assert len(headings) == int(found[1])
    assert len(text.splitlines()) == len(headings) * (2 + int(found[2])) + 1


def test_a_sample_keeps_its_ends_and_its_extremes_and_its_heading_counts_the_rows() -> None:
    rows = [[step, 1e9 if step == 777 else 1 / (step + 1)] for step in range(2000)]
    section = Section(
        name="HISTORY",
        facts={"rows_shown": 2000, "sampling": "none"},
        columns=[Column("_step"), Column("loss")],
        rows=rows,
        sampled=2000,
    )
    heading, _, *shown, note = render_text([section], max_tokens=MIN_TOKENS).splitlines()
    assert heading == f'[HISTORY] rows_shown={len(shown)} sampling="extremes {len(shown)}/2000"'
    assert note == f"# cut to {len(shown)} of 2000 rows; --max-tokens N shows more"
    assert {"0,1", "777,1000000000", "1999,0.0005"} <= set(shown)


def test_a_long_text_is_cut_before_rows_are_and_the_cell_stays_a_json_string() -> None:
    section = Section(
        name="CONFIG",
        columns=[Column("key", name_cell), Column("A", known_exact)],
        rows=[["note", "x" * 5000], ["lr", 0.1], ["none", None], ["absent", ABSENT]],
    )
    _, _, note, *others, cut = render_text([section], max_tokens=MIN_TOKENS).splitlines()
    shown = json.loads(note.removeprefix("note,"))
    assert set(shown[:-1]) == {"x"}
    assert shown[-1] == "…"
    assert 500 <= len(shown) <= 800
    assert others == ["lr,0.1", "none,null", "absent,"]
    assert cut == f"# cut to texts of {len(shown)} characters; --max-tokens N shows more"


def test_a_heading_alone_has_no_more_lines_and_a_section_without_rows_says_so() -> None:
    assert render_text([Section(name="VERIFY", facts={"ok": "yes", "run": None})]) == "[VERIFY] ok=yes\n"
    assert render_text([Section(name="AUDIT", columns=[Column("run")])]) == "[AUDIT]\n(none)\n"
    assert render_text([Section(name="", columns=[Column("note")], layout="sentences")]) == ""


@given(NASTY)
def test_a_name_is_bare_or_a_json_string(text: str) -> None:
    assert name_cell(text) == (escape(text) if text else "")
    assert inline(name_cell(text)) == name_cell(text)


def test_a_budget_for_nothing_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        render_text([], max_tokens=299)
    assert str(caught.value) == (
        "--max-tokens 299 is too small for any answer; give at least 300, or 0 for no limit"
    )
