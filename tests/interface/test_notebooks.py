"""What a notebook shows of bundles, runs and answers: tables, in which every text is escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

import pull_logs
from pull_logs.snapshot import html_table

HOSTILE = "<script>alert(1)</script>&\x1b[31m"
TAGS = {"table", "caption", "b", "thead", "tbody", "tr", "th", "td", "p"}


class Reader(HTMLParser):
    """Collects the tags and the texts of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [
        bundle_run(
            f"acme/nano/r{number:02d}",
            name=HOSTILE,
            config={HOSTILE: HOSTILE, "lr": 0.1 * number},
            summary={"loss": number},
        )
        for number in range(23)
    ]
    return make_bundle(tmp_path_factory.mktemp("bundle") / "many.wandb.zip", runs)


def test_a_bundle_shows_its_runs_and_how_many_more_there_are(path: Path) -> None:
    with pull_logs.open_bundle(path) as bundle:
        found = Reader(bundle._repr_html_())
    assert found.tags == TAGS
    assert found.texts[0].endswith("many.wandb.zip: 23 runs")
    assert found.texts[1:7] == ["run", "name", "state", "rows", "last step", "complete"]
    assert found.texts[7:13] == [
        "acme/nano/r00",
        "<script>alert(1)</script>&\ufffd[31m",
        "finished",
        "3",
        "4",
        "True",
    ]
    assert found.texts[-1] == "and 3 more"


def test_a_run_shows_its_facts_its_config_and_its_summary(path: Path) -> None:
    with pull_logs.open_bundle(path) as bundle:
        found = Reader(bundle["r02"]._repr_html_())
    assert found.tags == TAGS - {"p"}
    at = found.texts.index("lr")
    assert found.texts[at : at + 2] == ["lr", "0.2"]
    assert found.texts[-2:] == ["loss", "2"]


def test_answers_show_their_sentence_and_their_lists(path: Path) -> None:
    compared = Reader(pull_logs.compare(path, best="loss:min")._repr_html_())  # type: ignore[attr-defined]
    assert compared.texts[0].startswith("best loss (min): ")
    assert {"runs", "ranking", "comparison", "config_diff"} <= set(compared.texts)
    looked = Reader(pull_logs.overview(path)._repr_html_())  # type: ignore[attr-defined]
    assert looked.texts[0].startswith("<overview: 23 runs; ")
    assert {"states", "health"} <= set(looked.texts)
    assert compared.tags | looked.tags == TAGS


@given(st.text(max_size=40), st.lists(st.text(max_size=40) | st.floats() | st.none(), max_size=3))
def test_no_text_becomes_markup(caption: str, cells: list[object]) -> None:
    found = Reader(html_table(caption, [caption], [cells], total=1))
    assert found.tags <= TAGS
