"""A regression gate: which runs are paired, what holds, and what cannot be evaluated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import scipy.stats
from fakeruns import FakeRun, subjects
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.answers import Gate, run_gate
from pull_logs.analyze.inference import Margin, holm
from pull_logs.analyze.questions import Position, RunColumn
from pull_logs.analyze.statistics import Criterion
from pull_logs.errors import IncompleteError, MetricNotFoundError, NotFoundError, UsageError
from pull_logs.runs import Coverage

LOSS = Criterion("loss", "min")


def runs(side: str, losses: list[float], *, start: int = 0, **config: Any) -> list[FakeRun]:
    return [
        FakeRun(
            [{"_step": 0, "loss": 9.0, "acc": 0.0}, {"_step": 4, "loss": loss, "acc": 1 - loss}],
            run_id=f"{side}{seed}",
            config={"seed": seed, **config},
        )
        for seed, loss in enumerate(losses, start)
    ]


def gate(new: list[FakeRun], base: list[FakeRun], *metrics: Criterion, **options: Any) -> dict[str, Any]:
    every = subjects(*new, *base)
    question = Gate(metrics=metrics or (LOSS,), **options)
    return dict(run_gate(every[: len(new)], every[len(new) :], question))


def in_state(run: FakeRun, state: str) -> FakeRun:
    run.info, run.state = replace(run.info, state=state), state
    return run


BASE, SAME, WORSE = [0.50, 0.52, 0.49, 0.51], [0.51, 0.50, 0.50, 0.52], [0.60, 0.63, 0.58, 0.61]


def test_a_regression_names_metric_effect_p_and_n() -> None:
    found = gate(runs("n", WORSE), runs("b", BASE), alpha=0.01)
    (metric,) = found["gate_metrics"]
    theirs = scipy.stats.ttest_rel(WORSE, BASE, alternative="greater")
    assert (metric["test"], metric["n"], metric["verdict"]) == ("paired t", [4, 4], "regression")
    assert metric["p"] == metric["p_holm"] == pytest.approx(theirs.pvalue, rel=1e-9)
    assert metric["sentence"] == (
        "loss:min: regression, new mean 0.605, base 0.505: worse by 0.1 (19.80%), 5.02 standard deviations, "
        "beyond seed noise (p=7.458e-05 < 0.01; paired, n=4)"
    )
    assert found["gate"] == {
        "holds": False,
        "alpha": 0.01,
        "margin": None,
        "paired_by": ["seed"],
        "new": ["A", "B", "C", "D"],
        "base": ["E", "F", "G", "H"],
    }
    assert found["answer"] == "the gate fails: loss got worse (4 new runs against 4 runs of the baseline)"


def test_a_gate_that_holds_says_what_it_would_have_found() -> None:
    found = gate(runs("n", SAME), runs("b", BASE))
    (metric,) = found["gate_metrics"]
    assert (found["gate"]["holds"], metric["verdict"]) == (True, "no regression")
    assert metric["sentence"] == (
        "loss:min: no regression, new mean 0.5075, base 0.505: worse by 0.0025 (0.50%), "
        "not worse beyond seed noise (p=0.3804; paired, n=4); "
        "a regression of 0.02475 would be found with 80% power"
    )
    assert found["answer"] == (
        "the gate holds: no regression of loss (4 new runs against 4 runs of the baseline)"
    )


def test_an_improvement_is_no_regression_however_certain() -> None:
    found = gate(runs("n", BASE), runs("b", WORSE))
    (metric,) = found["gate_metrics"]
    assert metric["verdict"] == "no regression"
    assert metric["worse"] == pytest.approx(-0.1)
    assert ": better by 0.1 (16.53%), " in metric["sentence"]


def test_a_margin_allows_what_does_not_matter() -> None:
    assert gate(runs("n", WORSE), runs("b", BASE), margin=Margin.parse("25%"))["gate"]["holds"]
    found = gate(runs("n", WORSE), runs("b", BASE), margin=Margin.parse("10%"))
    assert not found["gate"]["holds"]
    assert found["gate_metrics"][0]["margin"] == pytest.approx(0.0505)
    assert "beyond the margin of 10% (p=" in found["gate_metrics"][0]["sentence"]


def test_several_metrics_are_adjusted_by_holm() -> None:
    acc = Criterion("acc", "max")
    found = gate(runs("n", SAME), runs("b", BASE), LOSS, acc)
    p_values = [metric["p"] for metric in found["gate_metrics"]]
    assert [metric["p_holm"] for metric in found["gate_metrics"]] == pytest.approx(holm(p_values))
    assert [metric["metric"] for metric in found["gate_metrics"]] == ["loss", "acc"]
    assert " after Holm over 2;" in found["gate_metrics"][0]["sentence"]


def test_runs_are_paired_by_all_keys_that_recur_where_the_seed_is_not_enough() -> None:
    def side(name: str, losses: list[float]) -> list[FakeRun]:
        halves = (losses[:2], "small"), (losses[2:], "large")
        return [
            run
            for part, (values, size) in enumerate(halves)
            for run in runs(f"{name}{part}", values, size=size, out_dir=f"{name}/{part}", code=name)
        ]

    found = gate(side("n", [0.6, 0.61, 0.3, 0.31]), side("b", [0.5, 0.52, 0.2, 0.21]))
    assert found["gate"]["paired_by"] == ["seed", "size"]
    assert found["gate_metrics"][0]["test"] == "paired t"


def test_runs_with_other_seeds_are_not_paired_and_this_is_said() -> None:
    found = gate(runs("n", WORSE, start=7), runs("b", BASE))
    assert (found["gate"]["paired_by"], found["gate_metrics"][0]["test"]) == ([], "Welch t")
    assert found["notes"][0] == (
        "no config key pairs the runs of both sides, so Welch's test is used; --seed KEY names one"
    )


def test_settings_that_hide_a_regression_are_named() -> None:
    base = [*runs("b", BASE[:2], lr=0.1), *runs("c", BASE[2:], lr=0.2, start=2)]
    found = gate(runs("n", WORSE, start=7, lr=0.1), base)
    assert found["notes"][1] == (
        "runs of one side differ in more than their seed, which hides regressions: config.lr"
    )


def test_few_runs_are_said_to_find_little() -> None:
    found = gate(runs("n", SAME[:2], start=5), runs("b", BASE[:2]))
    assert found["notes"][-1] == (
        "so few runs find a regression of 2 standard deviations with a power of 32%; "
        "about 5 runs on each side reach 80%, and a larger --alpha takes fewer"
    )
    assert found["gate_metrics"][0]["runs_needed"] == 5


@pytest.mark.parametrize("new", [[], [0.5]])
def test_too_few_runs_are_refused_with_how_many_are_needed(new: list[float]) -> None:
    with pytest.raises(IncompleteError) as caught:
        gate(runs("n", new), runs("b", BASE))
    are = "are 0 new runs" if not new else "is 1 new run"
    assert str(caught.value) == (
        f"a gate takes at least 2 runs on each side, and there {are} and 4 runs in the baseline; "
        "4 runs on each side find a regression of 2 standard deviations with a power of 80% at --alpha 0.05"
    )


@pytest.mark.parametrize("state", ["running", "crashed", "failed", "killed"])
def test_runs_that_did_not_finish_are_refused(state: str) -> None:
    new, base = runs("n", SAME), runs("b", BASE)
    in_state(base[1], state)
    with pytest.raises(IncompleteError) as caught:
        gate(new, base)
    assert str(caught.value) == (
        f"a gate takes runs that finished and are complete: acme/nano/b1 (base) is {state}; wait for them "
        "and download them again, or leave them out with --filter 'state == \"finished\"'"
    )


def test_incomplete_runs_are_refused() -> None:
    new = runs("n", SAME)
    new[0].coverage = Coverage(promised_rows=7, received_rows=2, complete=False, reason="5 rows are missing")
    assert not new[0].complete
    with pytest.raises(IncompleteError, match=r"acme/nano/n0 \(new\) is incomplete: 5 rows are missing"):
        gate(new, runs("b", BASE))


def test_runs_without_the_metric_are_refused() -> None:
    new = [*runs("n", SAME[:3]), FakeRun([{"_step": 0, "acc": 1.0}], run_id="n3", config={"seed": 3})]
    with pytest.raises(IncompleteError) as caught:
        gate(new, runs("b", BASE))
    assert str(caught.value) == (
        "--metric 'loss' has no value in acme/nano/n3 (new); "
        "--filter leaves runs out, --at reads another step"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_new_run_that_diverged_is_a_regression(value: float) -> None:
    found = gate(runs("n", [*SAME[:3], value]), runs("b", BASE))
    (metric,) = found["gate_metrics"]
    assert (found["gate"]["holds"], metric["nonfinite"], metric["p"]) == (False, ["D"], None)
    word = "NaN" if math.isnan(value) else "Infinity"
    assert metric["sentence"] == (f"loss:min: regression, not finite in new runs: acme/nano/n3 ({word})")


def test_a_baseline_that_diverged_is_refused() -> None:
    with pytest.raises(IncompleteError, match=r"'loss' is not finite in the baseline: acme/nano/b3; leave"):
        gate(runs("n", SAME), runs("b", [*BASE[:3], math.nan]))


def test_names_that_no_run_has_are_refused() -> None:
    with pytest.raises(MetricNotFoundError, match=r"--metric 'lo': no run has numbers .* 'loss'"):
        gate(runs("n", SAME), runs("b", BASE), Criterion("lo", "min"))
    with pytest.raises(NotFoundError, match="--seed 'sed': no run has 'sed'"):
        gate(runs("n", SAME), runs("b", BASE), seeds=("sed",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ()}, "--against needs to know what must not get worse"),
        ({"metrics": (LOSS,), "alpha": 0.7}, "--alpha 0.7 is not between 0 and 0.5"),
        ({"metrics": (LOSS,), "at": Position("best")}, "--at best does not apply to a gate"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Gate(**options).check()


def test_a_gate_reads_at_a_step_and_over_computed_values() -> None:
    at_start = gate(runs("n", WORSE), runs("b", BASE), at=Position.parse("0"))
    assert at_start["gate"]["holds"]
    area = RunColumn.parse("area=auc(loss)")
    found = gate(runs("n", WORSE), runs("b", BASE), Criterion("area", "min"), columns=(area,))
    assert found["gate_metrics"][0]["worse"] == pytest.approx(0.2)
    assert not found["gate"]["holds"]


def test_runs_on_both_sides_are_named() -> None:
    found = gate(runs("b", BASE), runs("b", BASE))
    names = "acme/nano/b0, acme/nano/b1, acme/nano/b2, acme/nano/b3"
    assert found["notes"][0] == f"4 runs are on both sides: {names}"
    assert found["gate"]["holds"]


@given(st.lists(st.floats(0.1, 1), min_size=2, max_size=6), st.floats(0, 1))
def test_the_worse_the_new_runs_the_smaller_is_p(losses: list[float], more: float) -> None:
    base = [0.5 + 0.01 * index for index in range(len(losses))]
    before = gate(runs("n", losses), runs("b", base))["gate_metrics"][0]
    after = gate(runs("n", [loss + more for loss in losses]), runs("b", base))["gate_metrics"][0]
    assert after["p"] <= before["p"] + 1e-9
