"""Every citation of a page in the code resolves: the page exists, and has the heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from checkout import ROOT
from plain_english import prose_of

SEARCHED = ("pull_logs", "tests", "benchmarks", "fixtures", "scripts")
FILES = sorted(
    path
    for folder in SEARCHED
    for path in (ROOT / folder).rglob("*.py*")
    if path.suffix in {".py", ".pyi"} and path != Path(__file__).resolve()
)

CITATION = re.compile(r"\bdocs/(?P<page>[\w/-]+\.md)(?:, \\?\"(?P<heading>[^\"\\]+)\\?\")?")
OLD = re.compile(
    r"API facts|format facts|facts page|\bdesign,? section|\bsections? \d|design\.md|layout\.md|shared/",
    re.IGNORECASE,
)
"""How pages that are not in this repository, or numbers of sections, would be cited."""


@cache
def headings(page: str) -> frozenset[str]:
    """The headings of a page, without numbers and marks."""
    path = ROOT / "docs" / page
    if not path.is_file():
        return frozenset()
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"^\d+(\.\d+)*\.? ", "", heading.replace("`", "")).strip() for heading in found)


def texts(path: Path) -> list[tuple[int, str]]:
    """Each string and comment of a file as one line of text, with the number of its first line."""
    return [
        (chunk[0][0], " ".join(" ".join(line.split()) for _, line in chunk))
        for chunk in prose_of(path.read_text(encoding="utf-8"))
    ]


CITED = [
    (path.relative_to(ROOT).as_posix(), line, match["page"], match["heading"])
    for path in FILES
    for line, text in texts(path)
    for match in CITATION.finditer(text)
]


def test_every_citation_resolves() -> None:
    wrong = [
        f"{path}:{line}: docs/{page} has no heading {heading!r}"
        if heading
        else f"{path}:{line}: no docs/{page}"
        for path, line, page, heading in CITED
        if (heading or "") not in headings(page) | ({""} if headings(page) else set())
    ]
    assert not wrong, "\n".join(wrong)


def test_no_citation_is_of_what_is_not_in_the_repository() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {match.group()}"
        for path in FILES
        for line, text in texts(path)
        for match in OLD.finditer(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_protocol_and_the_format_are_cited() -> None:
    cited = {(page, heading) for path, _, page, heading in CITED if path.startswith("pull_logs/")}
    assert {page for page, _ in cited} >= {"protocol.md", "bundle-format.md"}
    assert ("protocol.md", "History") in cited


@pytest.mark.parametrize(
    ("text", "page", "heading"),
    [
        ('See docs/protocol.md, "History".', "protocol.md", "History"),
        ('(docs/concepts/rows.md, "One row per step")', "concepts/rows.md", "One row per step"),
        ("docs/health.md defines them", "health.md", None),
    ],
)
def test_a_citation_has_one_form(text: str, page: str, heading: str | None) -> None:
    found = CITATION.search(text)
    assert found
    assert (found["page"], found["heading"]) == (page, heading)


def test_headings_are_cited_without_their_numbers() -> None:
    assert {"Files", "The ZIP", "Names", "What a reader checks"} <= headings("bundle-format.md")
    assert headings("nowhere.md") == frozenset()


LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def slug(heading: str) -> str:
    """The anchor that Markdown makes of a heading."""
    text = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower(), flags=re.ASCII)
    return re.sub(r"[-\s]+", "-", text.strip())


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_of_a_page_lead_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            anchors = {slug(heading) for heading in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)}
            assert anchor in anchors, f"{target}#{anchor}"


PATHS = re.compile(r"`((?:tests|pull_logs|benchmarks|fixtures|scripts|docs|\.github)/[\w./-]+)`")
EXAMPLES = frozenset({"tests/test_report.py"})
"""Paths of a reader's own project."""


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*/README.md"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_files_of_this_repository_that_a_page_names_exist(page: Path) -> None:
    named = set(PATHS.findall(page.read_text())) - EXAMPLES
    missing = [path for path in sorted(named) if "PAGE" not in path and not (ROOT / path).exists()]
    assert missing == []
