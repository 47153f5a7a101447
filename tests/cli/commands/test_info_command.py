"""`info` of many runs and of long names, and the long names of `audit` and `diff`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle

from pull_logs.cli.main import main
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.snapshot import diff_bundles, open_bundle

RUNS = 1500
LONG = "n" * 3000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs whose names have no number, so that each has a line."""
    letters = str.maketrans("0123456789", "abcdefghij")
    names = {f"r{number:04d}": f"{number:04d}".translate(letters) for number in range(RUNS)}
    runs = [bundle_run(f"acme/nano/{run_id}", (), name=name) for run_id, name in names.items()]
    return make_bundle(tmp_path_factory.mktemp("many") / "many.wandb.zip", runs)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("tokens", [None, 300, 2000, 16000])
def test_the_text_keeps_to_its_budget_and_says_what_it_left_out(
    many: Path, capsys: pytest.CaptureFixture[str], tokens: int | None
) -> None:
    text = said(capsys, "info", many, *([] if tokens is None else ["--max-tokens", tokens]))
    assert count_tokens(text) <= (tokens or 16000)
    lines = text.splitlines()
    shown = sum(line.startswith("r") for line in lines)
    assert lines[0] == f"[BUNDLE] path={many} runs={RUNS} rows=0"
    assert lines[-1] == f"# cut to {shown} of {RUNS} runs; --max-tokens N shows more"


@pytest.mark.parametrize("tokens", [600, 2000, 16000])
def test_the_json_keeps_to_its_budget_and_says_what_it_left_out(
    many: Path, capsys: pytest.CaptureFixture[str], tokens: int
) -> None:
    text = said(capsys, "info", many, "--json", "--max-tokens", tokens)
    assert count_tokens(text) <= tokens
    answer = json.loads(text)
    assert answer["notes"] == [f"runs cut to {len(answer['runs'])} of {RUNS} runs; --max-tokens N shows more"]
    assert answer["runs"][0]["path"] == "acme/nano/r0000"
    with open_bundle(many) as bundle:
        assert answer["content_id"] == bundle.content_id


def test_without_a_budget_all_runs_are_shown(many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(said(capsys, "info", many, "--max-tokens", 0).splitlines()) == RUNS + 4
    answer = json.loads(said(capsys, "info", many, "--max-tokens", 0, "--json"))
    assert (len(answer["runs"]), answer["notes"]) == (RUNS, [])


def test_a_budget_that_is_too_small_is_refused(many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(many), "--max-tokens", "7"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: --max-tokens 7 is too small for any answer; give at least 300, or 0 for no limit\n"
    )


def test_long_names_are_shortened_in_text_and_complete_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hf_q7Zt3KpX9vLm2RbN8sYc5WdHx4Gf6JaT1eUo"
    rows = [{"_step": 0, LONG: 1.0}]
    old = make_bundle(
        tmp_path / "old.wandb.zip", [bundle_run("acme/nano/a", rows, name=LONG, config={LONG: 1})]
    )
    changed = bundle_run("acme/nano/a", [{"_step": 0, LONG: 2.0}], name=LONG + "2", config={LONG: secret})
    new = make_bundle(tmp_path / "new.wandb.zip", [changed])
    short = "n" * 112 + "…"  # audit shows it as config.nnn
    for words in (("info", old), ("audit", new), ("diff", old, new)):
        text = said(capsys, *words)
        assert short in text
        assert max(map(len, text.splitlines())) < 1000
        assert LONG in said(capsys, *words, "--json")


def test_bundles_are_compared_by_their_paths(tmp_path: Path) -> None:
    old = make_bundle(tmp_path / "old.wandb.zip", [bundle_run("acme/nano/a")])
    new = make_bundle(tmp_path / "new.wandb.zip", [bundle_run("acme/nano/a"), bundle_run("acme/nano/b")])
    with open_bundle(old) as before, open_bundle(new) as after:
        expected = diff_bundles(before, after)
        assert diff_bundles(before, new) == expected
        assert after["b"].rows == 3  # a bundle that was open stays open
    assert [str(path) for path in expected.added] == ["acme/nano/b"]
    assert diff_bundles(old, str(new)) == expected
