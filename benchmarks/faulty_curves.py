"""Kinds of curves of runs in which something went wrong, with the rows where it did."""

from __future__ import annotations

import numpy as np
from labelled_curves import Draw, Floats, Labelled, kind, power_law, progress


def _near(row: float, count: int, share: float = 0.04) -> tuple[float, float]:
    return row - max(share * count, 3), row + max(share * count, 3)


def _falling(draw: Draw, count: int, size: float = 0.02) -> Floats:
    curve = power_law(draw, count)
    return curve + draw.normal(count, min(draw.outcome_noise(curve), size * float(np.median(curve))))


@kind
def loss_that_stops(draw: Draw) -> Labelled:
    """A loss that falls, and stays from one row on."""
    count, turn = draw.rows(40), draw.between(0.1, 0.55)
    done = progress(count)
    top = draw.decades(1.5, 10)
    curve = 1 + (top - 1) * np.maximum(1 - done / turn, 0) ** draw.between(1, 2)
    values = curve + draw.normal(count, draw.decades(0.002, 0.1) * (top - 1))
    return Labelled(
        {draw.training_loss(): values}, {"plateau": (-1, (turn + 0.1) * count + 5)}, every=draw.every()
    )


@kind
def loss_over_decades_that_stops(draw: Draw) -> Labelled:
    """A loss that falls by decades, and stays from one row on."""
    count, turn = draw.rows(40), draw.between(0.1, 0.55)
    fall = np.minimum(progress(count) / turn, 1.0)
    values = draw.decades(10, 1e5) * np.exp(
        -draw.between(3, 12) * fall + draw.normal(count, draw.decades(0.01, 0.2))
    )
    return Labelled({"val/mse": values}, {"plateau": _near(turn * count, count, 0.12)})


@kind
def accuracy_that_saturates(draw: Draw) -> Labelled:
    """An accuracy that comes to rest below its bound."""
    count, pace = draw.rows(40), draw.between(14, 40)
    curve = draw.between(0.3, 0.93) * (1 - 0.9 * np.exp(-pace * progress(count)))
    values = curve + draw.normal(count, draw.decades(0.0005, 0.02))
    return Labelled(
        {draw.one_of("val/acc", "eval/accuracy", "metrics/mAP50(B)"): values}, {"plateau": (-1, 0.6 * count)}
    )


@kind
def loss_that_never_falls(draw: Draw) -> Labelled:
    """A loss of a network that does not learn."""
    count = draw.rows(12)
    level = draw.decades(0.1, 10)
    values = level + draw.normal(count, level * draw.decades(1e-4, 0.2))
    return Labelled({draw.training_loss(): values}, {"plateau": (-1, 0.45 * count)})


@kind
def loss_that_is_constant(draw: Draw) -> Labelled:
    """A loss of one value."""
    count = draw.rows(12)
    return Labelled({draw.training_loss(): np.full(count, draw.decades(0.01, 100))}, {"plateau": (-1, 1)})


@kind
def returns_that_are_flat(draw: Draw) -> Labelled:
    """Returns of an agent that does not learn, with noise that lasts for some rows."""
    count = draw.rows(100)
    values = draw.between(-200, 200) + draw.correlated(count, draw.decades(1, 100), draw.between(0, 0.9))
    return Labelled(
        {draw.one_of("rollout/ep_rew_mean", "charts/episodic_return"): values}, {"plateau": (-1, 0.6 * count)}
    )


@kind
def loss_with_a_spike(draw: Draw) -> Labelled:
    """A loss that jumps, and recovers at once or over some rows."""
    count = draw.rows(60)
    values = _falling(draw, count)
    row = int(count * draw.between(0.2, 0.85))
    _add_spike(draw, values, row)
    return Labelled({draw.training_loss(): values}, {"spike": _near(row, count, 0.01)}, every=draw.every())


def _add_spike(draw: Draw, values: Floats, row: int) -> None:
    length = int(max(1, draw.decades(1, max(2, 0.02 * len(values)))))
    height = float(np.median(values)) * draw.decades(0.4, 30)
    decay = np.exp(-np.arange(length * 3) / length) if draw.chance(0.5) else np.ones(length)
    part = values[row : row + len(decay)]
    part += height * decay[: len(part)]


@kind
def loss_with_bursts(draw: Draw) -> Labelled:
    """A loss with several spikes."""
    count = draw.rows(200)
    values = _falling(draw, count)
    rows = (
        np.sort(draw.random.choice(np.arange(2, 9), int(draw.random.integers(2, 6)), replace=False))
        * count
        // 10
    )
    for row in rows.tolist():
        _add_spike(draw, values, row)
    return Labelled({"train/loss": values}, {"spike": _near(float(rows[0]), count, 0.01)})


@kind
def resumption_that_hurts(draw: Draw) -> Labelled:
    """A run resumed without the state of its optimizer: the loss jumps and recovers."""
    count = draw.rows(100)
    values = _falling(draw, count)
    row = int(count * draw.between(0.3, 0.7))
    length = max(2.0, 0.01 * count)
    values[row:] += (
        draw.between(0.3, 1.5) * float(np.median(values)) * np.exp(-np.arange(count - row) / length)
    )
    return Labelled({"train/loss": values}, {"spike": _near(row, count, 0.01)})


@kind
def loss_that_diverges(draw: Draw) -> Labelled:
    """A loss that leaves at one row and does not come back."""
    count = draw.rows(40)
    values = _falling(draw, count)
    row = int(count * draw.between(0.3, 0.85))
    before = float(np.median(values[:row]))
    top = float(values[0]) * draw.between(0.7, 1.2) if draw.chance(0.5) else before * draw.decades(3, 1e4)
    length = max(1.0, draw.decades(1, max(2, 0.05 * count)))
    top = max(top, before * 1.8)
    rise = 1 - np.exp(-np.arange(1, count - row + 1) / length)
    values[row:] = before + (top - before) * rise + draw.normal(count - row, 0.03 * (top - before))
    return Labelled(
        {draw.training_loss(): values}, {"divergence": _near(row, count, 0.05)}, every=draw.every()
    )


@kind
def loss_that_blows_up(draw: Draw) -> Labelled:
    """A loss that grows exponentially to its end."""
    count = draw.rows(60)
    values = _falling(draw, count)
    row = int(count * draw.between(0.4, 0.8))
    values[row:] += float(values[row]) * (np.exp(draw.between(3, 15) * np.linspace(0, 1, count - row)) - 1)
    return Labelled({"train/loss": values}, {"divergence": (row - 5, row + 0.35 * (count - row) + 5)})


@kind
def end_that_is_not_a_number(draw: Draw) -> Labelled:
    """A loss that is not finite from one row on."""
    count = draw.rows(40)
    values = _falling(draw, count)
    row = int(count * draw.between(0.5, 0.95))
    values[row:] = np.nan if draw.chance(0.7) else np.inf
    return Labelled({"train/loss": values}, {"nan": (row, row)})


@kind
def validation_that_overfits(draw: Draw) -> Labelled:
    """A validation loss that rises from its best on, while the training loss falls."""
    count, turn = draw.rows(20, 2000), draw.between(0.2, 0.65)
    done = progress(count)
    training = 0.2 + 2 * np.exp(-draw.between(2, 4) * done)
    won = 1.5 * (1 - np.minimum(done / turn, 1)) ** 2
    lost = draw.between(0.3, 1.2) * np.maximum(done - turn, 0) / (1 - turn)
    noise = draw.decades(0.001, 0.03)
    metrics = {
        "train/loss": training + draw.normal(count, noise),
        "val/loss": 0.8 + won + lost + draw.normal(count, noise),
    }
    low = turn - (0.02 / 1.5) ** 0.5 * turn - 3 * noise - 0.12
    return Labelled(metrics, {"overfitting": (low * count - 2, (turn + 0.02 + 4 * noise) * count + 3)})


@kind
def accuracy_that_overfits(draw: Draw) -> Labelled:
    """A validation accuracy that falls from its best on, while the training accuracy rises."""
    count, turn = draw.rows(20, 2000), draw.between(0.25, 0.6)
    done = progress(count)
    training = 0.99 - 0.7 * np.exp(-draw.between(2, 4) * done)
    held_out = np.where(
        done < turn,
        0.3 + 0.55 * np.sin(np.pi / 2 * done / turn),
        0.85 - draw.between(0.08, 0.3) * (done - turn) / (1 - turn),
    )
    noise = draw.decades(0.001, 0.01)
    metrics = {
        "train/acc": training + draw.normal(count, noise),
        "val/acc": held_out + draw.normal(count, noise),
    }
    return Labelled(
        metrics, {"overfitting": ((turn * 0.7 - 0.05) * count - 2, (turn + 0.05 + 10 * noise) * count + 3)}
    )


@kind
def validation_that_rests(draw: Draw) -> Labelled:
    """A validation loss that comes to rest, with noise, while the training loss falls."""
    count = draw.rows(60, 2000)
    done = progress(count)
    training = 0.2 + 2 * np.exp(-2 * done)
    held_out = 1 + 1.5 * np.exp(-draw.between(15, 40) * done)
    noise = draw.decades(0.003, 0.05)
    metrics = {
        "train/loss": training + draw.normal(count, 0.005),
        "val/loss": held_out + draw.normal(count, noise),
    }
    return Labelled(metrics, {"plateau": (-1, 0.6 * count)})


@kind
def gradients_that_explode(draw: Draw) -> Labelled:
    """A norm of gradients that jumps by decades, once or for good."""
    count = draw.rows(40)
    values = draw.decades(0.05, 20) * np.exp(
        draw.normal(count, draw.between(0.05, 0.5)) - draw.between(0, 2) * progress(count)
    )
    row = int(count * draw.between(0.2, 0.9))
    length = count - row if draw.chance(0.3) else int(draw.decades(1, max(2, 0.03 * count)))
    values[row : row + length] *= draw.decades(40, 1e6)
    name = draw.one_of(
        "train/grad_norm", "grad_norm", "gradients/global_norm", "optim/total_grad_norm", "grad/norm"
    )
    return Labelled({name: values}, {"gradient_explosion": _near(row, count, 0.01)}, every=draw.every())


@kind
def gradients_that_grow(draw: Draw) -> Labelled:
    """A norm of gradients that grows exponentially to the end."""
    count = draw.rows(60)
    values = np.exp(draw.normal(count, draw.between(0.05, 0.4)))
    row = int(count * draw.between(0.5, 0.85))
    values[row:] *= np.exp(draw.between(5, 15) * np.linspace(0, 1, count - row))
    return Labelled({"train/grad_norm": values}, {"gradient_explosion": (row - 3, count)})


@kind
def rate_that_is_zero(draw: Draw) -> Labelled:
    """A learning rate that is zero long before the end."""
    count, end = draw.rows(20), draw.between(0.3, 0.8)
    done = progress(count)
    values = draw.decades(1e-6, 1) * np.maximum(1 - done / end, 0.0)
    row = int(np.argmax(values == 0))
    return Labelled(
        {draw.one_of("lr", "train/learning_rate", "optim/lr_0"): values}, {"learning_rate": (row, row)}
    )


@kind
def rate_that_is_always_zero(draw: Draw) -> Labelled:
    """A learning rate that never is anything but zero."""
    return Labelled(
        {draw.one_of("lr", "train/lr", "lr-SGD"): np.zeros(draw.rows(20))}, {"learning_rate": (0, 0)}
    )


@kind
def rate_that_is_negative(draw: Draw) -> Labelled:
    """A learning rate that falls on below zero."""
    count, end = draw.rows(20), draw.between(0.4, 0.9)
    values = draw.decades(1e-6, 1) * (1 - progress(count) / end)
    row = int(np.argmax(values < 0))
    return Labelled({draw.one_of("lr", "train/learning_rate"): values}, {"learning_rate": (row - 1, row)})


@kind
def rate_that_jumps_up(draw: Draw) -> Labelled:
    """A learning rate that had decayed, and starts over: a resumption without the state of its schedule."""
    count, at = draw.rows(40), draw.between(0.4, 0.8)
    peak = draw.decades(1e-6, 1)
    curve = peak * (0.05 + 0.95 * (1 + np.cos(np.pi * progress(count))) / 2)
    row = int(count * at)
    curve[row:] = peak * (0.05 + 0.95 * (1 + np.cos(np.pi * progress(count)[: count - row])) / 2)
    if curve[row] < 2.5 * curve[row - 1]:
        curve[:row] *= np.exp(-2 * progress(row))
    return Labelled(
        {draw.one_of("lr", "train/learning_rate", "optim/lr_0"): curve}, {"learning_rate": (row - 1, row + 1)}
    )


@kind
def rate_of_one_group_that_stays(draw: Draw) -> Labelled:
    """A group of parameters whose rate stays while those of all others decay."""
    count = draw.rows(30, 2000)
    shape = 1e-3 * (0.01 + 0.99 * (1 + np.cos(np.pi * progress(count))) / 2)
    metrics = {"lr/pg0": shape, "lr/pg1": shape / 3, "lr/pg2": np.full(count, 1e-3), "lr/pg3": shape * 2}
    return Labelled(metrics, {"learning_rate": (0, 0.6 * count)})


@kind
def throughput_that_is_lost(draw: Draw) -> Labelled:
    """A throughput that falls at one row, to the end or for a good part of the run."""
    count = draw.rows(40)
    values = draw.decades(10, 1e6) * np.exp(draw.normal(count, draw.decades(0.005, 0.15)))
    row = int(count * draw.between(0.25, 0.7))
    length = count - row if draw.chance(0.6) else int(count * draw.between(0.2, 0.3))
    values[row : row + length] *= draw.between(0.15, 0.6)
    name = draw.one_of(
        "tokens_per_sec",
        "it/s",
        "train/samples_per_second",
        "perf/tok_per_s",
        "throughput/device/batches_per_sec",
    )
    return Labelled({name: values}, {"slowdown": _near(row, count, 0.06)}, every=draw.every())


@kind
def throughput_that_fades(draw: Draw) -> Labelled:
    """A throughput that falls slowly from some row on (a leak, heat)."""
    count = draw.rows(40)
    done = progress(count)
    start = draw.between(0.2, 0.5)
    fade = 1 - draw.between(0.6, 0.85) * np.maximum(done - start, 0) / (1 - start)
    values = draw.decades(10, 1e6) * fade * np.exp(draw.normal(count, draw.decades(0.005, 0.1)))
    return Labelled(
        {"tokens_per_sec": values}, {"slowdown": ((start - 0.05) * count - 2, (start + 0.45) * count + 2)}
    )


@kind
def time_without_rows(draw: Draw) -> Labelled:
    """A run that logged nothing for hours, once."""
    count = draw.rows(30, 2000)
    times = np.cumsum(draw.decades(0.1, 60) * np.exp(draw.normal(count, 0.3)))
    row = int(draw.between(0.1, 0.9) * count)
    times[row + 1 :] += draw.decades(4000, 80_000)
    return Labelled({"epoch": np.arange(count, dtype=np.float64)}, {"stalled": (row, row)}, timestamps=times)
