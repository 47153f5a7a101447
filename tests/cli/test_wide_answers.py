"""A hundred runs, some of two thousand metrics: every answer starts with what matters, and is short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import quicktok
from wideruns import PLAIN, family_names, make_wide_bundle

from pull_logs.cli.main import main

ONE, OTHER = "w00k0000", "w20k8785"
TOKENIZERS = [quicktok.get_encoding(name) for name in ("o200k_base", "qwen3")]
"""One with a token for three digits, and one with a token for each."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wide_bundle(tmp_path_factory.mktemp("wide") / "wide.wandb.zip")


def answer(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([*map(str, words), "--no-hints"]) == 0
    return capsys.readouterr().out


QUESTIONS = {
    "overview": ("overview",),
    "schema": ("-r", ONE, "--schema"),
    "stats": ("-r", ONE, "--stats"),
    "rows": ("-r", ONE, "--last", "5"),
    "human": ("-r", ONE, "-r", OTHER, "-H"),
}
BUDGETS = {
    "overview": (QUESTIONS["overview"], 2500),
    "schema": (QUESTIONS["schema"], 1500),
    "human": (QUESTIONS["human"], 1500),
    "groups": (
        ("compare", "--group-by", "config.lr", "--group-by", "config.width", "--best", "val/loss"), 2500,
    ),
}  # fmt: skip
"""The tokens that the answers to common questions may take."""


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_losses_are_on_the_first_screen(
    question: str, wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = answer(capsys, *QUESTIONS[question], "-b", wide).splitlines()[:60]
    for name in ("val/loss", "train/loss"):
        assert any(name in line for line in screen)
    assert not any("ngram_17" in line or "layers.3." in line for line in screen)


@pytest.mark.parametrize("question", BUDGETS)
def test_common_questions_are_answered_in_few_tokens(
    question: str, wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, most = BUDGETS[question]
    text = answer(capsys, *words, "-b", wide)
    for tokenizer in TOKENIZERS:
        assert tokenizer.count(text) <= most


def test_the_legend_takes_few_tokens_for_each_of_many_runs(
    wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = answer(capsys, "-b", wide, "--last", "1", "--select", "^val/loss$")
    lines = text.splitlines(keepends=True)
    legend = "".join(lines[: next(index for index, line in enumerate(lines) if line.startswith("#"))])
    assert legend.startswith("[RUNS] runs=100 project=lab/pretrain-wide source=")
    assert '\nw00k0000 w01k7919 w02k5865 w03k3811 w04k1757 name="gpt-lr0.0001-w256-s{0,1,2,3,4}"\n' in legend
    assert "\nw07k5568 name=gpt-lr0.0003-w256-s2 state=crashed rows=20 last_step=475 complete=no " in legend
    few, many = (tokenizer.count(legend) / 100 for tokenizer in TOKENIZERS)
    assert few <= 13
    assert many <= 16  # a tokenizer with a token for each digit takes nine for the id alone


def test_the_metric_that_ranks_is_the_only_one_and_others_come_with_select(
    wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compare", "-b", wide, "--best", "val/loss", "--top", "2")
    text = answer(capsys, *words)
    assert "train/loss" not in text
    assert "[SUMMARY_COMPARISON]" not in text
    found = json.loads(answer(capsys, *words, "--json"))
    assert [entry["name"] for entry in found["comparison"]] == ["val/loss"]
    assert [entry["key"] for entry in found["summary_comparison"]] == ["val/loss"]
    text = answer(capsys, *words, "--select", "^(train|val)/loss$")
    assert "train/loss,last," in text
    assert "[SUMMARY_COMPARISON]" in text


def test_only_the_best_groups_and_runs_are_listed_unless_top_asks_for_more(
    wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "compare",
        "-b",
        wide,
        "--group-by",
        "config.lr",
        "--group-by",
        "config.width",
        "--best",
        "val/loss",
    )
    lines = answer(capsys, *words).splitlines()
    assert "# 95 more runs; --top N shows more" in lines
    assert sum(line.startswith("val/loss,G") and ",5,2." in line for line in lines) == 7
    assert len(json.loads(answer(capsys, *words, "--json"))["groups"]) == 20
    lines = answer(capsys, *words, "--top", "12").splitlines()
    assert not any("; --top N shows more" in line for line in lines)
    assert any(line.startswith("val/loss,G12,") for line in lines)


def test_a_summary_has_the_selected_keys_only(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = answer(capsys, "-b", wide, "-r", ONE, "-H", "--select", "^val/").splitlines()
    start = lines.index(f"[SUMMARY] run={ONE} keys=3")
    assert [line.split(":")[0] for line in lines[start + 1 : start + 4]] == [
        "val/acc",
        "val/loss",
        "val/perplexity",
    ]


def test_folded_metrics_of_a_run_are_all_that_it_has(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capsys, "-r", ONE, "--schema", "-b", wide, "--json"))
    (entries,) = found["schema"].values()
    assert sum(entry.get("members", 1) for entry in entries) == len(family_names()) + len(PLAIN) + 3
    opened = json.loads(
        answer(capsys, "-r", ONE, "--schema", "-b", wide, "--json", "--unfold", "--max-tokens", "0")
    )
    (names,) = ([entry["name"] for entry in one] for one in opened["schema"].values())
    assert set(names) >= {*family_names(), *PLAIN}


def test_a_family_is_opened_by_its_pattern(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(
        answer(capsys, "-r", ONE, "-b", wide, "--stats", "--json", "--select", "layers.{3..5}.attn.norm")
    )
    (metrics,) = found["stats"].values()
    assert list(metrics) == [f"layers.{layer}.attn.norm" for layer in (3, 4, 5)]


def test_runs_that_are_incomplete_for_one_reason_are_named_together_under_strict(
    wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["overview", str(wide), "--strict", "--no-hints"]) == 4
    assert capsys.readouterr().err == (
        "pull-logs: error: incomplete under --strict: w07k5568, w41k5543, w80k5221 "
        "(11 of 51 rows are missing); run it again with --refresh, or without --strict\n"
    )
