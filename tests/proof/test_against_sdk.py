"""A bundle compared with what the real SDK reads: planted differences are found, a faithful one has none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pull_logs.cli.main import main
from pull_logs.proof.against_sdk import is_sdk_loss
from pull_logs.replay import serve_bundle

Call = Callable[..., tuple[int, str, str]]

SCHEMA = Draft202012Validator(
    json.loads((files("pull_logs") / "data" / "schemas" / "verify.json").read_text())
)
HOST = "127.0.0.1:1"
ROWS: tuple[Mapping[str, Any], ...] = tuple(
    {
        "_step": 3 * number,
        "loss": math.nan if number == 4 else 1 / (1 + number),
        "count": 2**62 + number,
        "huge": 2**70 + 1,
        "ok": number % 2 == 0,
        "hist": {"_type": "histogram", "values": [number, 1.5]},
        "note": "NaN?" if number else "text",
    }
    for number in range(40)
)
CONFIG = {"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, None]}}
SUMMARY = {"loss": math.nan, "best": {"step": 3}, "seen": 2**60}


def run_of(path: str, rows: tuple[Mapping[str, Any], ...] = ROWS, **more: Any) -> Any:
    facts = {"host": HOST, "config": CONFIG, "summary": SUMMARY, **more}
    return bundle_run(path, rows, **facts)


@contextmanager
def served(folder: Path, *runs: Any) -> Iterator[dict[str, str]]:
    make_bundle(folder / "server.zip", runs)
    with serve_bundle(folder / "server.zip") as server:
        yield dict(server.environment())


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        done = capsys.readouterr()
        return code, done.out, done.err

    return run_command


def test_a_faithful_bundle_has_no_difference_and_each_planted_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = [dict(row) for row in ROWS]
    changed[5]["loss"] = 0.25
    changed[6]["ok"] = 1
    del changed[7]["note"]
    changed[8]["_step"] = 25
    others = {"config": {**CONFIG, "lr": 0.2}, "summary": {**SUMMARY, "loss": None}}
    make_bundle(
        Path("own.zip"),
        [run_of("acme/nano/same"), run_of("acme/nano/changed", tuple(changed), **others)],
    )
    with served(tmp_path, run_of("acme/nano/same"), run_of("acme/nano/changed")) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code, out, err = call("verify", "own.zip", "--against", "sdk", "--json")
    assert (code, err) == (
        7,
        "pull-logs: error: 1 of 2 runs differs or was not compared with what the SDK reads\n",
    )
    answer = json.loads(out)
    SCHEMA.validate(answer)
    planted, same = answer["sdk"]["runs"]
    assert (same["equal"], same["rows"], same["sdk_rows"], same["differing"]) == (True, 40, 40, 0)
    assert same["lost_by_sdk"] == 40  # 2**70 + 1 in each row
    found = [tuple(item.values()) for item in planted["differences"]]
    assert found == [
        ("config", None, "lr", 0.2, 0.1),
        ("summary", None, "loss", None, "NaN"),
        ("row", 25, "", "a row", None),
        ("row", 24, "", None, "a row"),
        ("row", 15, "loss", 0.25, 1 / 6),
        ("row", 21, "note", None, "NaN?"),
        ("row", 18, "ok", 1, True),
    ]
    assert planted["differing"] == len(found)


def test_the_sample_is_chosen_by_the_seed_and_runs_that_are_gone_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"acme/nano/r{number}" for number in range(6)]
    make_bundle(Path("own.zip"), [run_of(name, ROWS[:2]) for name in [*names, "acme/nano/gone"]])
    with served(tmp_path, *(run_of(name, ROWS[:2]) for name in names)) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code, out, _ = call("verify", "own.zip", "--against", "sdk", "--sample", "9")
        assert code == 7
        assert "[AGAINST_SDK] host=" in out
        assert " sample=7 of=7 seed=0 equal=6\n" in out
        assert 'acme/nano/gone,no,2,,0,0,"the SDK could not read it: ' in out
        code, out, _ = call("verify", "own.zip", "--against", "sdk", "--sample", "2", "--seed", "3", "--json")
    chosen = [run["path"] for run in json.loads(out)["sdk"]["runs"]]
    assert chosen == ["acme/nano/r0", "acme/nano/r3"]
    assert code == 0


def test_an_imported_run_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    make_bundle(Path("own.zip"), [run_of("acme/nano/a", host=None)])
    code, out, _ = call("verify", "own.zip", "--against", "sdk")
    assert code == 7
    assert "it was imported from a local folder and not downloaded from W&B" in out


@given(st.integers(-(2**80), 2**80))
def test_law_only_a_large_integer_is_lost_and_only_as_its_float(value: int) -> None:
    assert is_sdk_loss(value, float(value)) == (abs(value) > 2**53)
    assert is_sdk_loss({"a": [value]}, {"a": [float(value)]}) or abs(value) <= 2**53
    assert not is_sdk_loss(value, float(value) * 2 + 1)
    assert not is_sdk_loss(value, str(value))
    assert not is_sdk_loss(True, 1)
    assert not is_sdk_loss(value, None)
