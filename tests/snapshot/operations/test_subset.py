"""A part of a bundle is what the same rows and keys would have been sealed to."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundlekit import SYSTEM_ROWS, bundle_run, make_bundle, members_of, two_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rowkit import KEYS, canonical, nasty_rows

from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.runs import Coverage
from pull_logs.snapshot import merge_bundles, open_bundle, subset_bundle, verify_bundle, write_bundle
from pull_logs.snapshot.privacy.redact import redact_bundle


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(nasty_rows, min_size=1, max_size=3), st.sampled_from(KEYS), st.booleans())
def test_some_metrics_are_the_bundle_of_the_filtered_rows_to_the_byte(
    tmp_path: Path,
    runs: list[list[dict[str, Any]]],
    key: str,
    prefix: bool,  # noqa: FBT001 - hypothesis passes it by position
) -> None:
    complete, part, expected = (tmp_path / f"{name}.wandb.zip" for name in ("complete", "part", "expected"))
    histories = [canonical(rows) for rows in runs]
    pattern = "^" + re.escape(key.encode(errors="replace").decode()[:2]) + ("" if prefix else "$")
    search = re.compile(pattern).search
    kept = [
        [
            {name: cell for name, cell in row.items() if name in ("_step", "_timestamp") or search(name)}
            for row in rows
        ]
        for rows in histories
    ]

    def made(rows: list[dict[str, Any]], number: int, total: int) -> Any:
        run = bundle_run(f"acme/nano/{number}", rows, system=SYSTEM_ROWS, summary={"loss": 1, "acc": 2})
        return replace(run, coverage=Coverage(received_rows=total))

    counts = list(map(len, histories))
    write_bundle(
        complete, [made(rows, number, counts[number]) for number, rows in enumerate(histories)], force=True
    )
    thinned = [made(rows, number, counts[number]) for number, rows in enumerate(kept)]
    write_bundle(expected, thinned, metrics=pattern, force=True)
    with open_bundle(complete) as bundle:
        if not any(search(name) for rows in histories for row in rows for name in row) and not search(
            "_step"
        ):
            with pytest.raises(MetricNotFoundError):
                subset_bundle(bundle.runs(), part, metrics=pattern, force=True)
            return
        subset_bundle(bundle.runs(), part, metrics=pattern, force=True)
    assert part.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("^val/", "loss"),
        ("loss$", "^(val|train)/"),
        ("(v)al|t(r)ain", r"(l)oss.*|(.)cc|\\/(.)\\1"),
        ("(?i)VAL", "ACC|acc"),
        ("loss", "(?x) ^ val  # of validation\n"),
        ("l.", "l."),
    ],
)
def test_a_part_of_a_part_knows_which_metrics_both_left(tmp_path: Path, first: str, second: str) -> None:
    names = ["val/acc", "val/loss", "train/acc", "train/loss", "lr", "x\ny"]
    row = {"_step": 0, "_timestamp": 1.0, **dict.fromkeys(names, 1)}
    make_bundle(tmp_path / "0.zip", [bundle_run("acme/nano/a", [row])])
    for number, pattern in enumerate((first, second)):
        with open_bundle(tmp_path / f"{number}.zip") as bundle:
            subset_bundle(bundle.runs(), tmp_path / f"{number + 1}.zip", metrics=pattern)
    with open_bundle(tmp_path / "2.zip") as bundle:
        rule = bundle.manifest.metrics
        kept = set(bundle["a"].column_names()) - {"_step", "_timestamp"}
    assert rule is not None
    assert kept == {name for name in names if re.search(rule, name)}
    assert kept == {name for name in names if re.search(first, name) and re.search(second, name)}


def test_a_merge_keeps_to_the_metrics_that_all_its_bundles_have(tmp_path: Path) -> None:
    row = {"_step": 0, "loss": 1, "acc": 2}
    made = {name: tmp_path / f"{name}.zip" for name in ("complete", "a", "b", "c", "both", "mixed")}
    make_bundle(made["complete"], [bundle_run(f"acme/nano/{name}", [row]) for name in "abc"])
    with open_bundle(made["complete"]) as bundle:
        for name, metrics in (("a", "loss"), ("b", "loss"), ("c", "acc")):
            subset_bundle([bundle[name]], made[name], metrics=metrics)
    for out, names in (("both", "ab"), ("mixed", "abc")):
        with ExitStack() as stack:
            merge_bundles([stack.enter_context(open_bundle(made[name])) for name in names], made[out])
    found = []
    for out in ("both", "mixed"):
        with open_bundle(made[out]) as bundle:
            found.append(bundle.manifest.metrics)
    assert found == ["loss", None]


def test_some_runs_are_copied_byte_for_byte(tmp_path: Path) -> None:
    complete, part = make_bundle(tmp_path / "complete.wandb.zip"), tmp_path / "part.wandb.zip"
    with open_bundle(complete) as bundle:
        report = subset_bundle([bundle["3fk2a"]], part)
    assert (report.runs, report.rows) == (1, 3)
    assert verify_bundle(part).damages == ()
    members, all_members = members_of(part), members_of(complete)
    files = [name for name in members if name.startswith("runs/")]
    assert len(files) == 2
    assert all(members[name] == all_members[name] for name in files)
    alone = make_bundle(tmp_path / "alone.wandb.zip", two_runs()[:1])
    assert part.read_bytes() == alone.read_bytes()


def test_a_bundle_may_be_replaced_by_its_subset(tmp_path: Path) -> None:
    complete = make_bundle(tmp_path / "a.wandb.zip")
    with open_bundle(complete) as bundle:
        subset_bundle([bundle["b"]], complete, force=True)
    with open_bundle(complete) as bundle:
        assert bundle.run_paths == ("acme/nano/b",)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wandb.zip"]


def test_a_pattern_that_matches_no_metric_names_the_nearest(tmp_path: Path) -> None:
    complete, part = make_bundle(tmp_path / "complete.wandb.zip"), tmp_path / "part.wandb.zip"
    with open_bundle(complete) as bundle, pytest.raises(MetricNotFoundError) as caught:
        subset_bundle(bundle.runs(), part, metrics="los$")
    assert str(caught.value) == "no metric matches 'los$'; the nearest is 'loss'"
    assert not part.exists()


def test_an_invalid_pattern_is_reported_with_its_position(tmp_path: Path) -> None:
    complete, part = make_bundle(tmp_path / "complete.wandb.zip"), tmp_path / "part.wandb.zip"
    with open_bundle(complete) as bundle, pytest.raises(UsageError) as caught:
        subset_bundle(bundle.runs(), part, metrics="val/(")
    assert str(caught.value) == (
        "metrics 'val/(' is not a valid regular expression: missing ), unterminated subpattern at position 4"
    )


def test_a_part_counts_the_markers_that_it_has(tmp_path: Path) -> None:
    secret = "hf_q7Zt3KpX9vLm2RbN8sYc5WdHx4Gf6JaT1eUo"
    rows = [{"_step": 0, "note": secret, "odd": [secret], "loss": 1}]
    runs = [bundle_run("acme/nano/a", rows), bundle_run("acme/nano/b", config={"key": secret})]
    leaky, clean = make_bundle(tmp_path / "leaky.wandb.zip", runs), tmp_path / "clean.wandb.zip"
    redact_bundle(leaky, clean)

    def redacted(ids: str, metrics: str | None) -> dict[str, int]:
        with open_bundle(clean) as bundle:
            subset_bundle(
                [bundle[run_id] for run_id in ids], tmp_path / "part.wandb.zip", metrics=metrics, force=True
            )
        with open_bundle(tmp_path / "part.wandb.zip") as part:
            return dict(part.manifest.redacted)

    assert redacted("ab", None) == {"api-key": 3}
    assert redacted("a", None) == {"api-key": 2}
    assert redacted("a", "note") == {"api-key": 1}
    assert redacted("a", "loss") == {}
    assert redacted("ab", "loss") == {"api-key": 1}
