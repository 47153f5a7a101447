"""What a notebook shows of bundles, runs and answers: tables, in which every text is escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

import pull_logs
from pull_logs.fetch import PullProgress, RateLimit
from pull_logs.interface.notebook_progress import _CellProgress, progress_html
from pull_logs.snapshot import html_lines, html_table

HOSTILE = "<script>alert(1)</script>&\x1b[31m"
TABLE = {"table", "caption", "b", "thead", "tbody", "tr", "th", "td"}
TAGS = {*TABLE, "p"}
ANSWER_TAGS = {*TAGS, "ul", "li", "details", "summary"}


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
        "yes",
    ]
    assert found.texts[-1] == "and 3 more"


def test_a_run_shows_its_facts_its_config_and_its_summary(path: Path) -> None:
    with pull_logs.open_bundle(path) as bundle:
        found = Reader(bundle["r02"]._repr_html_())
    assert found.tags == TABLE
    at = found.texts.index("lr")
    assert found.texts[at : at + 2] == ["lr", "0.2"]
    assert found.texts[-2:] == ["loss", "2"]


def test_answers_show_their_sentence_and_their_lists(path: Path) -> None:
    compared = Reader(pull_logs.compare(path, best="loss:min")._repr_html_())  # type: ignore[attr-defined]
    assert compared.texts[0].startswith("best loss (min): ")
    assert {"23 runs", "ranking", "comparison", "config diff"} <= set(compared.texts)
    looked = Reader(pull_logs.overview(path)._repr_html_())  # type: ignore[attr-defined]
    assert looked.texts[0].startswith("<overview: 23 runs; ")
    assert {"states", "health"} <= set(looked.texts)
    assert compared.tags | looked.tags == ANSWER_TAGS - {"ul", "li"}


@given(st.lists(st.text(max_size=40), max_size=25))
def test_sentences_are_a_list_without_markup_of_their_own(texts: list[str]) -> None:
    found = Reader(html_lines(texts))
    assert found.tags <= {"ul", "li", "p"}
    assert len(found.texts) >= len([text for text in texts[:20] if text])
    assert (f"and {len(texts) - 20} more" in found.texts) == (len(texts) > 20)


def test_numbers_are_on_the_right_and_empty_columns_are_left_out() -> None:
    rows = [("a", 1, None, True, {"lr": 0.1}), ("b", 2.5, None, False, [1, None, "x"])]
    html = html_table("t", ("name", "value", "empty", "done", "more"), rows, total=2)
    cells = ["a", "1", "yes", "lr=0.1", "b", "2.5", "no", "1, none, x"]
    assert Reader(html).texts == ["t", "name", "value", "done", "more", *cells]
    assert html.count('<td style="text-align:right">') == 2
    assert html.count('<td style="text-align:left">') == 6
    assert "color" not in html, "a notebook is light or dark"


@given(st.text(max_size=40), st.lists(st.text(max_size=40) | st.floats() | st.none(), max_size=3))
def test_no_text_becomes_markup(caption: str, cells: list[object]) -> None:
    found = Reader(html_table(caption, [caption] * len(cells), [cells], total=1))
    assert found.tags <= TAGS


class Kernel:
    """What a kernel gives to what is displayed in it."""

    def __init__(self) -> None:
        self.kernel = self.display_pub = self
        self.shown: list[tuple[str, str, bool]] = []

    def publish(self, data: dict[str, str], *, transient: dict[str, str], update: bool) -> None:
        self.shown.append((data["text/html"], transient["display_id"], update))


def test_progress_in_a_notebook_updates_one_output_and_shows_the_last_state() -> None:
    kernel = Kernel()
    show = _CellProgress(kernel)
    for done in range(1000):
        show(PullProgress(runs_done=done, runs_total=1000))
    show(PullProgress(runs_done=1000, runs_total=1000, rows=7, retries=2, bytes_received=10**6, seconds=3.2))
    assert len({output for _, output, _ in kernel.shown}) == 1
    assert [update for _, _, update in kernel.shown] == [False, *[True] * (len(kernel.shown) - 1)]
    assert len(kernel.shown) < 100, "a few updates a second"
    assert kernel.shown[-1][0] == (
        '<div><progress value="1000" max="1000"></progress> '
        "1,000 of 1,000 runs, 7 rows, 1.0 MB, 2 retries, 3 s</div>"
    )


def test_progress_outside_of_a_notebook_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    pull_logs.notebook_progress()(PullProgress(runs_total=3))
    assert capsys.readouterr() == ("", "")


def test_a_failure_in_the_progress_is_no_markup() -> None:
    state = PullProgress(runs_failed=1, failure=HOSTILE, rate_limit=RateLimit(wait=9))
    found = Reader(progress_html(state))
    assert found.tags == {"div", "br"}
    assert found.texts == [
        "0 runs, 0 rows, 0.0 MB, waiting 9 s for the rate limit, 0 s",
        f"1 failed, the last: {HOSTILE}",
    ]
