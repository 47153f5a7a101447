"""False alarms, powers and the advice on seeds, simulated: a part on every run, all of it with `-m slow`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from checkout import ROOT
from verdicts import (
    TABLES,
    TRIALS,
    Cell,
    follow_advice,
    found_better,
    found_equivalent,
    gate_fails,
    planned_power,
    share,
)

PAGE = (ROOT / "docs" / "statistics.md").read_text()
FEW = 400


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (5, 0.05), (5, 0.01)])
@pytest.mark.parametrize("paired", [False, True])
def test_a_gate_raises_no_more_false_alarms_than_alpha(n: int, alpha: float, *, paired: bool) -> None:
    found = share(FEW, (n, int(alpha * 100)), gate_fails(n, alpha=alpha, paired=paired, margin=0.3))
    assert Cell("", "", found, at_most=alpha).holds(FEW)


@pytest.mark.parametrize("paired", [False, True])
def test_a_gate_finds_two_standard_deviations_with_five_runs(*, paired: bool) -> None:
    found = share(FEW, (5,), gate_fails(5, alpha=0.05, worse=2.0, paired=paired))
    assert Cell("", "", found, at_least=0.8).holds(FEW)


def test_groups_without_a_difference_are_rarely_different_and_never_more_often_than_said() -> None:
    assert Cell("", "", share(FEW, (1,), found_better(5)), at_most=0.05).holds(FEW)
    wrongly = found_equivalent(10, shift=1.0, margin=1.0, paired=False)
    assert Cell("", "", share(FEW, (2,), wrongly), at_most=0.05).holds(FEW)


def test_the_advised_seeds_decide_where_the_data_were_right() -> None:
    n, power = planned_power(FEW, 1.5)
    assert n == 9
    assert Cell("", "", power, at_least=0.8).holds(FEW)
    advice = follow_advice(60, 5, 1.5)
    assert advice.decided > 0.6


def numbers(header: str) -> Iterator[list[str]]:
    """The cells of the rows of a table of the page, below this header."""
    start = PAGE.index(header)
    for line in PAGE[start:].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


HEADERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "false positives": (
        "| n | Welch | Welch, spread 1 and 3 | Welch, exponential | paired |",
        "n={row}, {column}",
        ("Welch", "Welch, spread 1 and 3", "Welch, exponential", "paired"),
    ),
    "power": (
        "| n | 1 std | 2 std | 1 std, paired |",
        "n={row}, {column}",
        ("1 std", "2 std", "1 std, paired"),
    ),
    "equivalence": (
        "| n | margin 1 std, true 0 | margin 1 std, true 1 |",
        "n={row}, {column}",
        ("margin 1 std, true 0", "margin 1 std, true 1"),
    ),
    "false alarms": (
        "| n, alpha | Welch | paired | 3 metrics | at the margin |",
        "n={row}, {column}",
        ("Welch", "paired", "3 metrics", "at the margin"),
    ),
    "four tasks": (
        "| n | true 0 std | true 1 std |",
        "n={row}, {column}",
        ("true 0 std", "true 1 std"),
    ),
    "gate power": (
        "| n, alpha | Welch | paired, correlation 0 | paired, correlation 0.5 |",
        "n={row}, {column}",
        ("Welch", "paired, correlation 0", "paired, correlation 0.5"),
    ),
}


def on_the_page(table: str) -> dict[str, float]:
    header, form, columns = HEADERS[table]
    found = {}
    for first, *cells in numbers(header):
        row = re.sub(r"^(\d+), ", r"\1, alpha=", first)
        for column, cell in zip(columns, cells, strict=True):
            found[form.format(row=row, column=column)] = float(cell.rstrip("%")) / 100
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cells", TABLES, ids=lambda cells: cells.__name__)
def test_the_tables_of_the_page_are_those_of_ten_thousand_trials(
    cells: Callable[[int], Iterator[Cell]],
) -> None:
    found = list(cells(TRIALS))
    assert [cell for cell in found if not cell.holds(TRIALS)] == []
    for cell in found:
        if cell.table in HEADERS:
            assert on_the_page(cell.table)[cell.row] == pytest.approx(cell.share, abs=0.02), cell


def test_every_table_has_all_of_its_cells_on_the_page() -> None:
    counts = {table: len(on_the_page(table)) for table in HEADERS}
    assert counts == {
        "false positives": 16,
        "power": 12,
        "equivalence": 8,
        "false alarms": 40,
        "gate power": 30,
        "four tasks": 6,
    }
    assert "python benchmarks/verdicts.py" in PAGE
