"""Groups over several tasks, as `compare --task` answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakeruns import FakeRun, subjects
from rliable import metrics

from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.inference import Margin
from pull_logs.analyze.statistics import Criterion
from pull_logs.errors import NotFoundError, UsageError

ACC = Criterion("acc", "max")


def suite(scores: dict[str, dict[str, list[float]]]) -> list[FakeRun]:
    """A run per score: `scores[optimizer][dataset][seed]`."""
    return [
        FakeRun(
            [{"_step": 0, "acc": score, "loss": 1 - score}],
            run_id=f"{optimizer}-{dataset}-{seed}",
            config={"optimizer": optimizer, "dataset": dataset, "seed": seed},
        )
        for optimizer, tasks in scores.items()
        for dataset, values in tasks.items()
        for seed, score in enumerate(values)
    ]


def compare(runs: list[FakeRun], **question: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"group_by": ("optimizer",), "task": "dataset", "best": ACC, **question}
    return dict(compare_runs(subjects(*runs), Comparison(**options)))


SCORES = {
    "sgd": {"digits": [0.60, 0.62, 0.61], "faces": [0.30, 0.33, 0.31], "text": [0.71, 0.70, 0.72]},
    "adam": {"digits": [0.70, 0.72, 0.74], "faces": [0.36, 0.35, 0.40], "text": [0.80, 0.79, 0.78]},
}


def test_a_group_that_is_better_in_every_task() -> None:
    found = compare(suite(SCORES))
    assert [group["by"] for group in found["groups"]] == [
        {"config.optimizer": "adam"},
        {"config.optimizer": "sgd"},
    ]
    (verdict,) = found["task_verdicts"]
    assert (verdict["verdict"], verdict["tasks"], verdict["prob_better"]) == ("better", 3, 1.0)
    assert verdict["sentence"] == (
        'acc: G1 (config.optimizer="adam") is better than G2 (config.optimizer="sgd") over 3 tasks: '
        "a run of it is better in 100.0% of pairs [100.0%, 100.0%] (permutation test, p=0.0005999)"
    )
    assert found["answer"].endswith(" on the scale 0 to 1 over n=9; it is better than G2")
    sentence = 'best acc (max) over 3 tasks: G1 (config.optimizer="adam"), IQM 0.8543 [0.7257, 0.9714]'
    assert found["answer"].startswith(sentence)
    assert (found["alignment"]["task"], found["alignment"]["scale"]) == ("config.dataset", "minmax")
    assert (found["group_stats"], found["verdicts"]) == ([], [])


def test_raw_scores_are_aggregated_as_by_rliable_in_either_direction() -> None:
    found = compare(suite(SCORES), scale="raw")
    matrices = [np.array(list(SCORES[name].values())).T for name in ("adam", "sgd")]
    for group, matrix in zip(found["task_groups"], matrices, strict=True):
        assert group["iqm"] == pytest.approx(metrics.aggregate_iqm(matrix), rel=1e-9)
        assert group["mean"] == pytest.approx(metrics.aggregate_mean(matrix), rel=1e-9)
        assert group["iqm_low"] < group["iqm"] < group["iqm_high"]
    least = compare(suite(SCORES), scale="raw", best=Criterion("loss", "min"))
    assert least["task_groups"][0]["iqm"] == pytest.approx(1 - found["task_groups"][0]["iqm"])
    assert least["task_groups"][0]["iqm_low"] == pytest.approx(1 - found["task_groups"][0]["iqm_high"])
    assert least["task_verdicts"][0]["p"] == found["task_verdicts"][0]["p"]


def test_tasks_that_some_group_lacks_are_left_out_and_named() -> None:
    scores = {name: dict(tasks) for name, tasks in SCORES.items()}
    del scores["sgd"]["text"]
    scores["sgd"]["faces"] = [0.3]
    found = compare(suite(scores))
    assert [entry["task"] for entry in found["tasks"]] == ["digits", "faces"]
    assert 'tasks that some group lacks are left out: "text"' in found["notes"]
    assert "tasks have 1 to 3 runs per group; each run counts once in the IQM" in found["notes"]


def test_the_task_is_no_part_of_a_group_that_is_made_of_all_settings() -> None:
    found = compare(suite(SCORES), group_by=("all-but:seed",))
    assert [group["by"] for group in found["groups"]] == [
        {"config.optimizer": "adam"},
        {"config.optimizer": "sgd"},
    ]


def test_groups_that_are_alike_are_not_decided_and_the_next_step_is_said() -> None:
    scores = {"a": {"x": [0.5, 0.6], "y": [0.1, 0.2]}, "b": {"x": [0.55, 0.58], "y": [0.12, 0.19]}}
    found = compare(suite(scores))
    (verdict,) = found["task_verdicts"]
    advice = "about 254 seeds of each group in each task would show such a difference (80% power)"
    assert (verdict["verdict"], verdict["next"]) == ("undecided", advice)
    assert "is not shown to be better than" in verdict["sentence"]
    assert found["answer"].endswith("; it is not decided against G2")


ALIKE = {
    "a": {"x": [0.50, 0.60, 0.55], "y": [0.1, 0.2, 0.15], "z": [0.3, 0.35, 0.4]},
    "b": {"x": [0.55, 0.58, 0.53], "y": [0.12, 0.19, 0.14], "z": [0.31, 0.36, 0.39]},
    "c": {"x": [0.05, 0.08, 0.03], "y": [0.02, 0.01, 0.01], "z": [0.01, 0.06, 0.09]},
}


def test_groups_within_a_margin_over_tasks_are_equivalent_and_others_are_better_or_worse() -> None:
    found = compare(suite(ALIKE), scale="raw", margin=Margin.parse("0.1"))
    (alike, worse) = found["task_verdicts"]
    assert (alike["verdict"], alike["next"], alike["margin"]) == ("equivalent", "", 0.1)
    assert alike["ci_low"] < alike["difference"] < alike["ci_high"]
    assert alike["difference"] == pytest.approx(0.02 / 9)
    assert alike["sentence"] == (
        'acc: G1 (config.optimizer="b") and G2 (config.optimizer="a") are equivalent over 3 tasks: '
        "the difference of scores, 0.002222 [-0.04264, 0.04709], is within the margin of 0.1 "
        "(TOST p=0.0009237 after Holm over 3)"
    )
    assert worse["verdict"] == "better"
    assert worse["p_equivalent"] == 1
    assert found["answer"].endswith("; it is better than G3 and equivalent to G2 within 0.1")


def test_a_percentage_is_of_the_scale_or_of_the_mean_of_the_best_group() -> None:
    scaled = compare(suite(ALIKE), margin=Margin.parse("30%"))["task_verdicts"][0]
    assert (scaled["margin"], scaled["verdict"]) == (0.3, "equivalent")
    raw = compare(suite(ALIKE), scale="raw", margin=Margin.parse("10%"))
    assert raw["task_verdicts"][0]["margin"] == pytest.approx(0.1 * raw["task_groups"][0]["mean"])


def test_a_difference_of_a_metric_to_minimise_has_its_own_sign() -> None:
    least = compare(suite(ALIKE), scale="raw", best=Criterion("loss", "min"), margin=Margin.parse("0.1"))
    verdict = least["task_verdicts"][0]
    assert (verdict["verdict"], verdict["difference"]) == ("equivalent", pytest.approx(-0.02 / 9))
    assert verdict["ci_low"] < verdict["difference"] < verdict["ci_high"]


def test_a_margin_that_is_too_small_comes_with_the_seeds_that_would_show_equivalence() -> None:
    found = compare(suite(ALIKE), scale="raw", margin=Margin.parse("0.04"))
    verdict = found["task_verdicts"][0]
    assert verdict["verdict"] == "undecided"
    assert verdict["next"] == ("about 9 seeds of each group in each task would show equivalence (80% power)")


def test_single_runs_per_task_are_not_equivalent_and_it_is_said_why() -> None:
    scores = {name: {task: values[:1] for task, values in tasks.items()} for name, tasks in ALIKE.items()}
    found = compare(suite(scores), margin=Margin.parse("50%"))
    assert "equivalence takes two runs or more of each group in each task" in found["notes"]
    verdict = found["task_verdicts"][0]
    assert (verdict["verdict"], verdict["next"]) == ("undecided", "more seeds or tasks")
    assert (verdict["difference"], verdict["p_equivalent"]) == (None, None)


def test_profiles_fall_from_all_runs_to_none() -> None:
    found = compare(suite(SCORES))
    scores = [row["score"] for row in found["task_profiles"]]
    assert scores == pytest.approx([0.1 * step for step in range(10)])
    for label in ("G1", "G2"):
        shares = [row["better"][label] for row in found["task_profiles"]]
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"group_by": ()}, UsageError, "--task compares groups over tasks by one metric; group runs with"),
        ({"best": None}, UsageError, "--task compares groups over tasks by one metric"),
        ({"task": "data"}, NotFoundError, "--task 'data': no run has 'data'; the nearest are"),
    ],
)
def test_a_question_over_tasks_that_cannot_be_answered_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        compare(suite(SCORES), **options)
    assert str(caught.value).startswith(message)


def test_groups_without_a_common_task_are_refused() -> None:
    scores = {"a": {"x": [0.5, 0.6]}, "b": {"y": [0.55, 0.58]}}
    with pytest.raises(UsageError) as caught:
        compare(suite(scores))
    assert str(caught.value) == (
        "--task 'config.dataset': no task has finite values of 'acc' in every group; "
        "group by fewer keys, or take fewer groups with --filter"
    )
