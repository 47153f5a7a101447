"""Every part that judges a metric by its name judges it alike: compare, overview, checkpoints and hints."""

from __future__ import annotations

import pytest
from fakeruns import FakeRun, subjects

from pull_logs.analyze import overview
from pull_logs.analyze.answers.checkpoints import compare_checkpoints
from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.questions.request import Checkpoint, Subject
from pull_logs.analyze.statistics.metric_names import Direction, Split, better_end, outcome_end, split_of
from pull_logs.analyze.statistics.ranking import Criterion
from pull_logs.cli.hints import overview_hints
from pull_logs.errors import UsageError
from pull_logs.interface import Sources

NAMES: list[tuple[str, Direction | None, Split | None]] = [
    # Hugging Face Trainer and TRL
    ("train/loss", "min", "training"),
    ("train/grad_norm", None, "training"),
    ("train/learning_rate", None, "training"),
    ("train/epoch", None, "training"),
    ("train/num_input_tokens_seen", None, "training"),
    ("eval/loss", "min", "validation"),
    ("eval/accuracy", "max", "validation"),
    ("eval/f1", "max", "validation"),
    ("eval/rougeLsum", "max", "validation"),
    ("eval/exact_match", "max", "validation"),
    ("test/bleu", "max", "test"),
    ("train/rewards/margins", "max", "training"),
    ("train/rewards/accuracies", "max", "training"),
    ("train/reward_std", None, "training"),
    ("objective/kl", "min", None),
    ("objective/kl_coef", None, None),
    # PyTorch Lightning and torchmetrics
    ("train_loss_step", "min", "training"),
    ("train_loss_epoch", "min", "training"),
    ("val_loss", "min", "validation"),
    ("val/acc", "max", "validation"),
    ("valid_auroc", "max", "validation"),
    ("test_mse", "min", "test"),
    ("val/SSIM", "max", "validation"),
    ("lr-AdamW", None, None),
    ("trainer/global_step", None, None),
    # timm
    ("train_lr", None, "training"),
    ("eval_top1", "max", "validation"),
    ("eval_top5", "max", "validation"),
    ("val/acc@1", "max", "validation"),
    # Ultralytics YOLO
    ("train/box_loss", "min", "training"),
    ("val/dfl_loss", "min", "validation"),
    ("metrics/precision(B)", "max", None),
    ("metrics/mAP50(B)", "max", None),
    ("metrics/mAP50-95(B)", "max", None),
    ("lr/pg0", None, None),
    ("model/GFLOPs", None, None),
    # Stable-Baselines3, CleanRL and RLlib
    ("rollout/ep_rew_mean", "max", None),
    ("rollout/ep_len_mean", None, None),
    ("rollout/success_rate", "max", None),
    ("train/value_loss", "min", "training"),
    ("train/approx_kl", "min", "training"),
    ("train/clip_fraction", None, "training"),
    ("train/explained_variance", "max", "training"),
    ("charts/episodic_return", "max", None),
    ("eval/mean_reward", "max", "validation"),
    ("regret", "min", None),
    # LLM pretraining and evaluation harnesses
    ("lm loss", "min", None),
    ("lm loss validation ppl", "min", "validation"),
    ("val/bpb", "min", "validation"),
    ("loss_scale", None, None),
    ("loss-scale", None, None),
    ("hellaswag/acc_norm", "max", None),
    ("hellaswag/acc_stderr", None, None),
    ("humaneval/pass@1", "max", None),
    ("wer", "min", None),
    # Generative models and others
    ("fid", "min", None),
    ("val/score", "max", "validation"),
    ("eval/lpips", "min", "validation"),
    ("accuracy_loss", "min", None),
    ("glossary", None, None),
]  # fmt: skip

COSTS: list[tuple[str, Direction]] = [
    ("time", "min"),
    ("train/step_time", "min"),
    ("eval/runtime", "min"),
    ("time/fps", "max"),
    ("eval/samples_per_second", "max"),
    ("perf/tokens_per_sec", "max"),
]
"""Times and speeds: they have a better end, and are never proposed or on a plateau."""

STEERING = {"objective/kl", "train/value_loss", "train/approx_kl"}
"""Losses that have a better end, and whose rest is no plateau: they are no goals."""

CASES = [(name, end, end) for name, end, _ in NAMES] + [(name, end, None) for name, end in COSTS]


def run_of(name: str, values: list[float], **more: float) -> Subject:
    return subjects(FakeRun([{"_step": step, name: value, **more} for step, value in enumerate(values)]))[0]


def judged_by_health(name: str) -> Direction | None:
    """The end towards which a metric must go so that it is not on a plateau and does not diverge."""
    falling = [10.0 - step / 10 for step in range(60)]
    flagged = {}
    for end, values in (("min", falling), ("max", falling[::-1])):
        health = overview([run_of(name, values)])["health"]
        flagged[end] = any(entry["runs"] for entry in health if entry["flag"] in ("plateau", "divergence"))
    return {(False, True): "min", (True, False): "max", (False, False): None}[flagged["min"], flagged["max"]]


def judged_by_compare(name: str) -> Direction | None:
    runs = subjects(FakeRun([{"_step": 0, name: 1.0}]), FakeRun([{"_step": 0, name: 2.0}], run_id="r2"))
    try:
        ranking = compare_runs(runs, Comparison(sort=Criterion(name)))["ranking"]
    except UsageError:
        return None
    assert [entry["run"] for entry in ranking] == (
        ["A", "B"] if ranking[0]["direction"] == "min" else ["B", "A"]
    )
    direction: Direction = ranking[0]["direction"]
    return direction


def proposed_by_compare(name: str) -> str | None:
    runs = subjects(FakeRun([{"_step": 0, name: 1.0}]), FakeRun([{"_step": 0, name: 2.0}], run_id="r2"))
    return next(
        (flags[1] for flags in compare_runs(runs, Comparison())["next"] if flags[0] == "--best"), None
    )


def proposed_by_hints(name: str) -> str | None:
    runs = subjects(FakeRun([{"_step": 0, name: 1.0}]), FakeRun([{"_step": 0, name: 2.0}], run_id="r2"))
    (command,) = (command for command in overview_hints(overview(runs), Sources()) if command[1] == "compare")
    return command[command.index("--best") + 1] if "--best" in command else None


def shown_with_checkpoints(name: str) -> bool:
    """Whether a metric is shown alone, beside many that say nothing."""
    run = run_of(name, [1.0], **{f"weights/{number}": 1.0 for number in range(9)})
    item = Subject(label="A", run=run.run, source="b", checkpoints=(Checkpoint(file="a.pt", step=0),))
    (entry,) = compare_checkpoints([item]).checkpoints
    return set(entry["final"]) == {name}


@pytest.mark.parametrize(("name", "end", "split"), NAMES)
def test_a_name_says_the_better_end_and_the_data(
    name: str, end: Direction | None, split: Split | None
) -> None:
    assert (better_end(name), outcome_end(name), split_of(name)) == (end, end, split)


@pytest.mark.parametrize(("name", "end"), COSTS)
def test_times_and_speeds_have_a_better_end_and_are_no_outcomes(name: str, end: Direction) -> None:
    assert (better_end(name), outcome_end(name)) == (end, None)


@pytest.mark.parametrize(("name", "asked", "unasked"), CASES)
def test_all_parts_judge_a_metric_alike(
    name: str, asked: Direction | None, unasked: Direction | None
) -> None:
    proposal = None if unasked is None else f"{name}:{unasked}"
    assert judged_by_compare(name) == asked
    assert judged_by_health(name) == (None if name in STEERING else unasked)
    assert proposed_by_compare(name) == proposal
    assert proposed_by_hints(name) == proposal
    held_out = split_of(name) in ("validation", "test")
    assert shown_with_checkpoints(name) == (unasked is not None or held_out)
