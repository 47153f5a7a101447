"""Checkpoints whose runs are on another host than the configured one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkout import ROOT

import pull_logs
from pull_logs.cli.commands import fetch
from pull_logs.errors import UsageError
from pull_logs.interface import Sources

BUNDLE = ROOT / "fixtures" / "digits.wandb.zip"
HERE = "https://wandb.ai/acme/digits/runs/cnn1e1s0"
THERE = "https://wandb.example.org/acme/digits/runs/x1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints of two hosts; W&B has the runs of a bundle."""
    monkeypatch.setenv("WANDB_BASE_URL", "https://api.wandb.ai")
    bundle = pull_logs.open_bundle(BUNDLE)
    monkeypatch.setattr(
        "pull_logs.fetch.open_cached",
        lambda selection, **_: [bundle[reference.run_id] for reference in selection.runs],
    )
    for name, url in (("a.pt", HERE), ("b.pt", THERE)):
        torch.save({"wandb_run_path": url, "step": 5}, tmp_path / name)
    return tmp_path


def refusal(folder: Path) -> str:
    return (
        f"checkpoint {str(folder / 'b.pt')!r}: run 'acme/digits/x1' is on 'wandb.example.org',"
        " and 'api.wandb.ai' is configured"
    )


@pytest.mark.parametrize("pattern", ["", "*.pt"])
def test_one_of_another_host_is_noted_and_the_others_are_shown(folder: Path, pattern: str) -> None:
    found = pull_logs.overview(checkpoints=folder / pattern)
    assert found["totals"]["runs"] == 1
    assert found["notes"] == [f"1 checkpoint was skipped: {refusal(folder)}"]


def test_one_that_is_named_by_itself_and_a_folder_of_them_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError) as named:
        pull_logs.overview(checkpoints=[folder / "a.pt", folder / "b.pt"])
    assert named.value.message == refusal(folder)
    (folder / "a.pt").unlink()
    with pytest.raises(UsageError) as every:
        pull_logs.overview(checkpoints=folder)
    assert every.value.message == refusal(folder)


def test_fetch_skips_it_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    select: Any = fetch._selection
    selection = select(Sources(checkpoints=(str(folder),)), None)
    assert [reference.run_id for reference in selection.runs] == ["cnn1e1s0"]
    assert capsys.readouterr().err == f"pull-logs: note: 1 checkpoint was skipped: {refusal(folder)}\n"
