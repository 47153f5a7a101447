"""docs/output.md lists every section, and each is printed with the columns it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from checkout import ROOT

PAGE = (ROOT / "docs" / "output.md").read_text().partition("\n## Columns\n")[2].partition("\n## ")[0]
GOLDEN = ROOT / "tests" / "cli" / "render" / "golden"
ROWS = re.findall(r"^\| `\[([A-Z_]+)\]` \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)

COMPLETE = [file for file in sorted(GOLDEN.glob("*.txt")) if "# cut to" not in file.read_text()]


def forms(columns: str) -> list[re.Pattern[str]]:
    """The lines of column names that a row of the page allows."""
    lists = [text for text in re.findall(r"`([^`]+)`", columns) if "," in text]
    return [
        re.compile(r"(,[^,]*|,\".*\")*".join(map(re.escape, re.split(r",[A-Z]+\.\.\.", text))))
        for text in lists
    ]


ALLOWED = {name: forms(columns) for name, _, columns in ROWS}


def tables(text: str) -> list[tuple[str, str]]:
    """The name of each section with the line after its heading."""
    lines = text.splitlines()
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    return [(line[1 : line.index("]")], after) for line, after in pairs if line.startswith("[")]


@pytest.mark.parametrize("file", COMPLETE, ids=lambda file: file.stem)
def test_each_table_has_the_columns_that_the_page_lists(file: Path) -> None:
    for name, after in tables(file.read_text()):
        assert name in ALLOWED
        other = (
            not ALLOWED[name]
            or re.match(r"#|\(none\)|\[|$", after)
            or (name in ("META", "CONFIG", "SUMMARY") and ": " in after)
        )
        assert other or any(form.fullmatch(after) for form in ALLOWED[name]), after


def test_the_page_lists_every_section_that_a_command_makes_and_no_other() -> None:
    made = {
        node.value
        for file in (ROOT / "pull_logs" / "cli" / "sections").rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        for node in (*call.args[:1], *(word.value for word in call.keywords if word.arg == "name"))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch("[A-Z_]{2,}", node.value)
    }
    assert made == set(ALLOWED)
    assert len(ROWS) == len(ALLOWED)


def test_a_column_that_the_page_does_not_list_is_noticed() -> None:
    assert not any(form.fullmatch("assert,holds,run,path,because") for form in ALLOWED["ASSERTIONS"])
    assert any(form.fullmatch("metric,value,A,B") for form in ALLOWED["COMPARISON"])
    assert not any(form.fullmatch("metric,A,B") for form in ALLOWED["COMPARISON"])
