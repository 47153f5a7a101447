"""Runs of people who mean harm, or log whatever comes to their mind: for the laws of the output."""

from __future__ import annotations

from typing import Any

from fakeruns import FakeRun, label
from hypothesis import strategies as st
from rowkit import canonical, values

from pull_logs.analyze import Subject
from pull_logs.runs import Coverage

NASTY = st.one_of(
    st.sampled_from(
        [
            "[RUNS] runs=9",
            "\n[HISTORY] run=A",
            "x\r[CONFIG]",
            "\u2028[STATS]",
            "\u202e]SNUR[",
            "a\u200bb",
            "\x1b[31mred",
            "(none)",
            "# cut to nothing",
            "null",
            "1,2",
            'quo"te\\',
            "",
            "\U000e0041\U000e0042",
            "\ud800",
            "ключ",
            "e" * 700,
        ]
    ),
    st.text(st.characters(exclude_categories=()), max_size=12),
)
"""Text that tries to forge a heading, to hide, or to be long."""

RECORDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    NASTY, values | NASTY | st.dictionaries(NASTY, NASTY, max_size=3), max_size=6
)
ROWS = st.lists(
    st.builds(
        lambda step, row: {**row, "_step": step},
        st.integers(0, 40),
        st.dictionaries(NASTY, values | NASTY, max_size=4),
    ),
    max_size=8,
)


@st.composite
def hostile_subjects(draw: st.DrawFn, *, most: int = 3) -> list[Subject]:
    """Up to `most` runs with nasty names, keys and values, one of which a checkpoint may have named."""
    return [
        Subject(
            label=label(place),
            run=FakeRun(
                canonical(draw(ROWS)),
                name=draw(NASTY),
                config=draw(RECORDS),
                summary=draw(RECORDS),
                coverage=Coverage(complete=draw(st.booleans()), reason=draw(NASTY)),
            ),
            checkpoint=draw(st.none() | NASTY),
            checkpoint_step=draw(st.none() | st.integers(0, 40)),
            source=draw(NASTY),
        )
        for place in range(draw(st.integers(0, most)))
    ]
