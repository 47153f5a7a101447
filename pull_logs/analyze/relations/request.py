"""What the options about relations between values of runs ask: `--fit` and `--pareto`."""

from __future__ import annotations

from dataclasses import dataclass

from pull_logs.analyze.statistics import Criterion
from pull_logs.errors import UsageError

_FIT_HINT = "write it as --fit 'log(train/loss) ~ log(config.num_params)'"
_PARETO_HINT = "write it as --pareto 'config.params:min, val/loss:min'"


@dataclass(frozen=True, slots=True)
class Fit:
    """Two expressions with one value per run, of which the first is fitted by a line in the second."""

    y: str
    x: str

    @classmethod
    def parse(cls, text: str) -> Fit:
        """Read the value of `--fit`: `Y ~ X`.

        Raises:
            UsageError: One of the two is missing.
        """
        y, tilde, x = (part.strip() for part in text.partition("~"))
        if not (tilde and x and y):
            raise UsageError(f"--fit {text!r} is not Y ~ X", hint=_FIT_HINT)
        return cls(y, x)


def parse_criteria(text: str) -> tuple[Criterion, ...]:
    """Read the value of `--pareto`: two or more of `NAME:min`, `NAME:max` or `EXPR:min`, with commas between.

    Raises:
        UsageError: There are fewer than two, or one is empty or given twice.
    """
    parts = [part.strip() for part in _split(text)]
    if len(parts) < 2 or not all(parts):
        raise UsageError(f"--pareto {text!r} does not name two criteria or more", hint=_PARETO_HINT)
    criteria = tuple(map(Criterion.parse, parts))
    names = [criterion.metric for criterion in criteria]
    if len(set(names)) < len(names):
        raise UsageError(f"--pareto {text!r} names a criterion twice", hint=_PARETO_HINT)
    return criteria


def _split(text: str) -> list[str]:
    """Split at the commas that are outside of parentheses, quotes and backticks."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'`":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return parts
