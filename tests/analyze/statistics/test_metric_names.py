"""What names of metrics say; `tests/cli/test_metric_judgement.py` has a list of real names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics.metric_names import (
    HELD_OUT_WORDS,
    TRAINING_WORDS,
    Direction,
    better_end,
    deciding_metric,
    is_held_out,
    outcome_end,
    role_of,
    split_of,
    training_partners,
    words_of,
)

WORDS = st.sampled_from(
    [*HELD_OUT_WORDS, *TRAINING_WORDS, "loss", "acc", "x", "kl", "coef", "time", "mean", "95"]
)


@pytest.mark.parametrize(
    ("metric", "end"),
    [
        ("val/loss", "min"), ("perplexity", "min"), ("top1_acc", "max"), ("eval/mean_reward", "max"),
        ("grad/norm", None), ("accuracy_loss", "min"), ("loss_accuracy", "max"), ("glossary", None), ("F1", "max"),  # noqa: E501
        ("valloss", "min"), ("attention", None), ("", None), ("loss weight", None),
    ],
)  # fmt: skip
def test_the_last_telling_word_of_a_name_says_the_better_end(metric: str, end: Direction | None) -> None:
    assert better_end(metric) == outcome_end(metric) == end


@given(st.lists(WORDS, max_size=6), st.sampled_from("/_.:- "), st.booleans())
def test_separators_and_case_do_not_matter(words: list[str], separator: str, upper: bool) -> None:  # noqa: FBT001
    name = separator.join(words)
    changed = name.upper() if upper else name
    assert list(words_of(changed)) == words
    assert (better_end(changed), split_of(changed)) == (
        better_end("/".join(words)),
        split_of("/".join(words)),
    )


@given(st.text())
def test_an_outcome_has_the_end_of_its_name_and_every_text_is_a_name(name: str) -> None:
    assert outcome_end(name) in {better_end(name), None}
    assert is_held_out(name) == (split_of(name) in {"validation", "test"})


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("train/loss", "val/loss"),
        ("loss", "val_loss"),
        ("Train-Acc", "test/acc"),
        ("loss/train", "loss/eval"),
    ],
)
def test_a_training_metric_belongs_to_the_one_of_held_out_data(other: str, name: str) -> None:
    assert training_partners((name, "lr", other)) == {name: other}
    assert training_partners((name, other, f"{other}/train")) == {name: other}
    assert training_partners((name,)) == {}


@pytest.mark.parametrize(
    ("other", "name"), [("train/acc", "val/loss"), ("loss", "loss"), ("test/x", "val/x")]
)
def test_metrics_of_two_names_or_of_one_split_are_no_partners(other: str, name: str) -> None:
    assert training_partners((other, name)) == {}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train/loss", "val/acc", "val/x"], "val/acc"),
        (["val/loss", "val/acc", "test/acc"], "val/acc"),
        (["test/acc", "loss", "val/loss"], "val/loss"),
        (["train/acc", "loss"], "loss"),
        (["lr", "train/loss"], "train/loss"),
        (["time", "val/runtime", "lr"], None),
        ([], None),
    ],
)
def test_the_deciding_metric_is_an_outcome_of_validation_if_there_is_one(
    names: list[str], found: str | None
) -> None:
    assert deciding_metric(names) == found


ROLES = {
    "learning_rate": (
        "lr", "train/learning_rate", "optim/lr_0", "learningRate", "lr/group_0", "lr-AdamW", "lr/pg2",
        "actor_lr", "optimizer.lr", "charts/learning_rate", "lr_scheduler/lr",
    ),
    "gradient": (
        "grad_norm", "train/grad_norm", "gradient_norm", "gradNorm", "grad/global_norm",
        "l2_norm/grad/global", "gnorm", "grad_2.0_norm_total", "optim/total_grad_norm",
        "grad_norm_before_clip", "policy_grad_norm",
    ),
    "speed": (
        "tokens_per_sec", "it/s", "samples_per_second", "tok/s", "charts/SPS", "time/fps",
        "throughput/device", "tokensPerSec", "perf/tgs", "train_steps_per_second",
        "tokens_per_second_per_gpu", "mfu", "tflops",
    ),
    "pace": (
        "step_time", "time_per_step", "time/iter", "ms_per_iter", "s/it", "seconds_per_batch",
    ),
    "loss": (
        "loss", "val/loss", "train/cross_entropy_loss", "lm loss", "eval/ppl", "contrastive_loss",
    ),
    "score": (
        "val/acc", "rollout/ep_rew_mean", "rewards/chosen", "metrics/mAP50(B)",
    ),
    None: (
        "lr_scale", "weight_decay", "lr-AdamW-momentum", "lr_warmup_steps", "weight_norm",
        "grad_norm_clip", "grad_clip_coef", "epoch", "time_elapsed", "data_time", "total_timesteps",
        "loss_scale", "policy_loss", "train/value_loss", "critic_loss", "approx_kl", "entropy_loss",
        "d_loss", "loss_G", "gen_loss", "aux_loss", "rewards/rejected", "model/GFLOPs",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in ROLES.items() for name in names])
def test_a_name_says_what_a_metric_is_judged_as(role: str | None, name: str) -> None:
    assert role_of(name) == role
