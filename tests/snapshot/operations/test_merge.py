"""Several bundles as one: commutative, associative and idempotent to the byte, against an oracle of dicts."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle, members_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.errors import MergeConflictError
from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canonical_text, same
from pull_logs.snapshot import Bundle, MergeReport, merge_bundles, open_bundle, write_bundle
from pull_logs.snapshot.operations.merge import Prefer
from pull_logs.snapshot.privacy.audit import audit_bundle
from pull_logs.snapshot.privacy.redact import redact_bundle
from pull_logs.snapshot.write.run_sources import BundleRun

Rows = list[dict[str, Any]]
PATH = "acme/nano/x"


@contextmanager
def opened(paths: Sequence[Path]) -> Iterator[list[Bundle]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_bundle(path)) for path in paths]


def merge(paths: Sequence[Path], out: Path, prefer: Prefer | None = None) -> MergeReport:
    with opened(paths) as bundles:
        return merge_bundles(bundles, out, prefer=prefer, force=True)


def merged(paths: Sequence[Path], out: Path) -> bytes | None:
    """The bytes of the merged bundle, or None where the bundles disagree."""
    try:
        merge(paths, out)
    except MergeConflictError:
        return None
    return out.read_bytes()


@st.composite
def versions(draw: st.DrawFn, of: Rows) -> BundleRun:
    """Draw a version of a run: all rows or the first ones, all keys or some, sometimes with another value."""
    keys = sorted({key for row in of for key in row} - {"_step"})
    thinned = bool(keys) and draw(st.booleans())
    dropped = draw(st.sets(st.sampled_from(keys), max_size=2)) if thinned else set()
    rows = [{key: cell for key, cell in row.items() if key not in dropped} for row in of]
    rows = rows[: draw(st.integers(0, len(rows)))] if draw(st.booleans()) else rows
    if rows and not draw(st.integers(0, 5)):
        rows[-1] = rows[-1] | {"loss": draw(st.integers(0, 1))}
    system: Rows = [{"_timestamp": float(number), "gpu": number} for number in range(draw(st.integers(0, 2)))]
    heartbeat = draw(st.sampled_from([None, "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.5Z"]))
    state = draw(st.sampled_from(["finished", "running"]))
    return bundle_run(PATH, rows, system=system, heartbeat_at=heartbeat, state=state)


bundle_sets = nasty_rows.map(canonical).flatmap(lambda rows: st.lists(versions(rows), min_size=3, max_size=3))


def covers(more: BundleRun, less: BundleRun) -> bool:
    """Return whether one version has all that another has, compared cell by cell."""
    here, there = ({row["_step"]: row for row in rows_of(run)} for run in (less, more))
    cells = all(
        step in there
        and all(key in there[step] and same(cell, there[step][key]) for key, cell in row.items())
        for step, row in here.items()
    )
    return cells and not system_of(less) - system_of(more)


def rows_of(run: BundleRun) -> Rows:
    return [row for batch in run.batches() for row in batch_rows(batch)]


def system_of(run: BundleRun) -> Counter[str]:
    return Counter(map(canonical_text, batch_rows(run.system))) if run.system is not None else Counter()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bundle_sets, st.randoms(use_true_random=False))
def test_merge_is_commutative_associative_and_idempotent_to_the_byte(
    tmp_path: Path, runs: list[BundleRun], chance: random.Random
) -> None:
    paths = [tmp_path / f"{number}.wandb.zip" for number in range(3)]
    for number, (path, run) in enumerate(zip(paths, runs, strict=True)):
        write_bundle(path, [run, bundle_run(f"acme/nano/only-{number}")], force=True)
    out, half = tmp_path / "out.wandb.zip", tmp_path / "half.wandb.zip"
    expected = merged(paths, out)
    orders = list(itertools.permutations(paths))
    assert merged(chance.choice(orders), out) == expected
    assert (expected is None) is not any(all(covers(more, less) for less in runs) for more in runs)
    for path in paths:
        assert merged([path, path], out) == path.read_bytes()
    left, right, other = chance.choice(orders)
    first = merged([left, right], half)
    if first is not None:
        assert merged([half, right], out) == first
        assert merged([half, other], out) == expected


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bundle_sets)
def test_what_is_preferred_is_one_of_the_versions_that_no_other_covers(
    tmp_path: Path, runs: list[BundleRun]
) -> None:
    paths = [tmp_path / f"{number}.wandb.zip" for number in range(3)]
    for path, run in zip(paths, runs, strict=True):
        write_bundle(path, [run], force=True)
    uncovered = [
        path
        for path, run in zip(paths, runs, strict=True)
        if all(covers(run, more) for more in runs if covers(more, run))
    ]
    first, newest = tmp_path / "first.wandb.zip", tmp_path / "newest.wandb.zip"
    merge(paths, first, "first")
    merge(paths, newest, "newest")
    assert newest.read_bytes() in {path.read_bytes() for path in uncovered}
    if merged(paths, tmp_path / "plain.wandb.zip") is None:
        assert first.read_bytes() == uncovered[0].read_bytes()
    merge(paths[::-1], first, "newest")
    assert first.read_bytes() == newest.read_bytes()


GROWING = [{"_step": step, "loss": 1 / (step + 1), "acc": 0.5} for step in range(6)]


def bundles_of(folder: Path, *runs: BundleRun) -> list[Path]:
    return [make_bundle(folder / f"{name}.wandb.zip", [run]) for name, run in zip("abc", runs, strict=False)]


def test_a_run_that_continued_is_taken_completely_and_reported(tmp_path: Path) -> None:
    paths = bundles_of(tmp_path, bundle_run(PATH, GROWING[:3], state="running"), bundle_run(PATH, GROWING))
    report = merge(paths, tmp_path / "out.wandb.zip")
    (choice,) = report.choices
    assert (str(choice.path), choice.kept, choice.left) == (PATH, str(paths[1]), (str(paths[0]),))
    assert choice.reason == "it has all that the others have"
    assert members_of(report.seal.path) == members_of(paths[1])


def test_of_the_same_rows_the_facts_with_the_latest_heartbeat_are_taken(tmp_path: Path) -> None:
    late, later = "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.5Z"
    paths = bundles_of(
        tmp_path,
        bundle_run(PATH, GROWING, heartbeat_at=later, notes="b"),
        bundle_run(PATH, GROWING, heartbeat_at=late, notes="c"),
    )
    (choice,) = merge(paths, tmp_path / "out.wandb.zip").choices
    assert choice.kept == str(paths[0])
    assert choice.reason == "the rows are the same, and its heartbeat is the latest"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (GROWING[1:4], "'{a}' has step 0 and '{b}' has not"),
        ([{**GROWING[0], "loss": 7}, *GROWING[1:4]], "'loss' at step 0 is 1 in '{a}' and 7 in '{b}'"),
        (
            [GROWING[0], {"_step": 1, "loss": 0.5}, *GROWING[2:4], {"_step": 9}],
            "'acc' at step 1 is 0.5 in '{a}' and missing in '{b}'",
        ),
    ],
)
def test_a_conflict_names_the_first_cell_that_one_lacks(tmp_path: Path, rows: Rows, sentence: str) -> None:
    paths = bundles_of(tmp_path, bundle_run(PATH, GROWING[:3]), bundle_run(PATH, rows))
    out = tmp_path / "out.wandb.zip"
    with pytest.raises(MergeConflictError) as caught:
        merge(paths, out)
    sentences = [sentence.format(a=paths[0], b=paths[1]), sentence.format(a=paths[1], b=paths[0])]
    shown = [f"run {PATH!r}: {text}" for text in sentences]
    if caught.value.conflicts[0] not in shown:
        # Which of two is asked first depends on their hashes; the other one lacks what this one adds.
        assert caught.value.conflicts[0].startswith(f"run {PATH!r}: '{paths[1]}' has step ")
    assert caught.value.message == f"the bundles disagree about {caught.value.conflicts[0]}"
    assert (
        caught.value.hint == "pass --prefer newest, or --prefer first with the preferred bundle named first"
    )
    assert not out.exists()


def test_a_version_that_another_covers_is_never_preferred(tmp_path: Path) -> None:
    """The newest is a part of a fuller one: what it lacks must not be lost to its being newer."""
    paths = bundles_of(
        tmp_path,
        bundle_run(
            PATH, [{"_step": row["_step"], "loss": row["loss"]} for row in GROWING], heartbeat_at="2026-3"
        ),
        bundle_run(PATH, GROWING, heartbeat_at="2026-1"),
        bundle_run(PATH, [{**row, "acc": 0.25} for row in GROWING], heartbeat_at="2026-2"),
    )
    (choice,) = merge(paths, tmp_path / "out.wandb.zip", "newest").choices
    assert choice.kept == str(paths[2])
    (choice,) = merge(paths, tmp_path / "out.wandb.zip", "first").choices
    assert choice.kept == str(paths[1])
    assert choice.left == (str(paths[0]), str(paths[2]))
    assert choice.reason.startswith("first was preferred; 'acc' at step 0 is ")


def test_out_may_be_one_of_the_bundles(tmp_path: Path) -> None:
    paths = bundles_of(tmp_path, bundle_run("acme/nano/a"), bundle_run("acme/nano/b"))
    apart = merge(paths, tmp_path / "out.wandb.zip").seal
    onto = merge(paths, paths[0]).seal
    assert onto.path == paths[0]
    assert paths[0].read_bytes() == apart.path.read_bytes()


def test_the_markers_of_the_parts_are_counted_in_the_merged_bundle(tmp_path: Path) -> None:
    secret = "hf_q7Zt3KpX9vLm2RbN8sYc5WdHx4Gf6JaT1eUo"
    leaky = make_bundle(tmp_path / "leaky.wandb.zip", [bundle_run(PATH, config={"a": secret, "b": secret})])
    clean = tmp_path / "clean.wandb.zip"
    redact_bundle(leaky, clean)
    other = make_bundle(tmp_path / "other.wandb.zip", [bundle_run("acme/nano/other")])
    both = merge([clean, other], tmp_path / "merged.wandb.zip").seal.path
    with open_bundle(both) as bundle:
        assert dict(bundle.manifest.redacted) == {"api-key": 2}
    assert audit_bundle(both).redacted == {"api-key": 2}
    merge([clean, clean], tmp_path / "again.wandb.zip")
    assert (tmp_path / "again.wandb.zip").read_bytes() == clean.read_bytes()
