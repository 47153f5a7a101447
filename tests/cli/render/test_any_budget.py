"""Whatever the runs of a bundle logged and whatever the budget: an answer comes out, and within it."""

from __future__ import annotations

import io
import json
import string
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from hostileruns import NASTY, RECORDS
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import canonical, values
from test_schemas import validator

from pull_logs.cli.main import main
from pull_logs.cli.render.budget import MIN_JSON_TOKENS, MIN_TOKENS
from pull_logs.cli.render.cutting import Extent, cut_list, list_extent
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.runs import Coverage
from pull_logs.snapshot import BundleRun

LONG = "e" * 700
METRICS = ("loss", "val/acc", "1,2", LONG)
CELLS = st.integers(0, 9) | st.floats() | values | NASTY
ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.dictionaries(st.sampled_from(METRICS) | NASTY, CELLS, max_size=5)),
    max_size=4,
)
SETTINGS = st.one_of(
    st.integers(0, 99),
    st.text(string.ascii_letters, max_size=60),
    st.sampled_from([[1, 2], "x" * 300]),
    values,
)
CONFIGS = st.builds(
    dict.__or__,
    st.dictionaries(st.sampled_from(["lr", "net.depth", "note", "w" * 90, "tags"]), SETTINGS),
    RECORDS,
)
"""What people put into configs, under keys that other runs have too, or have not."""


@st.composite
def bundle_runs(draw: st.DrawFn) -> list[BundleRun]:
    """Runs of one project or several: a few, or more than stand side by side.

    The first one has what the questions ask for.
    """
    kinds = draw(st.lists(st.tuples(ROWS, CONFIGS, RECORDS, NASTY, st.booleans()), min_size=1, max_size=4))
    project = draw(st.sampled_from(["nano", "p" * 120, "ключ ключ"]))
    projects = draw(st.sampled_from([1, 2, 40]))
    runs = []
    for number in range(draw(st.sampled_from([1, 2, 3, 5, 12, 40]))):
        rows, config, summary, text, complete = kinds[number % len(kinds)]
        if number == 0:
            rows = [*rows, (41, dict.fromkeys(METRICS, 41))]
            config = {**config, "lr": 0.1}
        config = {"lr": 0.1, **config, "seed": number}
        runs.append(
            bundle_run(
                f"acme/{project}{number % projects}/r{number}",
                canonical({**row, "_step": step} for step, row in rows),
                config=config,
                summary=summary,
                name=text,
                state="finished" if complete else text or "crashed",
                coverage=Coverage(
                    complete=complete, reason="" if complete else f"{text}: 8 rows are missing"
                ),
            )
        )
    return runs


ASSERTS = ("--assert", "any: _step > 3", "--assert", 'state == "[RUNS]"', "--assert", "step 2: _step == 2")
QUESTIONS = st.sampled_from(
    [
        ("show",),
        ("show", "--human"),
        ("show", "--schema", "--stats"),
        ("show", "--show-all", "--max-rows", "0"),
        ("show", "--last", "2", *ASSERTS),
        ("overview",),
        ("overview", "--select", "."),
        ("overview", *ASSERTS),
        ("compare",),
        ("compare", "--group-by", "config.lr", "--best", "loss:min"),
        ("compare", "--group-by", "all-but:seed", "--ci", "bootstrap", "--sort", f"{LONG}:max"),
        ("compare", "--at", "3", "--interpolation", "previous", "--x", LONG),
        ("compare", "--at", "41", "--x", LONG, "--best", f"{LONG}:min", "--group-by", "config.lr"),
        ("compare", "--best", "1,2:max", "--at", "best", "--top", "3"),
        ("compare", "--at", "checkpoint", "--x", "defined", *ASSERTS),
    ]
)  # fmt: skip
SCHEMAS = {command: validator(command) for command in ("show", "overview", "compare")}
TOKENS = (
    st.sampled_from([0, 1, MIN_TOKENS - 1, MIN_TOKENS, MIN_JSON_TOKENS - 1, MIN_JSON_TOKENS])
    | st.integers(MIN_TOKENS, MIN_TOKENS + 60)
    | st.integers(MIN_JSON_TOKENS, 1200)
)


def run_command(words: Sequence[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.timeout(600)  # making a failing bundle small takes minutes
@given(runs=bundle_runs(), asked=st.lists(st.tuples(QUESTIONS, TOKENS), min_size=1, max_size=4))
@settings(max_examples=60)
def test_every_answer_comes_out_within_its_budget(
    runs: list[BundleRun], asked: list[tuple[tuple[str, ...], int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "b.wandb.zip", runs)
        for (command, *flags), tokens in asked:
            words = [*([] if command == "show" else [command]), "-b", str(bundle), *flags]
            words += ["--max-tokens", str(tokens)]
            text, as_json = run_command(words), run_command([*words, "--json"])
            for (code, out, err), least in ((text, MIN_TOKENS), (as_json, MIN_JSON_TOKENS)):
                if 0 < tokens < least:
                    assert (code, out) == (2, "")
                    assert f"--max-tokens {tokens} is too small for any answer" in err
                    continue
                assert code in (0, 7), err
                assert not tokens or count_tokens(out) <= tokens
            if not 0 < tokens < MIN_JSON_TOKENS:
                assert text[0] == as_json[0]
                SCHEMAS[command].validate(json.loads(as_json[1]))


FACTS = st.integers(0, 9) | st.text(max_size=20) | st.none()
FOUND = st.fixed_dictionaries({"value": FACTS, "runs": st.integers(0, 99)})
RECORD_LISTS = st.lists(
    st.fixed_dictionaries({"key": FACTS, "found": st.lists(FOUND, max_size=5)}), max_size=3
)


@given(records=RECORD_LISTS, entries=st.integers(0, 4))
def test_what_a_cut_leaves_of_a_list_is_complete_records(records: list[dict[str, Any]], entries: int) -> None:
    cutter, full = cut_list(records), list_extent(records)
    for chars in range(len("found"), full.chars + 2):
        cut = cutter(Extent(entries=entries, chars=chars))
        assert [set(record) for record in cut] == [{"key", "found"}] * min(entries, len(records))
        for record, meant in zip(cut, records, strict=False):
            assert len(record["found"]) <= len(meant["found"])
            assert all(set(found) == {"value", "runs"} for found in record["found"])
