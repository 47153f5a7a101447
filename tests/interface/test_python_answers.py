"""`compare`, `overview` and `schema` from Python: exactly the JSON of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

import pull_logs
from pull_logs.cli.main import main
from pull_logs.errors import FileMissingError, MetricNotFoundError, UsageError

BUNDLE = ROOT / "fixtures" / "digits.wandb.zip"
CHECKPOINTS = ROOT / "fixtures" / "digits" / "checkpoints" / "epoch-06"

GROUPS = "compare --group-by config.lr --best val/acc:max --select ^val/ --ci bootstrap --top 2"
AT_EPOCH = "compare --at 6.5 --x epoch --interpolation previous --sort val/loss --filter"
AT_CHECKPOINT = "--at checkpoint --seed seed --group-by all-but:seed"

CASES: list[tuple[Callable[..., Any], Mapping[str, Any], Sequence[str]]] = [
    (pull_logs.compare, {}, ["compare"]),
    (
        pull_logs.compare,
        {"group_by": "config.lr", "best": "val/acc:max", "select": "^val/", "ci": "bootstrap", "top": 2},
        GROUPS.split(),
    ),
    (
        pull_logs.compare,
        {
            "at": 6.5,
            "x": "epoch",
            "interpolation": "previous",
            "sort": "val/loss",
            "filter": "config.lr > 0.01",
        },
        [*AT_EPOCH.split(), "config.lr > 0.01"],
    ),
    (
        pull_logs.compare,
        {"checkpoints": CHECKPOINTS, "at": "checkpoint", "seeds": ["seed"], "group_by": ["all-but:seed"]},
        ["compare", "-c", str(CHECKPOINTS), *AT_CHECKPOINT.split()],
    ),
    (
        pull_logs.compare,
        {
            "columns": {"reach": "first_step(val/acc > 0.9)"},
            "sort": "reach:min",
            "where": "_step < 200",
            "evals": {"gap": "val/loss - train/loss"},
        },
        [
            "compare",
            "--column",
            "reach=first_step(val/acc > 0.9)",
            "--sort",
            "reach:min",
            "--where",
            "_step < 200",
            "--eval",
            "gap=val/loss - train/loss",
        ],
    ),
    (
        pull_logs.compare,
        {"effect": "val/loss:min", "fits": "val/loss ~ config.lr", "pareto": "duration:min, val/acc"},
        [
            "compare",
            "--effect",
            "val/loss:min",
            "--fit",
            "val/loss ~ config.lr",
            "--pareto",
            "duration:min, val/acc",
        ],
    ),
    (pull_logs.compare, {"columns": ["rows", "state"]}, ["compare", "--column", "rows", "--column", "state"]),
    (pull_logs.overview, {}, ["overview"]),
    (
        pull_logs.overview,
        {"select": "^val/", "runs": ["cnn1e1s0"]},
        ["overview", "--select", "^val/", "-r", "cnn1e1s0"],
    ),
    (pull_logs.schema, {"runs": "cnn1e1s0"}, ["-r", "cnn1e1s0", "--schema"]),
    (pull_logs.schema, {"select": "loss"}, ["--select", "loss", "--schema"]),
]


@pytest.mark.parametrize(("ask", "options", "words"), CASES)
def test_an_answer_is_the_json_of_the_command(
    ask: Callable[..., Any],
    options: Mapping[str, Any],
    words: Sequence[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*words, "-b", str(BUNDLE), "--json", "--max-tokens", "0", "--no-hints"]) == 0
    expected = json.loads(capsys.readouterr().out)
    found = ask(str(BUNDLE), **options)
    assert json.loads(json.dumps(found)) == expected
    assert capsys.readouterr() == ("", "")


def test_sources_are_paths_open_bundles_and_open_runs() -> None:
    by_path = pull_logs.overview(BUNDLE)
    with pull_logs.open_bundle(BUNDLE) as bundle:
        assert pull_logs.overview(bundle) == by_path == pull_logs.overview(*bundle.runs())
        assert [run["path"] for run in pull_logs.compare(bundle["cnn1e1s0"])["runs"]] == [
            "acme/digits/cnn1e1s0"
        ]
        assert len(bundle["cnn1e1s0"].history()) > 1  # the bundle stays open


def test_assertions_that_do_not_hold_are_in_the_answer() -> None:
    found = pull_logs.overview(BUNDLE, runs="cnn1e1s0", asserts="val/acc > 2")
    assert [entry["holds"] for entry in found["assertions"]] == [False]


def test_what_the_command_refuses_is_raised() -> None:
    with pytest.raises(UsageError, match="no source was given; name one with"):
        pull_logs.compare()
    with pytest.raises(UsageError, match="int is not a source; give paths of bundles, open bundles, or runs"):
        pull_logs.overview(1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^--at 'lst' is not a valid position"):
        pull_logs.compare(BUNDLE, at="lst")
    with pytest.raises(MetricNotFoundError, match="--best 'val/ac'"):
        pull_logs.compare(BUNDLE, best="val/ac:max")
    with pytest.raises(TypeError, match="unexpected keyword: run"):
        pull_logs.schema(BUNDLE, run="cnn1e1s0")  # type: ignore[call-arg]
    with pytest.raises(FileMissingError):
        pull_logs.schema("missing.wandb.zip")


@pytest.mark.parametrize("ask", [pull_logs.compare, pull_logs.overview, pull_logs.schema])
def test_an_answer_is_shown_in_one_short_line(ask: Callable[..., Any]) -> None:
    text = repr(ask(BUNDLE))
    assert text.startswith("<")
    assert "16 runs" in text
    assert len(text) <= 100
    assert "\n" not in text


def test_a_bundle_and_a_run_are_shown_in_one_short_line(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    copy = deep / "sweep.wandb.zip"
    copy.write_bytes(BUNDLE.read_bytes())
    with pull_logs.open_bundle(copy) as bundle:
        assert repr(bundle).startswith("<Bundle '…")
        assert repr(bundle).endswith("/sweep.wandb.zip': 16 runs>")
        assert repr(bundle["cnn1e1s0"]) == "<Run 'acme/digits/cnn1e1s0': finished, 264 rows>"
        incomplete = [repr(run) for run in bundle.runs() if not run.complete]
        assert [text.endswith(" rows, incomplete>") for text in incomplete] == [True]
        assert max(map(len, [repr(bundle), *incomplete])) <= 100
