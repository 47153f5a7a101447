"""Numbers have the digits that distinguish them, or as many as were asked for."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import combinations
from random import Random

import numpy as np
import pytest
from checkout import RECORDED
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.main import main
from pull_logs.cli.render import At, Column, Section, at_cell, columns, known, render_text
from pull_logs.cli.render.cells import short_float
from pull_logs.cli.render.numbers import MOST_DIGITS

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.builds(
    lambda start, parts, unit: [start + part * unit * start for part in parts],
    st.sampled_from([1.0, 1 / 3, 0.99999951, 123456.5, -2.5e-7, 1_790_000_000.0, 1e15, 3e17]),
    st.lists(st.integers(-12, 12), min_size=2, max_size=8),
    st.sampled_from([1e-5, 5e-7, 1e-7, 3e-9, 1e-11, 1e-13, 2.0**-52]),
)
"""Numbers close to each other, about where rounding to some digits makes them equal."""
COLUMNS = NEAR | st.lists(NUMBERS | st.integers(-(10**7), 10**7).map(float), max_size=6)


def agree(one: float, other: float, digits: int) -> bool:
    """Whether two numbers are the same after rounding to so many significant digits."""
    return f"{one:.{digits - 1}e}" == f"{other:.{digits - 1}e}"


def same(one: float, other: float, digits: int = MOST_DIGITS) -> bool:
    """Whether numbers may have one text: they agree, or one is the other after rounding to 32 bits."""
    if max(abs(one), abs(other)) < 3e38 and np.float32(one) == np.float32(other) in (one, other):
        return True
    return one == other or agree(one, other, digits)


def is_shown_of(text: str, number: float, digits: int) -> bool:
    """Whether a text is a number within half a unit of its last significant digit."""
    if not number:
        return float(text) == 0
    unit = Decimal(10) ** (Decimal(number).adjusted() - digits + 1)
    return abs(Decimal(text) - Decimal(number)) <= unit / 2


def column_texts(section: Section, digits: int | None = None) -> list[list[str]]:
    lines = render_text([section], digits=digits).splitlines()
    return [line.split(",")[1:] for line in lines[2:]]


def column_of(numbers: list[float]) -> Section:
    return Section(name="STATS", columns=columns("run", "mean"), rows=[["r", value] for value in numbers])


@given(COLUMNS)
def test_different_numbers_of_a_column_have_different_texts_unless_they_agree_in_twelve_digits(
    numbers: list[float],
) -> None:
    texts = [text for (text,) in column_texts(column_of(numbers))]
    for (one, shown), (other, other_shown) in combinations(zip(numbers, texts, strict=True), 2):
        if shown == other_shown:
            assert same(one, other)
    for number, text in zip(numbers, texts, strict=True):
        assert is_shown_of(text, number, 6)


@given(NEAR)
def test_different_numbers_of_a_row_of_a_comparison_have_different_texts_too(numbers: list[float]) -> None:
    runs = [Column(f"r{index}", at_cell if index % 2 else known) for index in range(len(numbers))]
    row = ["loss", *(At(value, None) if index % 2 else value for index, value in enumerate(numbers))]
    ((*texts,),) = column_texts(Section(name="COMPARISON", columns=[Column("metric"), *runs], rows=[row]))
    for (one, shown), (other, other_shown) in combinations(zip(numbers, texts, strict=True), 2):
        assert shown != other_shown or same(one, other)


@given(NEAR, st.integers(2, 4), st.randoms(use_true_random=False))
def test_numbers_of_a_table_are_distinguished_in_each_column_and_in_each_row(
    numbers: list[float], width: int, random: Random
) -> None:
    rows = [[random.choice(numbers) for _ in range(width)] for _ in range(4)]
    names = [f"r{index}" for index in range(width)]
    section = Section(name="SUMMARY", columns=columns("key", *names), rows=[["loss", *row] for row in rows])
    cells = [list(zip(*pair, strict=True)) for pair in zip(rows, column_texts(section), strict=True)]
    for group in (*cells, *zip(*cells, strict=True)):
        for (one, shown), (other, other_shown) in combinations(group, 2):
            assert shown != other_shown or same(one, other)


@given(COLUMNS, st.integers(1, 17))
def test_a_number_is_read_back_within_the_digits_that_were_asked_for(
    numbers: list[float], digits: int
) -> None:
    for number, (text,) in zip(numbers, column_texts(column_of(numbers), digits), strict=True):
        assert is_shown_of(text, number, digits)
        if digits == 17:
            assert float(text) == number


@given(st.floats(-1e16, 1e16, exclude_min=True, exclude_max=True), st.integers(1, 17))
def test_all_digits_before_the_point_are_shown(number: float, digits: int) -> None:
    text = short_float(number, digits)
    assert "e+" not in text
    assert abs(float(text) - number) <= max(0.5, math.ulp(number)) or agree(float(text), number, digits)


def test_close_numbers_have_the_digits_that_distinguish_them_and_others_six() -> None:
    values = [0.123456789, 0.1234567, 0.5, 1 / 3, 999_999.7, 1_000_000.0]
    assert column_texts(column_of(values)) == [
        ["0.1234568"], ["0.1234567"], ["0.5"], ["0.333333"], ["999999.7"], ["1000000"]
    ]  # fmt: skip


def test_a_number_of_32_bits_has_the_digits_that_distinguish_it_from_other_such_numbers() -> None:
    tenth, next_one = float(np.float32(0.1)), float(np.nextafter(np.float32(0.1), np.float32(1)))
    assert column_texts(column_of([tenth, 0.1])) == [["0.1"], ["0.1"]]
    assert column_texts(column_of([tenth, next_one])) == [["0.1"], ["0.10000001"]]
    assert column_texts(column_of([tenth, 0.1000000001])) == [["0.1"], ["0.1000000001"]]


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0), max_size=6)
)
def test_different_numbers_of_32_bits_have_different_texts(numbers: list[float]) -> None:
    texts = [text for (text,) in column_texts(column_of(numbers))]
    for (one, shown), (other, other_shown) in combinations(zip(numbers, texts, strict=True), 2):
        assert (shown == other_shown) == (one == other)


def test_the_metrics_of_a_row_of_history_are_not_compared_with_each_other() -> None:
    row = [0, 0.123456789, 0.1234567]
    section = Section(name="HISTORY", columns=columns("_step", "a", "b"), rows=[row], sampled=1)
    assert column_texts(section) == [["0.123457", "0.123457"]]


@pytest.mark.parametrize("form", ["text", "table", "markdown", "latex"])
def test_digits_are_those_that_were_asked_for(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", "-b", str(RECORDED), "--best", "val/loss", "--section", "RANKING", "--no-hints")
    assert main([*words, "--format", form, "--digits", "3"]) == 0
    out = capsys.readouterr().out
    assert "0.0891" in out
    assert "0.08913" not in out


@pytest.mark.parametrize("form", ["json", "csv"])
def test_formats_with_all_digits_refuse_another_number_of_them(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "-b", str(RECORDED), "--format", form, "--digits", "3"]) == 2
    assert capsys.readouterr().err == (
        f"pull-logs: error: --digits is for text and tables; {form.upper()} has all digits; "
        f"leave out --digits or choose another format than {form}\n"
    )
