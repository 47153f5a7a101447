"""The report as a person uses it, in a headless Chromium without a network."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browserkit import REQUIRED, open_report, require_browser, running_browser, wait_drawn
from bundlekit import bundle_run, make_bundle
from reportkit import HOSTILE, PLANTED, planted_bundle, planted_rows

from pull_logs.cli.main import main

NODE_MODULES = os.environ.get("PULL_LOGS_NODE_MODULES")
ON_DEMAND = os.environ.get(REQUIRED)
# The environment of a test has no such variables.

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    out = folder / "report.html"
    assert main(["report", str(planted_bundle(folder)), "--group-by", "config.lr", "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Any]:
    with running_browser(require_browser(ON_DEMAND)) as found:
        yield found


@pytest.fixture
def show(browser: Any, report: Path) -> Iterator[Open]:
    """Opens the report; afterwards, nothing may have been said on its console or requested."""
    pages: list[Any] = []

    def opened(fragment: str = "", **context: Any) -> Any:
        pages.append(open_report(browser, report, fragment=fragment, **context))
        return pages[-1]

    yield opened
    for page in pages:
        assert page.seen == []
        page.context.close()


def fragment_of(**view: Any) -> str:
    return "#" + "&".join(f"{key}={quote(json.dumps(value))}" for key, value in view.items())


def view_of(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("() => window.pullLogsReport.model.view")
    return found


def drawn(page: Any, metric: str) -> dict[str, Any]:
    """What the model behind a canvas draws: values and marks of each run, and the axis."""
    found: dict[str, Any] = page.evaluate(
        """(name) => {
          const { data } = window.pullLogsReport.grid.panels.get(name);
          const values = {};
          for (const item of data.drawn) {
            values[`${item.kind} ${item.run < 0 ? item.group : item.run}`] =
              item.values.slice(1, -1).filter((value) => value !== null && value !== undefined);
          }
          return { values, marks: data.marks.map(({ run, code }) => [run, code]), logY: data.logY,
            yRange: data.yRange, colors: data.drawn.map((item) => item.color), notes: data.notes,
            columns: data.columns };
        }""",
        metric,
    )
    return found


def rows_of(page: Any) -> list[str]:
    found: list[str] = page.locator("#run-body tr th").all_inner_texts()
    return found


def column(page: Any, name: str) -> list[str]:
    heads = page.locator("#run-head th").all_inner_texts()
    place = next(index for index, text in enumerate(heads) if text.rstrip(" ▲▼") == name)
    found: list[str] = page.locator(f"#run-body tr > :nth-child({place + 1})").all_inner_texts()
    return found


def test_it_shows_the_verdict_the_runs_and_the_charts(show: Open) -> None:
    page = show()
    assert page.title() == "acme/planted: run report"
    assert page.inner_text("#verdict").startswith("Best val/acc (max): G")
    assert page.inner_text("#facts-line") == "12 runs, 11 metrics, 18,000 rows; every history is complete"
    assert page.inner_text("#run-count") == "12 of 12 runs shown"
    assert page.locator("#run-body tr").count() == 12
    assert page.locator(".panel canvas").count() > 4
    assert page.locator("button.family").inner_text() == "layers/*/norm (6 charts)"
    page.click("button.family")
    wait_drawn(page)
    assert page.locator(".panel h3").all_inner_texts()[-1] == "layers/5/norm"


def test_one_run_with_one_family_of_metrics_shows_charts(browser: Any, tmp_path: Path) -> None:
    rows = [{"_step": step} | {f"ngram_{n}/acc": n / (step + 1) for n in range(300)} for step in range(2)]
    bundle = make_bundle(tmp_path / "one.zip", [bundle_run("acme/nano/a", rows, config={"lr": 0.1})])
    assert main(["report", str(bundle), "-o", str(tmp_path / "one.html")]) == 0
    page = open_report(browser, tmp_path / "one.html")
    assert page.inner_text("#facts-line") == "1 run, 300 metrics, 2 rows; every history is complete"
    assert page.locator(".panel h3").first.inner_text() == "ngram_0/acc"
    assert not page.is_visible("#difference-table")
    assert page.inner_text("#difference-count") == "No key differs, 1 is the same in all runs"
    assert page.seen == []
    page.context.close()


def test_hostile_texts_are_texts(show: Open) -> None:
    page = show(fragment_of(columns=["name", f"config.{HOSTILE}", "notes", "tags"]))
    assert page.title() == "acme/planted: run report"
    assert page.locator("img, script[src]").count() == 0
    shown = HOSTILE.replace("\u2028", "")
    assert any(text.replace("\u2028", "").replace("\n", "") == shown for text in rows_of(page))
    assert HOSTILE in page.evaluate(
        "() => [...document.querySelectorAll('.panel h3')].map((h) => h.textContent)"
    )
    assert "owned" not in page.title()


def test_columns_sort_up_down_and_back_to_the_ranking(show: Open) -> None:
    page = show()
    ranking = rows_of(page)
    for expected in (sorted, lambda cells: sorted(cells, reverse=True)):
        page.click("#run-head button >> text=/^val\\/acc/")
        numbers = [float(text) for text in column(page, "val/acc")]
        assert numbers == expected(numbers)
    page.click("#run-head button >> text=/^val\\/acc/")
    assert rows_of(page) == ranking
    assert page.locator("#run-head th[aria-sort=descending]").count() == 0


def test_a_filter_keeps_runs_in_table_and_charts(show: Open) -> None:
    page = show()
    texts = {
        "lr <= 0.01": 8,
        'state == "crashed"': 1,
        "lr == 0.1 and seed >= 2": 2,
        "rate 0.001": 4,
        "zzz": 0,
    }
    for text, count in texts.items():
        page.fill("#filter", text)
        wait_drawn(page)
        assert page.locator("#run-body tr").count() == count
        assert len(drawn(page, "val/acc")["values"]) == count
        assert (page.inner_text("#filter-kind") != "") == (text in ("rate 0.001", "zzz"))


def test_planted_extremes_are_drawn_at_every_zoom(show: Open) -> None:
    page = show(fragment_of(y="linear"))
    rows = planted_rows(0)
    for low, high in ((0, 1499), (350, 1000), (405, 420), (730, 736), (895, 905)):
        page.evaluate("(range) => window.pullLogsReport.grid.zoom(range)", [low, high])
        wait_drawn(page)
        found = drawn(page, "train/loss")
        visible = {row["_step"]: row["train/loss"] for row in rows if low <= row["_step"] <= high}
        finite = [value for value in visible.values() if math.isfinite(value)]
        values = found["values"]["line 0"]
        assert min(values) == pytest.approx(min(finite), rel=1e-6)
        assert max(values) == pytest.approx(max(finite), rel=1e-6)
        marks = [[0, 0 if math.isnan(PLANTED[step]) else 1] for step in (900, 901) if step in visible]
        assert sorted(found["marks"]) == marks
        assert found["yRange"][0] <= min(values)
        assert max(values) <= found["yRange"][1]


def test_dragging_zooms_every_chart_and_a_double_click_shows_all(show: Open) -> None:
    page = show()
    box = page.locator(".panel .u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=3)
    page.mouse.up()
    wait_drawn(page)
    low, high = view_of(page)["range"]
    assert low == pytest.approx(375, abs=10)
    assert high == pytest.approx(750, abs=10)
    for name in ("val/acc", "train/loss"):
        columns = drawn(page, name)["columns"]
        assert (columns["min"], columns["max"]) == (low, high)
    page.mouse.dblclick(box["x"] + 100, box["y"] + 50)
    assert view_of(page)["range"] is None
    page.click("#zoom-in")
    assert view_of(page)["range"] == [374.75, 1124.25]
    page.click("#pan-right")
    assert view_of(page)["range"] == [562.125, 1311.625]


def test_hovering_shows_the_value_in_every_chart(show: Open) -> None:
    page = show()
    page.evaluate(
        """() => { const { grid } = window.pullLogsReport; const panel = grid.panels.get("val/acc");
          const item = panel.data.drawn[0]; panel.setCursor(799, item); }"""
    )
    page.wait_for_timeout(100)
    row = planted_rows(0)[799]
    readouts = dict(
        zip(
            page.locator(".panel h3").all_inner_texts(),
            page.locator(".panel .readout").all_inner_texts(),
            strict=True,
        )
    )
    assert float(readouts["val/acc"]) == pytest.approx(row["val/acc"], rel=1e-5)
    assert float(readouts["train/loss"]) == pytest.approx(row["train/loss"], rel=1e-5)
    assert page.locator(".tip:visible").inner_text() == f"rate 0.1 seed 0 step 799: {readouts['val/acc']}"


def test_the_keyboard_moves_the_cursor_zooms_and_isolates(show: Open) -> None:
    page = show()
    page.locator(".panel").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    said = page.inner_text("#live")
    assert ", step 199: " in said
    page.keyboard.press("+")
    assert view_of(page)["range"] == [374.75, 1124.25]
    page.keyboard.press("Home")
    assert view_of(page)["range"] is None
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert view_of(page)["only"] != ""
    page.keyboard.press("Escape")
    assert view_of(page)["only"] == ""


def test_smoothing_keeps_the_line_under_a_smoother_one(show: Open) -> None:
    page = show()
    page.evaluate(
        """() => { const slider = document.getElementById("smooth");
          slider.value = 0.9; slider.dispatchEvent(new Event("input")); }"""
    )
    wait_drawn(page)
    values = drawn(page, "train/loss")["values"]
    assert (max(values["raw 0"]), page.inner_text("#smooth-value")) == (9.5, "0.90")
    assert max(values["line 0"]) < 4


def test_a_run_is_isolated_hidden_and_shown(show: Open) -> None:
    page = show()
    page.click("#run-body th button >> text='rate 0.01 seed 2'")
    wait_drawn(page)
    strong = [color for color in drawn(page, "val/acc")["colors"] if color.endswith("ff")]
    assert len(strong) == 1
    page.keyboard.press("Escape")
    page.locator("#run-body input").first.uncheck()
    wait_drawn(page)
    assert len(drawn(page, "val/acc")["values"]) == 11
    assert page.inner_text("#run-count") == "11 of 12 runs shown"
    page.click("#show-all")
    wait_drawn(page)
    assert len(drawn(page, "val/acc")["values"]) == 12


def test_groups_have_a_colour_a_mean_and_a_band(show: Open) -> None:
    page = show()
    assert view_of(page)["group"] == "lr"
    assert page.locator("#legend li").all_inner_texts() == ["0.001 (4)", "0.01 (4)", "0.1 (4)"]
    assert len(set(drawn(page, "val/acc")["colors"])) == 3
    page.check("#mean")
    wait_drawn(page)
    values = drawn(page, "val/acc")["values"]
    assert sorted(values) == [f"{kind} {group}" for kind in ("high", "low", "mean") for group in range(3)]
    lasts = [planted_rows(number)[1499]["val/acc"] for number in range(4)]
    assert values["mean 2"][-1] == pytest.approx(sum(lasts) / 4, rel=1e-3)
    page.select_option("#group", "")
    assert not page.is_visible("#legend")


def test_the_axes_are_linear_logarithmic_time_or_a_metric(show: Open) -> None:
    page = show()
    page.select_option("#y", "log")
    wait_drawn(page)
    found = drawn(page, "train/loss")
    assert found["logY"]
    assert min(found["values"]["line 0"]) > 0
    assert "values of 0 or less are not on the logarithmic axis" in found["notes"][0]
    for name, end in (("time", 149.9), ("epoch", 14)):
        page.select_option("#x", name)
        wait_drawn(page)
        assert drawn(page, "train/loss")["columns"]["max"] == pytest.approx(end)
    page.select_option("#x", "step")
    page.check("#log-x")
    wait_drawn(page)
    assert drawn(page, "train/loss")["columns"] | {"count": 0} == {
        "min": 1,
        "max": 1499,
        "count": 0,
        "log": True,
    }


def test_a_view_is_shared_by_its_fragment(show: Open) -> None:
    first = show(
        fragment_of(range=[200, 900], hidden=["run01"], smooth=0.5, y="log", only="run00", sort="-lr")
    )
    first.fill("#metrics", "loss")
    wait_drawn(first)
    second = show("#" + first.evaluate("() => location.hash").lstrip("#"))
    assert view_of(second) == view_of(first)
    assert second.locator(".panel h3").all_inner_texts() == ["val/loss", "train/loss"]
    assert (second.input_value("#y"), second.input_value("#metrics")) == ("log", "loss")


def test_a_broken_fragment_shows_the_usual_view(show: Open) -> None:
    page = show("#x=%22no%22&range=[9,1]&smooth=7&hidden=3&__proto__=1&%")
    assert page.locator(".panel canvas").count() > 4
    assert view_of(page)["x"] == "step"


def test_dark_and_light_change_the_page_and_the_charts(show: Open) -> None:
    page = show(color_scheme="dark")
    dark = drawn(page, "val/acc")["colors"]
    back = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(20, 24, 30)"
    page.select_option("#theme", "light")
    wait_drawn(page)
    assert page.evaluate(back) == "rgb(246, 247, 249)"
    assert not set(drawn(page, "val/acc")["colors"]) & set(dark)


def test_a_phone_shows_everything_without_scrolling_sideways(show: Open) -> None:
    page = show(viewport={"width": 390, "height": 844})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.evaluate("() => document.getElementById('charts').scrollIntoView()")
    page.wait_for_function("() => document.querySelectorAll('.panel canvas').length > 1")
    width = page.locator(".panel .uplot").first.bounding_box()["width"]
    assert 250 < width <= 390


def test_paper_has_every_chart_in_light_colours_without_controls(show: Open) -> None:
    page = show(fragment_of(theme="dark"))
    page.wait_for_function(
        """() => { const { grid, model } = window.pullLogsReport;
          return [...grid.panels.keys()].every((name) => model.decoded.has(name)); }"""
    )
    page.evaluate("() => { document.querySelector('#health details').open = false; }")
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#health summary").first.is_visible(), "a folded finding is on paper"
    assert not page.locator("details.hint, .chooser").first.is_visible()
    assert page.is_visible("#difference-count")
    assert page.inner_text("#difference-count") == "4 keys differ, 0 are the same in all runs"
    assert page.evaluate("() => [...window.pullLogsReport.grid.panels.values()].every((panel) => panel.plot)")
    assert not page.is_visible("#filter")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert all(color in ("#0072b2ff", "#d55e00ff", "#007a5eff") for color in drawn(page, "val/acc")["colors"])
    assert page.pdf()[:5] == b"%PDF-"


def test_axe_finds_no_violation(show: Open) -> None:
    if NODE_MODULES is None:
        pytest.skip("PULL_LOGS_NODE_MODULES does not name a folder with axe-core")
    page = show(fragment_of(mean=True, range=[10, 900]))
    page.evaluate((Path(NODE_MODULES) / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    for theme in ("light", "dark"):
        page.select_option("#theme", theme)
        wait_drawn(page)
        found = page.evaluate("() => axe.run()")["violations"]
        assert [(item["id"], [node["target"] for node in item["nodes"]]) for item in found] == []
