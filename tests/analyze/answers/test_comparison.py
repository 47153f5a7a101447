"""Comparisons of many runs: against pandas, and by what a reader must be told."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from fakeruns import FakeRun, subjects, training
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.inference import Margin, holm
from pull_logs.analyze.questions.alignment import Position
from pull_logs.analyze.statistics.ranking import Criterion
from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.runs import Coverage

BEST = Criterion("acc", "max")


def seeds(*groups: tuple[str, list[float]], start: int = 0) -> list[FakeRun]:
    """A run per value: groups by `arm`, seeds counted in each."""
    return [
        FakeRun(
            [{"_step": 0, "acc": 0.0, "loss": 9.0}, {"_step": 5, "acc": value, "loss": 1 - value}],
            run_id=f"{arm}{seed}",
            config={"arm": arm, "seed": seed},
        )
        for arm, values in groups
        for seed, value in enumerate(values, start)
    ]


def compare(runs: list[FakeRun], **question: Any) -> dict[str, Any]:
    return dict(compare_runs(subjects(*runs), Comparison(**question)))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(-100, 100) | st.just(math.nan)), min_size=1, max_size=14
    )
)
def test_group_statistics_are_those_of_a_pandas_groupby(rows: list[tuple[str, float]]) -> None:
    runs = [
        FakeRun([{"_step": 0, "acc": value}], run_id=f"r{place}", config={"arm": arm})
        for place, (arm, value) in enumerate(rows)
    ]
    found = compare(runs, group_by=("arm",))
    table = pd.DataFrame(rows, columns=["arm", "acc"]).groupby("arm")["acc"]
    arms = {entry["group"]: entry["by"]["config.arm"] for entry in found["groups"]}
    assert list(arms.values()) == sorted(arms.values())
    for entry in found["group_stats"]:
        values = table.get_group(arms[entry["group"]])
        finite = values.dropna()
        assert (entry["n"], entry["nonfinite"]) == (len(finite), len(values) - len(finite))
        for name, expected in (("mean", finite.mean()), ("std", finite.std()), ("median", finite.median())):
            if entry[name] is None:
                assert math.isnan(expected)
            else:
                assert entry[name] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_difference_that_is_larger_than_seed_noise() -> None:
    good, bad = [0.91, 0.93, 0.92, 0.95], [0.61, 0.62, 0.60, 0.66]
    found = compare(seeds(("bad", bad), ("good", good)), group_by=("arm",), best=BEST)
    (verdict,) = found["verdicts"]
    theirs = scipy.stats.ttest_rel(good, bad)
    assert (verdict["test"], verdict["n"], verdict["family"]) == ("paired t", [4, 4], 1)
    assert verdict["p"] == verdict["p_holm"] == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (verdict["verdict"], verdict["next"], verdict["more_seeds"]) == ("better", "", None)
    assert verdict["sentence"] == (
        'acc: G1 (config.arm="good") is better than G2 (config.arm="bad") by 0.305, '
        "difference 0.305 [0.2845, 0.3255]: beyond seed noise (paired by seed, n=4, p=2.087e-05)"
    )
    assert found["answer"] == (
        'best acc (max): G1 (config.arm="good"), mean 0.9275 over n=4; '
        "it is better than the one tested group, beyond seed noise"
    )


def test_a_difference_within_seed_noise() -> None:
    runs = [*seeds(("a", [0.90, 0.95, 0.92])), *seeds(("b", [0.93, 0.91, 0.90, 0.92]), start=5)]
    found = compare(runs, group_by=("arm",), best=BEST)
    (verdict,) = found["verdicts"]
    assert (verdict["test"], verdict["n"], verdict["verdict"]) == ("Welch t", [3, 4], "undecided")
    assert found["answer"].endswith(
        "it is not decided against the one tested group; "
        "against G2: about 89 more seeds in G1 and 88 in G2 would show such a difference (80% power)"
    )


def test_groups_are_equivalent_where_tost_shows_it_even_if_they_differ() -> None:
    a, b = [0.9001, 0.9102, 0.9051, 0.9003], [0.9, 0.91, 0.905, 0.9]
    found = compare(seeds(("a", a), ("b", b)), group_by=("arm",), best=BEST, margin=Margin.parse("1%"))
    (verdict,) = found["verdicts"]
    margin = 0.01 * sum(a) / 4
    assert verdict["margin"] == pytest.approx(margin)
    assert verdict["p_equivalent"] == pytest.approx(
        ttost_paired(np.array(a), np.array(b), -margin, margin)[0], rel=1e-9
    )
    assert (verdict["verdict"], verdict["next"], verdict["more_seeds"]) == ("equivalent", "", None)
    assert verdict["sentence"] == (
        'acc: G1 (config.arm="a") and G2 (config.arm="b") are equivalent, '
        "difference 0.000175 [2.265e-05, 0.0003273]: within the margin of 1% (0.009039) "
        "(paired by seed, n=4, TOST p=1.737e-07)"
    )
    assert found["answer"].endswith("; it is equivalent to the one tested group within 1%")
    assert (found["alignment"]["alpha"], found["alignment"]["margin"]) == (0.05, "1%")
    certain = compare(seeds(("a", [0.9, 0.9]), ("b", [0.89, 0.89])), group_by=("arm",), best=BEST)
    assert certain["verdicts"][0]["verdict"] == "better"
    within = Margin.parse("0.02")
    certain = compare(
        seeds(("a", [0.9, 0.9]), ("b", [0.89, 0.89])), group_by=("arm",), best=BEST, margin=within
    )
    assert certain["verdicts"][0]["verdict"] == "equivalent"


def test_an_undecided_verdict_says_how_many_seeds_would_decide() -> None:
    runs = seeds(("a", [0.90, 0.95, 0.92]), ("b", [0.89, 0.955, 0.90]))
    found = compare(runs, group_by=("arm",), best=BEST)
    (verdict,) = found["verdicts"]
    differences = [0.01, -0.005, 0.02]
    n = math.ceil(
        TTestPower().solve_power(
            statistics.mean(differences) / statistics.stdev(differences), None, 0.05, 0.8
        )
    )
    assert verdict["more_seeds"] == [n - 3, n - 3] == [17, 17]
    assert (
        verdict["next"] == "about 17 more seeds, run in both groups, would show such a difference (80% power)"
    )
    assert verdict["sentence"] == (
        'acc: G1 (config.arm="a") or G2 (config.arm="b") is undecided, '
        "difference 0.008333 [-0.02292, 0.03959]: it may be seed noise (paired by seed, n=3, p=0.3701); "
        "about 17 more seeds, run in both groups, would show such a difference (80% power)"
    )


def test_a_difference_that_takes_too_many_seeds_is_answered_with_a_margin() -> None:
    runs = seeds(("a", [0.9, 0.95, 0.93]), ("b", [0.95, 0.93, 0.9 - 1e-6]))
    (verdict,) = compare(runs, group_by=("arm",), best=BEST)["verdicts"]
    assert (verdict["verdict"], verdict["more_seeds"]) == ("undecided", None)
    assert verdict["next"] == "more seeds will not decide; try a --margin"


def test_without_a_better_end_groups_are_different_and_not_better() -> None:
    found = compare(seeds(("a", [0.9, 0.91]), ("b", [0.5, 0.51])), group_by=("arm",))
    assert {verdict["verdict"] for verdict in found["verdicts"]} == {"different"}
    assert found["verdicts"][0]["sentence"].startswith(
        'acc: G1 (config.arm="a") and G2 (config.arm="b") differ, difference 0.4 ['
    )


def test_the_probability_of_improvement_is_of_the_better_end() -> None:
    runs = seeds(("a", [0.9, 0.8]), ("b", [0.5, 0.85]))
    (most,) = compare(runs, group_by=("arm",), best=BEST)["verdicts"]
    (least,) = compare(runs, group_by=("arm",), best=Criterion("loss", "min"))["verdicts"]
    assert most["prob_better"] == least["prob_better"] == 0.75
    assert most["effect"] == pytest.approx(-least["effect"])


def test_p_values_are_adjusted_over_all_pairs_because_the_best_group_was_chosen() -> None:
    a, b, c = [0.1, 0.2, 0.3], [0.4, 0.52, 0.6], [0.75, 0.8, 0.95]
    found = compare(seeds(("a", a), ("b", b), ("c", c)), group_by=("arm",), best=BEST)
    assert [(entry["first"], entry["second"], entry["family"]) for entry in found["verdicts"]] == [
        ("G1", "G2", 3),
        ("G1", "G3", 3),
    ]
    p_values = [scipy.stats.ttest_rel(*pair).pvalue for pair in ((c, b), (c, a), (b, a))]
    for entry, p, adjusted in zip(found["verdicts"], p_values[:2], holm(p_values)[:2], strict=True):
        assert (entry["p"], entry["p_holm"]) == pytest.approx((p, adjusted), rel=1e-9)


def test_one_run_says_nothing_about_noise_and_is_refused_with_a_sentence() -> None:
    found = compare(seeds(("a", [0.9]), ("b", [0.5, 0.6])), group_by=("arm",), best=BEST)
    (verdict,) = found["verdicts"]
    assert (verdict["verdict"], verdict["test"], verdict["p"], verdict["n"]) == (
        "not tested",
        None,
        None,
        [2, 1],
    )
    assert verdict["sentence"] == (
        'acc: G1 (config.arm="a") has 1 run with a finite value: not tested, since a test takes at least two'
    )
    assert found["answer"] == (
        'best acc (max): G1 (config.arm="a"), mean 0.9 over n=1; a single run says nothing about seed noise'
    )
    (single,) = [entry for entry in found["group_stats"] if entry["metric"] == "acc" and entry["n"] == 1]
    assert (single["mean"], single["std"], single["ci_low"], single["ci_high"]) == (0.9, None, None, None)


def test_runs_that_diverged_are_left_out_of_statistics_and_told() -> None:
    found = compare(
        seeds(("a", [0.9, math.nan, 0.8, math.inf]), ("b", [0.5, 0.6])), group_by=("arm",), best=BEST
    )
    entry = found["group_stats"][0]
    assert (entry["n"], entry["nonfinite"], entry["missing"]) == (2, 2, 0)
    assert "(2 of its 4 runs left out: no finite value)" in found["answer"]


def test_without_a_criterion_every_metric_is_tested_against_the_first_group() -> None:
    found = compare(seeds(("a", [0.9, 0.8]), ("b", [0.5, 0.6])), group_by=("arm",))
    assert [(entry["metric"], entry["first"], entry["second"]) for entry in found["verdicts"]] == [
        ("acc", "G1", "G2"),
        ("loss", "G1", "G2"),
    ]
    assert "answer" not in found
    assert "ranking" not in found


def test_many_metrics_are_not_tested_one_by_one() -> None:
    runs = [
        FakeRun([{"_step": 0, **{f"m{n}": seed + n for n in range(11)}}], config={"arm": arm, "seed": seed})
        for arm in "ab"
        for seed in range(2)
    ]
    found = compare(runs, group_by=("arm",))
    assert found["verdicts"] == []
    assert any(note.startswith("11 metrics are too many to test one by one;") for note in found["notes"])


def test_sort_ranks_and_does_not_test() -> None:
    found = compare(seeds(("a", [0.2, 0.8]), ("b", [0.5, 0.6])), group_by=("arm",), sort=Criterion("loss"))
    assert found["verdicts"] == []
    assert [entry["by"]["config.arm"] for entry in found["groups"]] == ["b", "a"]
    assert [entry["run"] for entry in found["ranking"]] == ["B", "D", "C", "A"]


def test_the_top_runs_are_shown_and_the_best_of_their_histories_told() -> None:
    rows = [{"_step": 0, "acc": 0.99}, {"_step": 3, "acc": 0.7}]
    found = compare([FakeRun(rows), *seeds(("a", [0.2, 0.8]))], best=BEST, top=2)
    assert [run["label"] for run in found["runs"]] == ["C", "A"]
    assert found["alignment"]["runs"] == 3
    assert found["ranking"][1] == {
        "rank": 2, "run": "A", "path": "acme/nano/r1", "metric": "acc", "direction": "max",
        "value": 0.7, "x": 3, "best": 0.99, "best_step": 0,
    }  # fmt: skip
    assert found["answer"].startswith("best acc (max): C, 0.8; ")


def test_the_top_groups_are_shown_and_all_of_them_tested() -> None:
    runs = seeds(("a", [0.1, 0.2]), ("b", [0.4, 0.5]), ("c", [0.8, 0.9]))
    found = compare(runs, group_by=("arm",), best=BEST, top=2)
    assert [entry["by"]["config.arm"] for entry in found["groups"]] == ["c", "b"]
    assert [run["label"] for run in found["runs"]] == ["F", "E", "D", "C"]
    assert [entry["family"] for entry in found["verdicts"]] == [3]


def test_the_configs_that_differ_are_told_with_their_kinds() -> None:
    runs = [FakeRun(config={"a": 1, "b": {"c": 2, "d": None}}), FakeRun(config={"a": "1", "b": {"c": 2}})]
    found = compare(runs)
    assert found["config_diff"] == [
        {"key": "a", "values": {"A": 1, "B": "1"}},
        {"key": "b.d", "values": {"A": None}},
    ]
    assert found["config_same"] == 1


def test_what_a_reader_must_know_is_noted() -> None:
    runs = [
        training(
            9, config={"lr": 0.1, "epochs": 1}, coverage=Coverage(complete=False, reason="3 rows missing")
        ),
        training(12, config={"lr": 0.1, "epochs": 2}),
    ]
    found = compare(runs, group_by=("lr",))
    assert found["notes"] == [
        "A is incomplete: 3 rows missing",
        "no config key is called like a seed: tests between groups are not paired; --seed KEY",
        "runs of one group differ in more than their seed: config.epochs, which has another value in every run",  # noqa: E501
        "the runs end at different steps, the first at 8, and are compared at their ends; --at 8 compares all at one step",  # noqa: E501
    ]


def test_groups_of_single_runs_tell_which_keys_to_look_past() -> None:
    runs = [training(3, config={"seed": n, "out": f"runs/{n}", "lr": 0.1}) for n in range(3)]
    found = compare(runs, group_by=("all-but:seed",))
    assert len(found["groups"]) == 3
    assert (
        "every group is a single run, since these keys differ in all runs: out; "
        "--group-by all-but:seed,out looks past them"
    ) in found["notes"]


def test_at_most_two_questions_are_suggested_to_go_on_with() -> None:
    runs = [training(9 + n, config={"seed": n, "lr": n % 2}) for n in range(4)]
    assert compare(runs)["next"] == [
        ["--group-by", "all-but:seed", "--best", "val/acc:max"],
        ["--at", "8"],
    ]
    assert compare(runs, group_by=("lr",), best=Criterion("val/acc"), at=Position("step", 8.0))["next"] == []


def test_a_step_that_one_run_alone_reaches_is_not_suggested() -> None:
    short = [training(3, config={"seed": n}) for n in range(3)]
    asked = {"best": Criterion("val/acc"), "group_by": ("lr",)}
    one, two = training(900, config={"lr": 1}), training(900, config={"lr": 2})
    assert compare([*short, one], **asked)["next"] == []
    assert compare([*short, one, two], **asked)["next"] == [["--at", "899"]]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"best": BEST, "sort": BEST}, "--best and --sort both rank the runs; leave one of the two out"),
        ({"top": 3}, "--top needs to know by what; name a metric with --best or --sort"),
        (
            {"at": Position("best"), "sort": BEST},
            "--at best needs to know by what; name the metric with --best METRIC:min or :max",
        ),
        ({"seeds": ("seed",)}, "--seed is for groups of runs; group them with --group-by KEY"),
    ],
)
def test_questions_that_contradict_themselves_are_refused(question: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        compare(seeds(("a", [0.1])), **question)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"best": Criterion("ac", "max")}, "--best 'ac': no run has numbers of such a metric; the nearest are 'acc', 'loss'"),  # noqa: E501
        ({"axis": "epoch"}, "--x 'epoch': no run has numbers of such a metric; the nearest are 'acc', 'loss'"),  # noqa: E501
        ({"select": "^x$"}, "--select '^x$': no run has numbers of such a metric; the nearest are 'acc', 'loss'"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_metric_that_no_run_has_names_the_nearest(question: dict[str, Any], message: str) -> None:
    with pytest.raises(MetricNotFoundError) as caught:
        compare(seeds(("a", [0.1])), **question)
    assert str(caught.value) == message


def test_no_runs_and_runs_without_rows_are_compared_too() -> None:
    assert compare([])["comparison"] == []
    found = compare([FakeRun(), FakeRun()], group_by=("state",))
    assert (found["comparison"], found["verdicts"], found["groups"][0]["n"]) == ([], [], 2)


def timed(*seconds: float, last: int = 50) -> list[FakeRun]:
    """A run per number of seconds that it took for the same steps."""
    return [
        FakeRun(
            [{"_step": step, "_runtime": step / last * time, "acc": step / last} for step in range(last + 1)],
            run_id=f"r{number}",
            summary={"_runtime": time},
        )
        for number, time in enumerate(seconds)
    ]


def test_runs_of_very_different_speed_are_offered_a_comparison_at_equal_time() -> None:
    assert compare(timed(60, 600), best=BEST)["next"] == [["--x", "_runtime", "--at", "54"]]
    found = compare(timed(60, 600), best=BEST, axis="_runtime", at=Position("step", 54.0))
    assert found["next"] == []
    assert found["comparison"][0]["value"] == {"A": pytest.approx(0.9), "B": pytest.approx(0.09)}


def test_equal_time_is_not_offered_where_it_would_say_nothing_else() -> None:
    for runs in (
        timed(60, 61),
        timed(60),
        timed(0, 0),
        [*timed(60, 600), FakeRun([{"_step": 50, "acc": 1}])],
    ):
        assert compare(runs, best=BEST)["next"] == []
    assert compare(timed(1, 600, 900), best=BEST)["next"] == [["--x", "_runtime", "--at", "540"]]
