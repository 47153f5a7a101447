"""Kinds of curves of runs in which nothing is wrong."""

from __future__ import annotations

import numpy as np
from labelled_curves import Draw, Floats, Labelled, kind, power_law, progress


@kind
def loss_by_a_power_law(draw: Draw) -> Labelled:
    """A loss of a language model that still falls."""
    curve = power_law(draw, draw.rows())
    noisy = curve + draw.normal(len(curve), draw.outcome_noise(curve))
    return Labelled({draw.training_loss(): noisy}, every=draw.every())


@kind
def loss_over_decades(draw: Draw) -> Labelled:
    """A loss that falls by decades, with noise in proportion."""
    done = progress(draw.rows())
    high, low = draw.decades(10, 1e5), draw.decades(1e-6, 1)
    fall = done if draw.chance(0.5) else np.log1p(done * len(done)) / np.log1p(len(done))
    curve = np.log(high) + (np.log(low) - np.log(high)) * fall
    noise = draw.outcome_noise(curve, 0.01, 0.3)
    return Labelled(
        {draw.one_of("loss", "val/mse", "train/mae"): np.exp(curve + draw.normal(len(done), noise))}
    )


@kind
def loss_of_a_cosine_schedule(draw: Draw) -> Labelled:
    """A loss that falls faster while the learning rate falls to zero."""
    curve = power_law(draw, draw.rows())
    done = progress(len(curve))
    curve = curve * (1 - draw.between(0.05, 0.2) * (1 - np.cos(np.pi * done)) / 2)
    return Labelled({draw.training_loss(): curve + draw.normal(len(curve), draw.outcome_noise(curve))})


@kind
def loss_with_warm_restarts(draw: Draw) -> Labelled:
    """A loss that rises with each restart of the learning rate, and falls lower afterwards."""
    count, cycles = draw.rows(200), int(draw.random.integers(2, 6))
    done = progress(count)
    phase = done * cycles % 1.0
    base = 0.4 + 0.6 * np.exp(-2 * done) + 2 * np.exp(-40 * done)
    curve = base * (1 + draw.between(0.2, 0.5) * (1 + np.cos(np.pi * phase)) / 2 * (done > 1 / cycles))
    return Labelled({"train/loss": curve + draw.normal(count, draw.outcome_noise(curve, 0.002, 0.03))})


@kind
def loss_with_steps_of_the_rate(draw: Draw) -> Labelled:
    """A loss that falls at once where the learning rate is divided by ten, the last time near the end."""
    count = draw.rows(60)
    done = progress(count)
    curve = 0.3 + 2 * np.exp(-12 * done) + 0.5 * (done < 0.45) + draw.between(0.1, 0.3) * (done < 0.85)
    return Labelled({"val/loss": curve + draw.normal(count, draw.between(0.001, 0.02))})


@kind
def loss_with_heavy_tails(draw: Draw) -> Labelled:
    """A loss of small batches: its noise is skewed, or has heavy tails."""
    curve = power_law(draw, draw.rows(300))
    count = len(curve)
    size = draw.outcome_noise(curve, 0.02, 0.3)
    if draw.chance(0.5):
        return Labelled({"train/loss": curve * np.exp(draw.normal(count, size / float(np.median(curve))))})
    return Labelled({"train/loss": curve + size / 1.4 * draw.random.standard_t(4, count)})


@kind
def loss_that_is_smoothed(draw: Draw) -> Labelled:
    """A loss that still falls, logged as a running mean, so that its noise lasts for many rows."""
    curve = power_law(draw, draw.rows(100))
    third = abs(float(curve[len(curve) * 2 // 3] - curve[-1]))
    noise = min(draw.decades(0.002, 0.02) * float(np.median(curve)), third / 8)
    return Labelled({"train/loss": curve + draw.correlated(len(curve), noise, 1 - draw.decades(0.01, 0.2))})


@kind
def loss_after_a_long_warm_up(draw: Draw) -> Labelled:
    """A loss that stays for long, or rises a little, before it falls (warm-up, grokking)."""
    count = draw.rows(60)
    done = progress(count)
    start = draw.between(0.35, 0.55)
    curve = (
        2.5
        - 2 / (1 + np.exp(-(done - start - 0.25) * 12))
        + draw.between(0, 0.2) * np.exp(-((done / start) ** 2))
    )
    return Labelled({"val/loss": curve + draw.normal(count, draw.outcome_noise(curve, 0.002, 0.02))})


@kind
def accuracy_that_rises(draw: Draw) -> Labelled:
    """An accuracy that still rises, slower and slower."""
    count = draw.rows()
    done = progress(count)
    curve = draw.between(0.5, 0.95) * np.log1p(done * count / 5) / np.log1p(count / 5)
    return Labelled(
        {
            draw.one_of("val/acc", "eval/accuracy", "test_f1"): curve
            + draw.normal(count, draw.outcome_noise(curve, 0.002, 0.04))
        }
    )


@kind
def accuracy_that_is_perfect(draw: Draw) -> Labelled:
    """An accuracy that has reached its bound: nothing is left to gain."""
    count = draw.rows()
    top = 1.0 if draw.chance(0.7) else 100.0
    curve = top * (1 - 0.9 * np.exp(-draw.between(8, 30) * progress(count)))
    curve[curve > top * 0.998] = top
    return Labelled({draw.one_of("train/acc", "train_accuracy", "val/auroc"): curve})


@kind
def loss_that_is_zero(draw: Draw) -> Labelled:
    """A loss that has reached zero."""
    count = draw.rows()
    curve = np.maximum(draw.between(1, 5) * (1 - progress(count) * draw.between(1.6, 4)), 0.0)
    return Labelled({"train/loss": curve})


@kind
def returns_that_rise(draw: Draw) -> Labelled:
    """Returns of reinforcement learning that rise, with noise that lasts for some rows."""
    count = draw.rows(200)
    done = progress(count)
    curve = draw.between(-200, 0) + draw.decades(50, 2000) * done ** draw.between(0.7, 1.5)
    noise = draw.correlated(count, draw.between(0.02, 0.12) * float(np.ptp(curve)), draw.between(0, 0.7))
    return Labelled(
        {draw.one_of("rollout/ep_rew_mean", "charts/episodic_return", "eval/mean_reward"): curve + noise}
    )


@kind
def losses_of_reinforcement_learning(draw: Draw) -> Labelled:
    """Losses that steer rather than being goals: they hover, or rise with the returns."""
    count = draw.rows()
    done = progress(count)
    name = draw.one_of(
        "losses/policy_loss",
        "train/policy_gradient_loss",
        "train/value_loss",
        "losses/qf1_loss",
        "train/entropy_loss",
        "train/approx_kl",
        "losses/actor_loss",
        "train/critic_loss",
        "loss_D",
        "g_loss",
    )
    curve = (
        draw.between(-1, 1) * 0.1 + draw.between(0, 3) * done + draw.normal(count, draw.between(0.01, 0.3))
    )
    return Labelled({name: curve})


@kind
def validation_with_its_training(draw: Draw) -> Labelled:
    """A validation loss that still falls beside its training loss."""
    curve = power_law(draw, draw.rows(30, 2000))
    noise = draw.outcome_noise(curve, 0.002, 0.03)
    return Labelled(
        {
            "train/loss": curve + draw.normal(len(curve), noise),
            "val/loss": curve * 1.05 + draw.normal(len(curve), noise / 3),
        }
    )


@kind
def few_points(draw: Draw) -> Labelled:
    """A handful of epochs that get better."""
    count = int(draw.random.integers(2, 14))
    curve = 2.5 * (1 + np.arange(count)) ** -draw.between(0.3, 1)
    return Labelled({"val/loss": curve * (1 + draw.normal(count, 0.002)), "val/acc": 0.9 - curve / 4})


@kind
def gradients_that_are_calm(draw: Draw) -> Labelled:
    """A norm of gradients that falls or rises slowly, with the skew that it has."""
    count = draw.rows()
    done = progress(count)
    curve = (
        draw.decades(0.05, 50) * np.exp(draw.between(-3, 1.2) * np.sqrt(done)) * (1 + 10 * np.exp(-80 * done))
    )
    skewed = np.exp(draw.normal(count, draw.between(0.05, 0.6)))
    if draw.chance(0.3):
        skewed = np.exp(0.2 * draw.random.standard_t(5, count))
    values = curve * skewed
    if draw.chance(0.2):
        values = np.minimum(values, 1.0)
    return Labelled(
        {
            draw.one_of(
                "train/grad_norm", "grad_norm", "gnorm", "optim/total_grad_norm", "grad_2.0_norm_total"
            ): values
        }
    )


def _rate(draw: Draw, count: int) -> Floats:
    done = progress(count)
    peak, warm = draw.decades(1e-6, 1), draw.between(0.005, 0.1)
    up = np.minimum(done / warm, 1.0)
    after = np.clip((done - warm) / (1 - warm), 0, 1)
    shapes = {
        "constant": np.ones(count),
        "warm": up,
        "linear": up * (1 - after),
        "cosine": up * (1 + np.cos(np.pi * after)) / 2,
        "floor": up * (0.1 + 0.9 * (1 + np.cos(np.pi * after)) / 2),
        "steps": 0.1 ** np.floor(done * 3.3),
        "exponential": np.exp(-8 * done),
        "root": np.minimum(done / warm, (warm / done) ** 0.5),
        "one_cycle": np.where(
            done < 0.3, 0.04 + 0.96 * done / 0.3, 0.5 + 0.5 * np.cos(np.pi * (done - 0.3) / 0.7)
        ),
        "restarts": (1 + np.cos(np.pi * (done * int(draw.random.integers(3, 8)) % 1.0))) / 2,
        "stable": np.where(done < 0.8, up, up * (1 - done) / 0.2),
        "triangles": np.abs(done * 6 % 2 - 1) + 0.01,
        "frozen": np.where(done < 0.4, 0.0, 1.0),
        "plateaus": 0.5 ** np.floor(np.log2(1 + done * 30)),
    }
    values: Floats = peak * shapes[draw.one_of(*shapes)]
    return values


@kind
def schedules_of_the_rate(draw: Draw) -> Labelled:
    """The schedules of a learning rate that people use."""
    name = draw.one_of(
        "lr", "train/learning_rate", "optim/lr_0", "lr-AdamW", "lr/pg0", "charts/learning_rate", "trainer/lr"
    )
    return Labelled({name: _rate(draw, draw.rows(10))}, every=draw.every())


@kind
def rates_of_several_groups(draw: Draw) -> Labelled:
    """Groups of parameters with rates of the same shape, one of them frozen."""
    shape = _rate(draw, draw.rows(30, 2000))
    return Labelled({"lr/pg0": shape, "lr/pg1": shape / 10, "lr/pg2": shape * (not draw.chance(0.5))})


@kind
def throughput_that_is_steady(draw: Draw) -> Labelled:
    """A throughput with noise, slow first rows, and pauses for validation."""
    count = draw.rows(20)
    values = draw.decades(10, 1e6) * np.exp(draw.normal(count, draw.decades(0.005, 0.2)))
    values[: max(1, count // 40)] *= draw.between(0.1, 0.8)
    values[:: int(draw.random.integers(8, 40))] *= draw.between(0.3, 1)
    return Labelled(
        {
            draw.one_of(
                "tokens_per_sec",
                "it/s",
                "train/samples_per_second",
                "perf/tokens_per_second_per_gpu",
                "time/fps",
            ): values
        }
    )


@kind
def throughput_as_a_running_mean(draw: Draw) -> Labelled:
    """Steps per second since the start, as CleanRL logs them: fast until learning starts."""
    count = draw.rows(60)
    start, fast, slow = draw.between(0.002, 0.05), draw.decades(1000, 8000), draw.decades(100, 800)
    done = progress(count)
    seconds = np.minimum(done, start) / fast + np.maximum(done - start, 0) / slow
    return Labelled({"charts/SPS": np.floor(done / seconds)})


@kind
def counts_and_unknown_metrics(draw: Draw) -> Labelled:
    """Metrics that no flag judges, whatever their shape."""
    count = draw.rows(10)
    shapes = (
        np.arange(count) * 512.0,
        np.full(count, 3.0),
        draw.correlated(count, 5, 0.99),
        np.exp(draw.normal(count, 3)),
        np.where(progress(count) > 0.5, 1e6, 1.0),
        -progress(count),
    )
    values = np.asarray(shapes[int(draw.random.integers(len(shapes)))], np.float64)
    name = draw.one_of(
        "epoch",
        "trainer/global_step",
        "num_tokens",
        "loss_scale",
        "entropy",
        "memory_gb",
        "reward_std",
        "lr_scale",
        "beta",
    )
    return Labelled({name: values})


@kind
def smooth_resumption(draw: Draw) -> Labelled:
    """A resumed run that goes on where it was, after a pause, and a schedule that goes on as well."""
    count = draw.rows(60, 2000)
    curve = power_law(draw, count)
    times = np.arange(count, dtype=np.float64) * draw.decades(100, 900)
    return Labelled(
        {
            "train/loss": curve + draw.normal(count, draw.outcome_noise(curve)),
            "lr": 1e-3 * (1 - progress(count)),
        },
        timestamps=times,
    )
