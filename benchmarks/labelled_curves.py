"""Labelled runs of a few metrics: curves of the kinds that training logs, with the flags that are true.

`labelled_curves(count, seed)` yields them, the kinds of `healthy_curves` and `faulty_curves` in turn. The
labels come from the way a curve is made, never from the definitions under test. A curve whose label would be
a matter of taste is not made: where a curve is still improving, its noise is limited so that the improvement
of its last third is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Truth: TypeAlias = Mapping[str, tuple[float, float]]
"""The flags that are true, and the first and the last row where each may begin."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A run with what is true of it.

    Attributes:
        metrics: Its metrics by name, one value for each row; NaN where `absent` does not have the row.
        truth: The flags that it has.
        every: The distance between the steps of two rows.
        kind: The kind of the curve, filled in by `labelled_curves`.
        timestamps: The time of each row, if it has any.
    """

    metrics: Mapping[str, Floats]
    truth: Truth = field(default_factory=dict)
    every: int = 1
    kind: str = ""
    timestamps: Floats | None = None


Kind: TypeAlias = Callable[["Draw"], Labelled]
KINDS: dict[str, Kind] = {}
"""Every kind of curve by its name, in the order of their definition."""


def kind(make: Kind) -> Kind:
    """Add a kind of curve."""
    KINDS[make.__name__] = make
    return make


class Draw:
    """A seeded source of the sizes, names and shapes of curves."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = np.random.default_rng([seed, number])

    def between(self, low: float, high: float) -> float:
        """Return a number between two, evenly distributed."""
        return float(self.random.uniform(low, high))

    def decades(self, low: float, high: float) -> float:
        """Return a positive number between two, its logarithm evenly distributed."""
        return float(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def rows(self, low: int = 30, high: int = 20_000) -> int:
        """Return a number of rows."""
        return int(self.decades(low, high))

    def one_of(self, *names: str) -> str:
        """Return one of these names."""
        return names[int(self.random.integers(len(names)))]

    def normal(self, count: int, size: float = 1.0) -> Floats:
        """Return normal noise."""
        return np.asarray(size * self.random.standard_normal(count), np.float64)

    def correlated(self, count: int, size: float, memory: float) -> Floats:
        """Return noise of which each value keeps a share of the one before."""
        found = np.empty(count)
        last = 0.0
        for row, new in enumerate(self.normal(count, size * (1 - memory**2) ** 0.5).tolist()):
            found[row] = last = memory * last + new
        return found

    def chance(self, share: float) -> bool:
        """Return true with this probability."""
        return bool(self.random.random() < share)

    def every(self) -> int:
        """Return a distance between the steps of two rows."""
        return (1, 1, 10, 50, 500)[int(self.random.integers(5))]

    def training_loss(self) -> str:
        """Return a name of a loss."""
        return self.one_of("train/loss", "loss", "train_loss_step", "lm loss", "train/ce_loss", "loss/train")

    def outcome_noise(self, curve: Floats, low: float = 0.002, high: float = 0.05) -> float:
        """Return a size of noise that leaves the improvement of the last third visible."""
        count = len(curve)
        third = abs(float(curve[count * 2 // 3] - curve[-1]))
        visible = third * (count / 12) ** 0.5 / 6
        return min(self.decades(low, high) * float(np.median(np.abs(curve))), float(visible))


def progress(count: int) -> Floats:
    """Return the share of a run that is done after each row."""
    return np.arange(1, count + 1, dtype=np.float64) / count


def power_law(draw: Draw, count: int) -> Floats:
    """Return a loss that falls with a power of the steps to a floor that it never reaches."""
    times = np.arange(1, count + 1) * draw.decades(1, 100)
    exponent = draw.between(0.15, 0.6)
    floor = draw.between(0.0, 2.5)
    return np.asarray(floor + draw.between(4, 12) * times**-exponent, np.float64)


def labelled_curves(count: int, seed: int = 0) -> list[Labelled]:
    """Return this many curves, the kinds in turn."""
    import faulty_curves  # noqa: F401 - adds its kinds
    import healthy_curves  # noqa: F401 - adds its kinds

    names = sorted(KINDS)
    found = []
    for number in range(count):
        name = names[number % len(names)]
        one = KINDS[name](Draw(seed, number))
        found.append(Labelled(one.metrics, one.truth, one.every, name, one.timestamps))
    return found
