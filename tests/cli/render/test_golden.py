"""Complete answers over the recorded runs, as text and as JSON, exactly as they are in `golden/`.

`PULL_LOGS_WRITE_GOLDEN=1 pytest tests/cli/render/test_golden.py` writes the files again; look at the diff
before committing it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from checkout import ROOT

from pull_logs.cli.main import main

GOLDEN = Path(__file__).resolve().parent / "golden"
WRITE = bool(os.environ.get("PULL_LOGS_WRITE_GOLDEN"))

BUNDLE = ("-b", "fixtures/digits.wandb.zip")
ONE = (*BUNDLE, "-r", "cnn1e2s0")
TWO = (*BUNDLE, "-r", "cnn1e1s0", "-r", "mlp5e2s0")
MANY = (*BUNDLE, "--filter", "config.seed == 0")
KILLED = (*BUNDLE, "-r", "kill1e2s")

CASES: dict[str, tuple[str, ...]] = {
    "one-run": (*ONE, "--max-rows", "12"),
    "one-run-human": (*ONE, "-H"),
    "one-run-schema": (*ONE, "--schema"),
    "one-run-stats": (*ONE, "--stats"),
    "one-run-schema-and-stats-of-some-rows": (
        *ONE, "--schema", "--stats", "--select", "loss", "--where", "_step >= 100",
    ),
    "history-select": (*ONE, "--select", "^val/(acc|loss)$"),
    "history-where-eval": (
        *ONE, "--where", "gap > 0", "--eval", "gap=val/loss - train/loss", "--select", "^val/loss$",
    ),
    "history-show-all": (*ONE, "--select", "^epoch$", "--show-all", "--last", "25"),
    "history-objects": (*ONE, "--select", "grad/histogram|per_digit", "--last", "1"),
    "history-around": (*ONE, "--select", "^train/loss$", "--around", "100", "--window", "3"),
    "history-every": (*ONE, "--select", "^train/loss$", "--every", "50"),
    "history-sampled": (*ONE, "--select", "^train/loss$", "--max-rows", "9"),
    "history-not-finite": (*BUNDLE, "-r", "nan1e6s0", "--select", "^train/loss$", "--last", "3"),
    "system-samples": (*ONE, "--schema", "--stats", "--select", r"^system\.(cpu|memory)"),
    "system-joined": (
        *ONE, "--select", r"^(val/loss|system\.cpu)$", "--where", "val/loss is not missing", "--last", "4",
    ),
    "one-run-quantiles": (*ONE, "--quantiles", "50,95,99.9", "--select", "^(val/loss|grad/(clipped|norm))$"),
    "many-runs-quantiles": (*BUNDLE, "--quantiles", "50,99", "--select", "^val/acc$"),
    "one-run-meta": (*ONE, "--meta"),
    "two-runs-meta": (*TWO, "--meta"),
    "two-runs-human": (*TWO, "-H"),
    "two-runs-schema": (*TWO, "--schema"),
    "incomplete-run": (*KILLED, "-H"),
    "checkpoint": (*BUNDLE, "-c", "fixtures/digits/checkpoints/epoch-06/cnn-lr0.1-s0.pt", "-c",
        "fixtures/digits/checkpoints/cnn-lr0.01-s0.pt", "-H", "--select", "^val/"),
    "checkpoints-of-runs": (
        *BUNDLE, "-c", "fixtures/digits/checkpoints", "--filter", "config.lr == 0.1", "-H",
        "--select", "^val/acc$",
    ),
    "many-runs-human": (*MANY, "-H", "--select", "^val/acc$"),
    "many-runs-schema": (*MANY, "--schema"),
    "many-runs-stats": (*BUNDLE, "--stats", "--select", "^val/acc$|hidden"),
    "assertions": (
        *BUNDLE, "--stats", "--select", "^val/acc$", "--filter",
        'config.model.kind == "mlp" or config.lr > 1', "--assert", "val/acc > 0.5",
        "--assert", "any: val/acc > 0.99", "--assert", "step 100: train/loss < 3",
    ),
    "budget": (*BUNDLE, "--max-tokens", "900"),
    "overview": ("overview", *BUNDLE),
    "overview-of-one-run": ("overview", *BUNDLE, "-r", "nan1e6s0", "--select", "^(train|val)/"),
    "overview-assertions": (
        "overview", *BUNDLE, "--select", "^val/acc$", "--assert", "val/acc > 0.97",
        "--assert", "any: val/acc > 0",
    ),
}  # fmt: skip
CODES = {"assertions": 7, "overview-assertions": 7}


@pytest.mark.parametrize("kind", ["txt", "json"])
@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_what_it_was(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    code = main([*CASES[name], *(["--json"] if kind == "json" else [])])
    assert code == CODES.get(name, 0)
    found = capsys.readouterr().out
    if kind == "json":
        found = json.dumps(json.loads(found), indent=1, ensure_ascii=False) + "\n"
    file = GOLDEN / f"{name}.{kind}"
    if WRITE:
        file.write_text(found)
    assert found == file.read_text()


def test_every_golden_file_has_its_case() -> None:
    own = {file.name for file in GOLDEN.iterdir() if not file.name.startswith("compare-")}
    assert own == {f"{name}.{kind}" for name in CASES for kind in ("txt", "json")}


def test_every_section_is_in_some_golden_file() -> None:
    found = {
        line[1 : line.index("]")]
        for file in GOLDEN.glob("*.txt")
        if not file.name.startswith("compare-")
        for line in file.read_text().splitlines()
        if line.startswith("[")
    }
    assert found == {
        "RUNS", "META", "CONFIG", "SUMMARY", "SCHEMA", "STATS", "HISTORY", "COMPARISON", "CONFIG_DIFF",
        "SUMMARY_COMPARISON", "CHECKPOINTS", "ASSERTIONS", "OVERVIEW", "STATES", "CONFIG_VALUES", "METRICS",
        "HEALTH",
    }  # fmt: skip
