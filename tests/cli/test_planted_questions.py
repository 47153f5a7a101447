"""Every kind of question on runs of which the answer was planted (`fixtures/pretrain.py`), in one command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from pretrain import (
    BUNDLE,
    CRASH_STEP,
    CRASHED,
    DIVERGED,
    EVERY,
    EXPONENT,
    FAMILY,
    GPU_COUNT,
    IDLE,
    IDLE_SHARE,
    INCOMPLETE,
    NAN_STEP,
    OPTIMIZERS,
    RESUME_STEP,
    RESUMED,
    ROWS,
    SECONDS_PER_STEP,
    SIZES,
    SPIKE_STEP,
    SPIKED,
    Plan,
    plans,
    rows_of,
    system_of,
    write,
)

from pull_logs.cli.main import main
from pull_logs.snapshot import open_bundle

SMALL_WEB = "config.num_params == 10000000 and config.dataset == 'web'"
DONE = "complete == true and state == 'finished'"


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def answer(*words: str) -> dict[str, Any]:
        code = main([*words, "-b", str(BUNDLE), "--json", "--max-tokens", "0"])
        assert code == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return answer


def ids(found: dict[str, Any]) -> list[str]:
    return [run["path"].rpartition("/")[2] for run in found["runs"]]


def chosen(**facts: Any) -> list[Plan]:
    return [plan for plan in plans() if all(getattr(plan, name) == value for name, value in facts.items())]


def losses(plan: Plan, name: str = "val/loss") -> dict[int, float]:
    return {row["_step"]: row[name] for row in rows_of(plan) if name in row}


def reached(plan: Plan, below: float) -> float | None:
    steps = [step for step, loss in losses(plan).items() if loss < below]
    return steps[0] * SECONDS_PER_STEP[plan.size] if steps else None


def test_the_bundle_is_what_the_script_writes(tmp_path: Path) -> None:
    write(tmp_path / "again.wandb.zip")
    with open_bundle(BUNDLE) as one, open_bundle(tmp_path / "again.wandb.zip") as other:
        assert one.content_id == other.content_id
        assert [run.info.metadata for run in one.runs()] == [run.info.metadata for run in other.runs()]


def test_health_finds_what_is_wrong_with_which_run_from_which_step_and_nothing_else(ask: Any) -> None:
    found = ask("overview")
    flagged = {
        (entry["flag"], item["path"].rpartition("/")[2], item["step"])
        for entry in found["health"]
        for item in entry["found"]
    }
    assert flagged == {
        ("nan", DIVERGED, NAN_STEP),
        ("spike", SPIKED, SPIKE_STEP),
        ("gradient_explosion", SPIKED, SPIKE_STEP),
        ("crashed", CRASHED, CRASH_STEP),
    }
    assert any(INCOMPLETE in note for note in found["notes"] if "incomplete" in note)


def test_incomplete_crashed_and_resumed_runs_are_found_by_what_is_known_of_them(ask: Any) -> None:
    assert ids(ask("--filter", "complete == false", "-H")) == [INCOMPLETE]
    assert ids(ask("--filter", "state != 'finished'", "-H")) == [CRASHED]
    (run,) = ask("--filter", "parts > 1", "-H")["runs"]
    assert run["path"].endswith(RESUMED)
    assert run["parts"]["points"][0]["step"] == RESUME_STEP
    assert ids(ask("--filter", f"last_step < {(ROWS - 1) * EVERY}", "-H")) == [INCOMPLETE, CRASHED]


@pytest.mark.parametrize(
    ("expression", "facts"),
    [
        ("metadata.gpu contains 'H100'", {"dataset": "web"}),
        ("metadata.python contains '3.12'", {"seed": 2}),
        ("metadata.host == 'node-01'", {"seed": 1}),
        ("metadata.args contains 'lion'", {"optimizer": "lion"}),
        ("metadata.git.commit starts_with 'c0ffee'", {"optimizer": "lion"}),
        ("commit == '5d1e0f7c'", {"optimizer": "adamw"}),
        ("tags contains 'baseline'", {"optimizer": "adamw"}),
        ("not tags contains 'baseline'", {"optimizer": "lion"}),
        ("name matches '^lion-code-.*s1$'", {"optimizer": "lion", "dataset": "code", "seed": 1}),
        ("config.mixture contains 'wiki'", {"dataset": "web"}),
        ("config.num_params >= 1e9", {"size": 10**9}),
    ],
)  # fmt: skip
def test_runs_are_chosen_by_machine_tags_names_and_lists(
    ask: Any, expression: str, facts: dict[str, Any]
) -> None:
    assert set(ids(ask("--filter", expression, "-H"))) == {plan.run_id for plan in chosen(**facts)}


def test_the_gpu_hours_of_the_project_are_a_sum_over_runs(ask: Any) -> None:
    found = ask("compare", "--column", "hours=duration * metadata.gpu_count / 3600")
    (total,) = found["column_totals"]
    expected = sum(plan.seconds for plan in plans()) * GPU_COUNT / 3600
    assert (total["n"], total["sum"]) == (36, pytest.approx(expected, rel=1e-12))


def test_totals_tell_runs_that_became_nan_from_runs_that_ended_before_the_step(ask: Any) -> None:
    found = ask("compare", "--column", "last=last(val/loss)", "--column", "late=at(train/loss, 2100)")
    last, late = found["column_totals"]
    assert (last["n"], last["missing"], last["nonfinite"]) == (35, 0, 1)
    assert (late["n"], late["missing"], late["nonfinite"]) == (34, 1, 1)
    assert CRASH_STEP < NAN_STEP < 2100


def test_a_column_that_the_question_computes_can_be_selected_alone(ask: Any) -> None:
    words = ("--eval", "gap=val/loss - train/loss", "--best", "gap:min", "--filter", SMALL_WEB)
    found = ask("compare", *words, "--select", "^gap$")
    assert [entry["name"] for entry in found["comparison"]] == ["gap"]
    gaps = {plan.run_id: gap_at_end(plan) for plan in chosen(size=10**7, dataset="web")}
    assert ids(found) == sorted(gaps, key=gaps.__getitem__)


def gap_at_end(plan: Plan) -> float:
    return losses(plan)[(ROWS - 1) * EVERY] - losses(plan, "train/loss")[(ROWS - 1) * EVERY]


def test_a_group_that_is_not_shown_is_named_by_its_keys(ask: Any) -> None:
    words = (
        "--group-by",
        "config.num_params",
        "--best",
        "val/loss:min",
        "--filter",
        "config.dataset == 'code'",
    )
    assert "beyond seed noise and not decided against G2; " in ask("compare", *words)["answer"]
    answer = ask("compare", *words, "--top", "1")["answer"]
    assert "it is better than G3 (config.num_params=10000000), beyond seed noise" in answer
    assert "; against G2 (config.num_params=100000000): about 8 more seeds" in answer


def test_gpu_hours_by_kind_of_gpu_are_those_of_its_runs(ask: Any) -> None:
    words = ("--column", "hours=duration * metadata.gpu_count / 3600", "--group-by", "metadata.gpu")
    found = ask("compare", *words)
    by = {entry["group"]: entry["by"]["metadata.gpu"] for entry in found["groups"]}
    means = {by[entry["group"]]: entry["mean"] * entry["n"] for entry in found["group_stats"]}
    for dataset, gpu in (("code", "A100"), ("web", "H100")):
        expected = sum(plan.seconds for plan in chosen(dataset=dataset)) * GPU_COUNT / 3600
        (total,) = (value for name, value in means.items() if gpu in name)
        assert total == pytest.approx(expected, rel=1e-12)


def test_the_run_whose_gpus_wait_is_the_one_with_the_lowest_mean_of_all_samples(ask: Any) -> None:
    found = ask("compare", "--column", "busy=mean(system.gpu.0.gpu)", "--sort", "busy:min", "--top", "1")
    assert ids(found) == [IDLE]
    (value,) = found["columns"][0]["values"].values()
    (plan,) = (plan for plan in plans() if plan.run_id == IDLE)
    samples = [row["system.gpu.0.gpu"] for row in system_of(plan)]
    assert value == pytest.approx(math.fsum(samples) / 10, rel=1e-12)
    assert abs(value - IDLE_SHARE) < 2


def test_system_metrics_are_in_schema_stats_and_rows(ask: Any) -> None:
    words = ("-r", IDLE, "--select", r"^system\.gpu\.0\.gpu$")
    (schema,) = ask(*words, "--schema")["schema"].values()
    assert [entry["name"] for entry in schema] == ["_step", "system.gpu.0.gpu"]
    (stats,) = ask(*words, "--stats")["stats"].values()
    assert stats["system.gpu.0.gpu"]["count"] == 10
    rows = next(iter(ask(*words, "--where", "`system.gpu.0.gpu` < 50")["history"].values()))
    assert len(rows["rows"]) == 10


def test_the_optimizer_with_the_planted_lead_is_better_paired_by_seed(ask: Any) -> None:
    words = ("--group-by", "config.optimizer.name", "--best", "val/loss:min", "--filter", SMALL_WEB)
    found = ask("compare", *words)
    assert found["groups"][0]["by"] == {"config.optimizer.name": "lion"}
    (verdict,) = found["verdicts"]
    values = [
        [list(losses(plan).values())[-1] for plan in chosen(optimizer=name, dataset="web", size=SIZES[0])]
        for name in ("lion", "adamw")
    ]
    theirs = scipy.stats.ttest_rel(*values)
    assert (verdict["verdict"], verdict["test"]) == ("better", "paired t")
    assert verdict["p"] == pytest.approx(theirs.pvalue, abs=1e-9)
    assert verdict["difference"] / sum(values[1]) * 3 == pytest.approx(OPTIMIZERS["lion"], abs=0.01)


def test_within_ten_percent_they_are_equivalent_and_over_tasks_lion_is_better(ask: Any) -> None:
    words = ("--group-by", "config.optimizer.name", "--best", "val/loss:min")
    small = "config.num_params == 10000000"
    found = ask("compare", *words, "--filter", SMALL_WEB, "--margin", "10%")
    assert found["verdicts"][0]["verdict"] == "equivalent"
    over = ask("compare", *words, "--filter", small, "--task", "config.dataset")
    assert over["task_verdicts"][0]["verdict"] == "better"
    assert over["groups"][0]["by"] == {"config.optimizer.name": "lion"}
    raw = ("--task", "config.dataset", "--task-scale", "raw", "--margin", "10%")
    over = ask("compare", *words, "--filter", small, *raw)
    assert over["task_verdicts"][0]["verdict"] == "equivalent"


def test_what_is_best_depends_on_equal_steps_equal_time_and_equal_tokens(ask: Any) -> None:
    def best(*words: str) -> Any:
        found = ask(
            "compare",
            "--group-by",
            "config.num_params",
            "--best",
            "val/loss:min",
            "--filter",
            "config.dataset == 'web'",
            *words,
        )
        return found["groups"][0]["by"]["config.num_params"]

    assert best() == 10**9
    assert best("--at", "2000") == 10**9
    assert best("--x", "tokens", "--at", "5e6") == 10**9
    assert best("--x", "_runtime", "--at", "1000") == 10**8
    assert best("--x", "_runtime", "--at", "300") == 10**7


def test_the_time_to_reach_several_values_is_a_curve_of_each_run(ask: Any) -> None:
    thresholds = (4.0, 3.0, 2.5, 2.0)
    words = [
        word
        for below in thresholds
        for word in ("--column", f"t{below}=at_first(_runtime, val/loss < {below})")
    ]
    found = ask("compare", *words, "--filter", "config.dataset == 'code'")
    labels = {run["label"]: run["path"].rpartition("/")[2] for run in found["runs"]}
    by_id = {plan.run_id: plan for plan in plans()}
    for below, column in zip(thresholds, found["columns"], strict=True):
        for label, run_id in labels.items():
            assert column["values"].get(label) == reached(by_id[run_id], below)


def test_the_scaling_law_has_the_planted_exponent_and_names_no_run_that_ended_early(ask: Any) -> None:
    fit = ("--fit", "log(val/loss) ~ log(config.num_params)")
    done = f"config.dataset == 'code' and config.optimizer.name == 'lion' and {DONE}"
    found = ask("compare", *fit, "--filter", done)["fits"][0]
    assert found["slope"] == pytest.approx(EXPONENT, abs=0.002)
    assert found["slope_low"] < EXPONENT < found["slope_high"]
    assert found["r2"] > 0.99
    mixed = ask("compare", *fit, "--filter", "config.dataset == 'code'")
    messages = mixed["notes"]
    assert (
        "runs that did not finish count as well: 1 crashed; --filter 'state == \"finished\"' leaves them out"
        in messages
    )
    assert any("10 of 60 rows are missing" in message for message in messages)


def test_the_data_matters_most_then_the_size_then_the_optimizer_and_the_seed_does_not(ask: Any) -> None:
    found = ask("compare", "--effect", "val/loss:min", "--filter", DONE)
    ranked = {entry["key"]: entry["p_holm"] for entry in found["effects"]}
    assert next(iter(ranked)) in {"config.dataset", "config.mixture"}
    assert max(ranked["config.dataset"], ranked["config.num_params"]) < 0.05 < ranked["config.seed"]


def test_the_front_of_time_and_loss_has_the_best_run_of_each_size(ask: Any) -> None:
    found = ask(
        "compare", "--pareto", "duration:min, val/loss:min", "--filter", f"config.dataset == 'web' and {DONE}"
    )
    expected = []
    for size in SIZES:
        last = {plan.run_id: list(losses(plan).values())[-1] for plan in chosen(dataset="web", size=size)}
        expected.append(min((loss, run_id) for run_id, loss in last.items() if not math.isnan(loss))[1])
    front = {run["path"].rpartition("/")[2] for run in found["pareto"]}
    assert front == set(expected)


def test_fields_of_runs_are_columns_and_order_runs(ask: Any) -> None:
    fields = ("rows", "last_step", "complete", "state", "created_at", "duration", "parts")
    found = ask("compare", *(word for name in fields for word in ("--column", name)))
    paths = {run["label"]: run["path"].rpartition("/")[2] for run in found["runs"]}
    by_name = {
        column["name"]: {paths[label]: value for label, value in column["values"].items()}
        for column in found["columns"]
    }
    for plan in plans():
        count, run_id = plan.last_row + 1, plan.run_id
        assert (by_name["rows"][run_id], by_name["last_step"][run_id]) == (count, (count - 1) * EVERY)
        assert by_name["duration"][run_id] == plan.seconds
        assert by_name["complete"][run_id] is (run_id != INCOMPLETE)
        assert by_name["state"][run_id] == ("crashed" if run_id == CRASHED else "finished")
        assert by_name["parts"][run_id] == (2 if run_id == RESUMED else 1)
    newest = ask("compare", "--sort", "created_at:max", "--top", "1")
    assert ids(newest) == [plans()[-1].run_id]
    latest = ask("compare", "--sort", "metadata.python:max", "--top", "12")
    assert {run_id[-1] for run_id in ids(latest)} == {"2"}


def test_reductions_and_quantiles_are_those_of_numpy(ask: Any) -> None:
    plan = chosen(optimizer="lion", dataset="code", size=SIZES[1], seed=1)[0]
    values = np.array(list(losses(plan, "train/loss").values()))
    steps = np.array(list(losses(plan, "train/loss")))
    expected = {
        "mean(train/loss)": values.mean(),
        "std(train/loss)": values.std(ddof=1),
        "median(train/loss)": np.median(values),
        "sum(train/loss)": values.sum(),
        "count(val/loss)": len(losses(plan)),
        "quantile(train/loss, 0.9)": np.quantile(values, 0.9),
        "auc(train/loss)": scipy.integrate.trapezoid(values, steps),
        "slope(train/loss, 10)": np.polyfit(steps[-10:], values[-10:], 1)[0],
        "at(train/loss, 1000)": values[1000 // EVERY],
        "first_step(train/loss < 4)": steps[values < 4][0],
        "last_step(train/loss > 4)": steps[values > 4][-1],
    }
    words = [word for text in expected for word in ("--column", text)]
    found = ask("compare", "-r", plan.run_id, *words)
    for column, value in zip(found["columns"], expected.values(), strict=True):
        assert next(iter(column["values"].values())) == pytest.approx(value, rel=1e-9)
    (stats,) = ask("-r", plan.run_id, "--quantiles", "50,95,99", "--select", "^train/loss$")["stats"].values()
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert stats["train/loss"]["quantiles"][name] == pytest.approx(np.quantile(values, share), rel=1e-9)


def test_the_gap_after_the_warm_up_ranks_runs_by_a_metric_that_is_computed(ask: Any) -> None:
    words = (
        "--eval",
        "gap=val/loss - train/loss",
        "--where",
        "_step > 200",
        "--best",
        "gap:max",
        "--top",
        "1",
    )
    found = ask("compare", *words, "--filter", "config.dataset == 'code' and state == 'finished'")
    gaps = {}
    for plan in chosen(dataset="code"):
        train = losses(plan, "train/loss")
        *_, last = [loss - train[step] for step, loss in losses(plan).items()]
        gaps[plan.run_id] = last if plan.run_id != CRASHED else -math.inf
    assert ids(found) == [max(gaps, key=gaps.__getitem__)]


def test_a_regression_gate_finds_the_planted_difference_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in OPTIMIZERS:
        keep = f"{SMALL_WEB} and config.optimizer.name == '{name}'"
        assert main(["subset", str(BUNDLE), "--filter", keep, "-o", str(tmp_path / f"{name}.wandb.zip")]) == 0
    lion, adamw = (str(tmp_path / f"{name}.wandb.zip") for name in ("lion", "adamw"))
    capsys.readouterr()
    words = ("--metric", "val/loss:min", "--no-hints", "--json")
    assert main(["compare", "-b", adamw, "--against", lion, *words]) == 7
    (metric,) = json.loads(capsys.readouterr().out)["gate_metrics"]
    assert (metric["metric"], metric["n"]) == ("val/loss", [3, 3])
    assert main(["compare", "-b", lion, "--against", adamw, *words]) == 0
    assert main(["compare", "-b", adamw, "--against", lion, *words, "--margin", "10%"]) == 0


def test_families_are_one_row_and_numbers_of_metrics_are_those_that_there_are(ask: Any) -> None:
    (entries,) = ask("-r", "aw7s0", "--schema")["schema"].values()
    assert sum(entry.get("members", 1) for entry in entries) == FAMILY + 9
