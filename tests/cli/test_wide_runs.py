"""A hundred runs, some of two thousand metrics: every answer starts with what matters, and is short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wideruns import PLAIN, family_names, make_wide_bundle

from pull_logs.cli.main import main

ONE, OTHER = "w00k0000", "w20k8785"


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


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_losses_are_on_the_first_screen(
    question: str, wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = answer(capsys, *QUESTIONS[question], "-b", wide).splitlines()[:60]
    for name in ("val/loss", "train/loss"):
        assert any(name in line for line in screen)
    assert not any("ngram_17" in line or "layers.3." in line for line in screen)


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
