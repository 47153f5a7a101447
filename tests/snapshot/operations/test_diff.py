"""What changed between two bundles, against an oracle of dicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bundlekit import Raw, bundle_run, forged_from, make_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rowkit import calm_rows, canonical, nasty_rows, same_rows, texts, values

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import batch_from_rows, batch_rows, steps_of
from pull_logs.rows.canonical import canon_record, same
from pull_logs.rows.diff import compare_histories
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import diff_bundles, open_bundle, write_bundle
from pull_logs.snapshot.format.manifest import render_digest
from pull_logs.snapshot.operations.diff import (
    EXAMPLES,
    BundleDifference,
    CellEdit,
    Edit,
    RowsDifference,
    record_edits,
)

Rows = list[dict[str, Any]]


@st.composite
def histories(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Two histories, most of whose rows are the same."""
    old = canonical(draw(nasty_rows | calm_rows))
    if not draw(st.booleans()):
        return old, canonical(draw(nasty_rows))
    new = [dict(row) for row in old if draw(st.integers(0, 4))]
    for row in new:
        if not draw(st.integers(0, 3)):
            for key in draw(st.sets(st.sampled_from(sorted(row)))) - {"_step"}:
                del row[key]
            row.update(draw(st.dictionaries(texts.filter(lambda key: key != "_step"), values, max_size=2)))
    return old, canonical(new + (draw(nasty_rows) if draw(st.booleans()) else []))


def cut(rows: Rows, size: int) -> list[pa.Table]:
    cuts = [*range(0, len(rows), size), len(rows)]
    return [batch_from_rows(rows[start:end]) for start, end in pairwise(cuts)]


def by_step(rows: Rows) -> dict[int, dict[str, Any]]:
    return {row["_step"]: row for row in rows}


def changed_keys(here: Mapping[str, Any], there: Mapping[str, Any]) -> set[str]:
    return {
        key
        for key in here.keys() | there.keys()
        if key not in here or key not in there or not same(here[key], there[key])
    }


@given(histories(), st.integers(1, 5), st.integers(1, 5))
def test_windows_cover_both_histories_and_report_every_cell_that_differs(
    pair: tuple[Rows, Rows], left: int, right: int
) -> None:
    old, new = pair
    here, there = by_step(old), by_step(new)
    gone, added, kept, cells = [], [], [], {}
    for window in compare_histories(cut(old, left), cut(new, right)):
        gone += window.gone.tolist()
        added += window.added.tolist()
        steps = steps_of(window.old).tolist()
        kept += steps
        assert steps == steps_of(window.new).tolist()
        assert same_rows(batch_rows(window.old), [here[step] for step in steps])
        assert same_rows(batch_rows(window.new), [there[step] for step in steps])
        for key, changes in window.keys.items():
            for row in changes.rows.nonzero()[0].tolist():
                kind = [name for name in ("lost", "gained", "changed") if getattr(changes, name)[row]]
                cells[steps[row], key] = (*kind, *window.values(key, row))
    assert gone == sorted(here.keys() - there.keys())
    assert added == sorted(there.keys() - here.keys())
    assert kept == sorted(here.keys() & there.keys())
    assert set(cells) == {(step, key) for step in kept for key in changed_keys(here[step], there[step])}
    for (step, key), (kind, before, after) in cells.items():
        assert kind == ("lost" if key not in there[step] else "changed" if key in here[step] else "gained")
        assert same([before, after], [here[step].get(key), there[step].get(key)])


def rows_oracle(old: Rows, new: Rows) -> dict[str, Any] | None:
    """What a difference has to say of two histories, counted row by row."""
    here, there = by_step(old), by_step(new)
    last = old[-1]["_step"] if old else -math.inf
    both = sorted(here.keys() & there.keys())
    keys = {step: changed for step in both if (changed := changed_keys(here[step], there[step]))}
    added = there.keys() - here.keys()
    if not (keys or added or here.keys() - there.keys()):
        return None
    named = sorted({key for changed in keys.values() for key in changed}, key=str.encode)
    return {
        "appended": sum(step > last for step in added),
        "inserted": sum(step < last for step in added),
        "gone": len(here.keys() - there.keys()),
        "rewritten": len(keys),
        "first_step": min(keys, default=None),
        "last_step": max(keys, default=None),
        "keys": [(key, sum(key in changed for changed in keys.values())) for key in named],
    }


def fields_of(rows: RowsDifference | None) -> dict[str, Any] | None:
    if rows is None:
        return None
    names = ("appended", "inserted", "gone", "rewritten", "first_step", "last_step")
    return {name: getattr(rows, name) for name in names} | {"keys": list(rows.keys.items())}


def check_examples(rows: RowsDifference, old: Rows, new: Rows) -> None:
    here, there = by_step(old), by_step(new)
    cells = sum(rows.keys.values())
    assert len(rows.examples) == min(EXAMPLES, cells)
    assert len({cell.key for cell in rows.examples}) == min(EXAMPLES, len(rows.keys))
    assert len({(cell.step, cell.key) for cell in rows.examples}) == len(rows.examples)
    for cell in rows.examples:
        before, after = here[cell.step].get(cell.key), there[cell.step].get(cell.key)
        assert same([cell.old, cell.new], [before, after])
        assert not same(before, after)


def diff(old: Path, new: Path) -> BundleDifference:
    with open_bundle(old) as before, open_bundle(new) as after:
        difference = diff_bundles(before, after)
        assert bool(difference) or before.content_id == after.content_id
        return difference


records = st.dictionaries(texts, values, max_size=4)
SMALL = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SMALL
@given(histories(), st.tuples(records, records), st.sampled_from(["finished", "running"]), st.booleans())
def test_a_difference_is_what_the_dicts_say(
    tmp_path: Path,
    pair: tuple[Rows, Rows],
    configs: tuple[dict[str, Any], dict[str, Any]],
    state: str,
    moved: bool,  # noqa: FBT001 - hypothesis passes it by position
) -> None:
    (old, new), (before, after) = pair, configs
    system = [{"_timestamp": 1.0, "gpu": 3}]
    paths = tmp_path / "old.wandb.zip", tmp_path / "new.wandb.zip"
    write_bundle(paths[0], [bundle_run("a/b/c", old, config=before), bundle_run("a/b/gone", old)], force=True)
    run = bundle_run("a/b/c", new, config=after, state=state, system=system if moved else ())
    write_bundle(paths[1], [run, bundle_run("a/b/new", new)], force=True)
    difference = diff(*paths)
    assert (difference.added, difference.gone) == ((RunPath("a", "b", "new"),), (RunPath("a", "b", "gone"),))
    rows = rows_oracle(old, new)
    same_config = same(canon_record(before), canon_record(after))
    if rows is None and same_config and state == "finished" and not moved:
        assert (difference.changed, difference.unchanged) == ((), 1)
        return
    (found,) = difference.changed
    assert difference.unchanged == 0
    assert fields_of(found.rows) == rows
    if found.rows is not None:
        check_examples(found.rows, old, new)
    assert bool(found.config) is not same_config
    facts = [("state", "finished", "running")] if state == "running" else []
    assert [(*edit.path, edit.old, edit.new) for edit in found.facts] == facts
    assert found.summary == ()
    assert found.system is moved


@SMALL
@given(st.lists(nasty_rows, min_size=1, max_size=3), records)
def test_nothing_differs_from_itself_nor_from_the_same_rows_written_elsewhere(
    tmp_path: Path, runs: Sequence[Rows], record: dict[str, Any]
) -> None:
    paths = tmp_path / "a.wandb.zip", tmp_path / "b.wandb.zip"
    made = [
        bundle_run(f"a/b/{n}", canonical(rows), config=record, summary=record) for n, rows in enumerate(runs)
    ]
    write_bundle(paths[0], made, force=True)
    write_bundle(paths[1], reversed(made), force=True)
    for path in paths:
        assert diff(paths[0], path) == BundleDifference(added=(), gone=(), changed=(), unchanged=len(runs))


nested = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["a", math.nan, True, [1, None]]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from("abc"), nested, max_size=3)


def patched(record: dict[str, Any], edits: Sequence[Edit]) -> dict[str, Any]:
    for edit in edits:
        parent = record
        for key in edit.path[:-1]:
            parent = parent[key]
        last = edit.path[-1]
        assert (last in parent) is (edit.change != "added")
        assert edit.change == "added" or same(parent[last], edit.old)
        if edit.change == "removed":
            del parent[last]
        else:
            parent[last] = edit.new
    return record


@given(documents, documents)
def test_the_edits_of_a_record_lead_from_the_old_one_to_the_new_one(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    edits = list(record_edits(canon_record(old), canon_record(new)))
    assert same(patched(canon_record(old), edits), canon_record(new))
    assert bool(edits) is not same(canon_record(old), canon_record(new))
    assert len({edit.path for edit in edits}) == len(edits)


def test_the_download_is_not_compared_but_completeness_is(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"host": "api.wandb.ai", "user": "jo", "heartbeat_at": "2026-11-23T10:00:00Z"}
    plain = make_bundle(tmp_path / "a.wandb.zip", [bundle_run()])
    other = make_bundle(tmp_path / "b.wandb.zip", [bundle_run(**facts)])
    assert not diff(plain, other)
    half = Coverage(received_rows=3, received_last_step=4, promised_rows=5, complete=False, reason="2 rows")
    less = make_bundle(tmp_path / "c.wandb.zip", [bundle_run(coverage=half)])
    (found,) = diff(plain, less).changed
    assert found.facts == (Edit(path=("complete",), change="changed", old=True, new=False),)


def test_the_examples_are_of_as_many_keys_as_there_are(tmp_path: Path) -> None:
    old = [{"_step": step, "a": step, "b": step} for step in range(9)]
    new = [{**row, "a": -1} | ({"b": True} if row["_step"] > 6 else {}) for row in old]
    paths = [
        make_bundle(tmp_path / f"{n}.wandb.zip", [bundle_run(rows=rows)]) for n, rows in enumerate((old, new))
    ]
    (found,) = diff(*paths).changed
    assert found.rows is not None
    assert dict(found.rows.keys) == {"a": 9, "b": 2}
    assert found.rows.examples == (
        CellEdit(step=0, key="a", old=0, new=-1),
        CellEdit(step=1, key="a", old=1, new=-1),
        CellEdit(step=2, key="a", old=2, new=-1),
        CellEdit(step=7, key="b", old=7, new=True),
        CellEdit(step=8, key="b", old=8, new=True),
    )


@pytest.mark.parametrize("steps", [[[5, 4]], [[3, 3]], [[1, 2], [2, 3]], [[0, 7], [5, 9]]])
def test_steps_that_do_not_ascend_are_an_error_and_not_an_endless_loop(steps: list[list[int]]) -> None:
    bad = [pa.table({"_step": pa.array(some, pa.int64())}) for some in steps]
    good = [batch_from_rows([{"_step": step} for step in range(10)])]
    for pair in ((bad, good), (good, bad)):
        with pytest.raises(DataError, match=r"^its steps do not ascend$"):
            list(compare_histories(*pair))


def test_a_wrong_rows_hash_is_reported(tmp_path: Path) -> None:
    good = make_bundle(tmp_path / "good.wandb.zip", [bundle_run()])

    def lie(members: dict[str, Raw]) -> None:
        data = members["datapackage.json"].data
        start = data.index(b'"rowsHash":"sha256:') + len(b'"rowsHash":"sha256:')
        members["datapackage.json"].data = data[:start] + b"0" * 64 + data[start + 64 :]
        members["datapackage-digest.json"].data = render_digest(members["datapackage.json"].data)

    bad = forged_from(good, tmp_path / "bad.wandb.zip", lie)
    with pytest.raises(BundleDamagedError) as caught:
        diff(good, bad)
    assert str(caught.value) == (
        "run 'acme/nano/3fk2a' has two different rows hashes for the same rows;"
        " run `pull-logs verify` on both bundles"
    )
