"""`pull-logs plot` and `pull_logs.plot`: pictures and text, always the same for the same runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial
from inspect import signature
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from hypothesis import given, settings
from hypothesis import strategies as st

import pull_logs
from pull_logs.cli.main import main
from pull_logs.interface import Sources, open_subjects
from pull_logs.plots import Line, Panel, PlotOptions, diverged, draw_text, read_panels

BUDGET = 1500 * 3
"""The most bytes of a plot of text: three per token."""

RATES = (0.1, 0.01, 0.001)


def curve(rate: float, seed: int, rows: int = 200, **more: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {"_step": step, "val/loss": 2 / (1 + step * rate) + float(rng.normal(0, 0.02)), "epoch": step // 10}
        | more
        for step in range(rows)
    ]


def one_run() -> list[Any]:
    return [bundle_run("acme/nano/a", curve(0.1, 0))]


def seeds_and_rates() -> list[Any]:
    return [
        bundle_run(
            f"acme/nano/r{n:02d}", curve(RATES[n // 4], n), config={"lr": RATES[n // 4], "seed": n % 4}
        )
        for n in range(12)
    ]


def fifty_runs() -> list[Any]:
    return [bundle_run(f"acme/nano/r{n:02d}", curve(0.1 / (n + 1), n), name=f"run {n}") for n in range(50)]


def diverged_run() -> list[Any]:
    rows = curve(0.1, 0)
    for row in rows[90:]:
        row["val/loss"] = math.nan
    rows[88]["val/loss"], rows[89]["val/loss"] = 1e30, math.inf
    return [bundle_run("acme/nano/a", curve(0.1, 1)), bundle_run("acme/nano/b", rows, name="diverged")]


def one_row() -> list[Any]:
    return [bundle_run("acme/nano/a", [{"_step": 7, "val/loss": 0.5}])]


def many_metrics() -> list[Any]:
    rows = [{"_step": step} | {f"ngram_{n}/acc": n / (step + 1) for n in range(2566)} for step in range(3)]
    return [bundle_run("acme/nano/a", rows)]


def hostile_names() -> list[Any]:
    names = ["$\\frac{", "_hidden", "\x1b[31mred\n[RUNS]", "名前 \u202e", "x" * 300]
    return [bundle_run(f"acme/nano/r{n}", curve(0.1, n), name=name) for n, name in enumerate(names)]


SITUATIONS: dict[str, tuple[Callable[[], list[Any]], list[str]]] = {
    "one-run": (one_run, []),
    "seeds-and-rates": (seeds_and_rates, ["--group-by", "lr", "--smooth", "0.5"]),
    "fifty-runs": (fifty_runs, ["--log-y"]),
    "diverged": (diverged_run, []),
    "one-row": (one_row, []),
    "many-metrics": (many_metrics, ["--select", "^ngram"]),
    "hostile-names": (hostile_names, ["--x", "epoch"]),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {name: make_bundle(folder / f"{name}.zip", make()) for name, (make, _) in SITUATIONS.items()}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_text_fits_a_terminal_and_the_budget(
    bundles: dict[str, Path], situation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(bundles[situation]), *SITUATIONS[situation][1]]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(text.encode()) <= BUDGET
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert text.replace("\n", "").isprintable()
    assert sum(" |" in line for line in lines) >= 4


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_same_runs_give_the_same_picture(
    bundles: dict[str, Path], situation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endings = ("png", "svg", "pdf") if situation in ("seeds-and-rates", "diverged") else ("png",)
    made: list[Path] = []
    for ending in endings:
        made = [tmp_path / f"{number}.{ending}" for number in range(2)]
        for out in made:
            assert main(["plot", str(bundles[situation]), *SITUATIONS[situation][1], "-o", str(out)]) == 0
        assert made[0].read_bytes() == made[1].read_bytes()
        assert made[0].stat().st_size > 5000
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(f"{made[-1]}: ")
    assert (said[-2] == "pull-logs: note: 2,554 more metrics matched and not drawn; --select chooses") == (
        situation == "many-metrics"
    )


def test_a_plot_of_text_is_this(bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(bundles["one-row"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "val/loss over step"
    assert [line for line in lines if "A" in line] == [f"{'0.5':>9} |{'':34}A", "A a brisk-sun-1"]
    assert lines[-3:-1] == [f"{'':10}+{'-' * 69}", f"{'':11}6.3{'':31}7{'':31}7.7"]


def test_values_that_are_not_finite_are_marked_and_a_diverged_run_is_named(
    bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(bundles["diverged"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "x nan, ^ inf, beyond the axis: B"
    assert "^" in lines[1]
    assert "x" in lines[-6]
    assert "0.0" in lines[-6]


def panels_of(bundle: Path, **options: Any) -> list[Panel]:
    with open_subjects(Sources(bundles=(bundle,)), report=lambda _: None) as subjects:
        return list(read_panels(subjects, PlotOptions(**options)).panels)


def test_a_group_is_its_mean_and_one_standard_deviation(bundles: dict[str, Path]) -> None:
    lines = panels_of(bundles["seeds-and-rates"], group_by=("config.lr",))[0].lines
    assert [(line.key, line.name) for line in lines] == [
        ("G1", "lr=0.001 (n=4)"),
        ("G2", "lr=0.01 (n=4)"),
        ("G3", "lr=0.1 (n=4)"),
    ]
    values = [curve(0.1, seed)[50]["val/loss"] for seed in range(4)]
    line = lines[2]
    at = line.x.tolist().index(50)
    assert line.low is not None
    assert line.y[at] == pytest.approx(statistics.mean(values))
    assert line.y[at] - line.low[at] == pytest.approx(statistics.stdev(values))


def test_a_line_is_drawn_over_the_last_value_of_another_metric(bundles: dict[str, Path]) -> None:
    line = panels_of(bundles["one-run"], x="epoch", smooth=0.9)[0].lines[0]
    rows = curve(0.1, 0)
    assert line.x.tolist() == [row["epoch"] for row in rows]
    assert line.faint is not None
    assert line.faint.tolist() == [row["val/loss"] for row in rows]
    assert line.y[0] == rows[0]["val/loss"]


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
        min_size=1,
        max_size=60,
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_lines_fit(values: list[list[float]], log_x: bool, log_y: bool) -> None:  # noqa: FBT001 - drawn
    lines = [
        Line("A", f"run {n}", np.arange(len(found), dtype=float), np.array(found))
        for n, found in enumerate(values)
    ]
    text = draw_text(Panel("m", lines), PlotOptions(log_x=log_x, log_y=log_y))
    assert len(text.encode()) <= BUDGET
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80


def test_a_line_diverged_only_far_beyond_others() -> None:
    marks = (("nan", np.array([3.0])),)
    usual = Line("A", "a", np.arange(3.0), np.array([1.0, 2.0, 3.0]))
    near = Line("B", "b", np.arange(3.0), np.array([1.0, 2.0, 29.0]), marks=marks)
    far = Line("C", "c", np.arange(3.0), np.array([1.0, 2.0, 31.0]), marks=marks)
    assert diverged([usual, near, far]) == [far]
    assert diverged([near, far]) == []


def test_python_gets_the_figure(bundles: dict[str, Path]) -> None:
    figure = pull_logs.plot(bundles["seeds-and-rates"], select="loss", group_by="lr", log_x=True)
    assert [axes.get_title() for axes in figure.axes] == ["val/loss"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "G1  lr=0.001 (n=4)",
        "G2  lr=0.01 (n=4)",
        "G3  lr=0.1 (n=4)",
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--smooth", "1"], 2, "--smooth 1 is not from 0 to below 1; for example 0.9"),
        (["--select", "nothing"], 3, "--select 'nothing': no run has numbers of such a metric; the nearest "),
        (["--x", "epochs"], 3, "--x 'epochs': no run has such a metric; the nearest is 'epoch'"),
        (["--group-by", "lrr"], 3, "--group-by 'lrr': no run has such a key; the nearest is 'config.lr'"),
        (["-o", "a.jpg"], 2, "-o 'a.jpg' does not end in .png, .svg or .pdf; for example loss.png"),
    ],
)
def test_wrong_options_are_refused(
    bundles: dict[str, Path], capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert main(["plot", str(bundles["seeds-and-rates"]), *words]) == code
    assert capsys.readouterr().err.startswith(f"pull-logs: error: {message}")


def test_without_matplotlib_the_error_says_what_to_install(
    bundles: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["plot", str(bundles["one-run"]), "-o", str(tmp_path / "a.png")]) == 3
    assert capsys.readouterr().err == (
        "pull-logs: error: a picture needs matplotlib, which is not installed;"
        ' pip install "wandb-pull-logs[plot]", or leave -o out for a plot of text\n'
    )


def test_a_bundle_draws_what_plot_draws_of_it() -> None:
    with pull_logs.open_bundle(RECORDED) as bundle:
        figures = [
            draw(select="val/loss", group_by="config.lr", smooth=0.5, log_y=True)
            for draw in (bundle.plot, partial(pull_logs.plot, bundle))
        ]
    pictures = [BytesIO(), BytesIO()]
    for figure, picture in zip(figures, pictures, strict=True):
        figure.savefig(picture, format="png")
    assert pictures[0].getvalue() == pictures[1].getvalue()
    known = signature(pull_logs.plot).parameters.items()
    keywords = {name for name, part in known if part.kind == part.KEYWORD_ONLY}
    assert signature(pull_logs.Bundle.plot).parameters.keys() - {"self"} == keywords
