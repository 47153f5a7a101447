"""Keys that are left out of the groups are not thereby seeds: verdicts stay what they were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import scipy.stats
from fakeruns import FakeRun, subjects
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.answers import Comparison, compare_runs
from pull_logs.analyze.results import CompareAnswer
from pull_logs.analyze.statistics import Criterion

BASE = {0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9}
"""What a seed adds to the value of each arm: far more than the arms differ, so that only pairs show it."""
GAIN = {"small": {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}, "large": {0: 0.05, 1: 0.02, 2: 0.03, 3: 0.08}}


def sweep(seed: str = "seed", **extra: Any) -> list[FakeRun]:
    """Two arms of four seeds each; `extra` has functions of arm and seed that give further keys."""
    return [
        FakeRun(
            [{"_step": 0, "acc": BASE[number] + gain[number]}],
            run_id=f"{arm}{number}",
            config={"arm": arm, seed: number, **{key: of(arm, number) for key, of in extra.items()}},
        )
        for arm, gain in GAIN.items()
        for number in BASE
    ]


def compare(runs: Sequence[FakeRun], *group_by: str, **question: Any) -> CompareAnswer:
    criterion = Criterion("acc", "max")
    return compare_runs(subjects(*runs), Comparison(best=criterion, group_by=group_by, **question))


def per_run(prefix: str) -> Any:
    return lambda arm, seed: f"{prefix}/{arm}/{seed}"


PER_RUN = {"out_dir": per_run("runs"), "slurm_job_id": per_run("job")}


def expected() -> tuple[float, float]:
    small, large = ([BASE[seed] + gain for seed, gain in GAIN[arm].items()] for arm in ("small", "large"))
    return scipy.stats.ttest_rel(large, small).pvalue, scipy.stats.ttest_ind(
        large, small, equal_var=False
    ).pvalue


def test_the_grouping_that_is_suggested_keeps_the_paired_test() -> None:
    paired, welch = expected()
    assert (round(paired, 3), round(welch, 3)) == (0.042, 0.877)
    before = compare(sweep(**PER_RUN), "all-but:seed")
    suggested = next(
        re.findall(r"--group-by (\S+)", note) for note in before["notes"] if "single run" in note
    )
    assert suggested == ["all-but:seed,out_dir,slurm_job_id"]
    found = compare(sweep(**PER_RUN), *suggested)
    assert [(entry["test"], entry["n"]) for entry in found["verdicts"]] == [("paired t", [4, 4])]
    assert found["verdicts"][0]["p_holm"] == pytest.approx(paired)
    assert not [note for note in found["notes"] if "--group-by" in note]


EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "constant": st.just(lambda _arm, _seed: 1),
        "fold": st.just(lambda _arm, seed: seed % 2),
        "data_order": st.permutations(range(4)).map(lambda order: lambda _arm, seed: order[seed]),
        "tag": st.just(lambda _arm, seed: f"s{seed}"),
        **{key: st.just(of) for key, of in PER_RUN.items()},
    },
)


@pytest.mark.parametrize("seed", ["seed", "data_seed", "replica"])
@given(EXTRAS, st.data())
def test_leaving_out_keys_that_follow_the_seed_or_the_run_changes_no_verdict(
    seed: str, extra: dict[str, Any], data: st.DataObject
) -> None:
    plain = compare(sweep(seed), f"all-but:{seed}")["verdicts"]
    names = data.draw(st.permutations([seed, *extra]))
    found = compare(sweep(seed, **extra), f"all-but:{','.join(names)}")["verdicts"]
    assert found == plain
    assert found[0]["test"] == "paired t"


@given(
    st.dictionaries(
        st.sampled_from(["host", "gpu", "note"]),
        st.lists(st.integers(0, 3), min_size=8, max_size=8).map(
            lambda values: lambda arm, seed: values[seed + 4 * (arm == "large")]
        ),
    ),
    st.data(),
)
def test_beside_a_key_named_like_a_seed_any_other_key_may_be_left_out(
    extra: dict[str, Any], data: st.DataObject
) -> None:
    plain = compare(sweep(), "all-but:seed")["verdicts"]
    names = data.draw(st.permutations(["seed", *extra]))
    assert compare(sweep(**extra), f"all-but:{','.join(names)}")["verdicts"] == plain


@pytest.mark.parametrize("names", ["replica,host", "host,replica"])
def test_a_seed_of_another_name_is_the_key_that_tells_the_runs_of_each_group_apart(names: str) -> None:
    plain = compare(sweep("replica"), "all-but:replica")["verdicts"]
    runs = sweep("replica", host=lambda arm, seed: f"node{(seed + len(arm)) % 2}")
    assert compare(runs, f"all-but:{names}")["verdicts"] == plain


def test_keys_that_are_left_out_are_not_reported_as_what_differs() -> None:
    runs = sweep(host=lambda arm, seed: f"node{(seed * len(arm)) % 3}")
    notes = compare(runs, "all-but:seed,host")["notes"]
    assert not [note for note in notes if "differ in more" in note]


def test_what_differs_in_every_run_is_reported_without_a_grouping_that_ends_the_test() -> None:
    found = compare(sweep(**PER_RUN), "arm")
    assert found["verdicts"][0]["test"] == "paired t"
    assert [note for note in found["notes"] if "differ in more" in note] == [
        (
            "runs of one group differ in more than their seed: config.out_dir, config.slurm_job_id,"
            " which have another value in every run"
        )
    ]


def test_what_differs_in_some_runs_is_taken_apart_by_a_grouping_that_keeps_groups() -> None:
    runs = sweep(**PER_RUN, depth=lambda _arm, seed: seed // 2)
    found = compare(runs, "arm")
    assert [note for note in found["notes"] if "differ in more" in note] == [
        (
            "runs of one group differ in more than their seed: config.depth, config.out_dir,"
            " config.slurm_job_id; --group-by all-but:seed,out_dir,slurm_job_id takes them apart"
        )
    ]
    assert [entry["n"] for entry in compare(runs, "all-but:seed,out_dir,slurm_job_id")["groups"]] == [
        2,
        2,
        2,
        2,
    ]
