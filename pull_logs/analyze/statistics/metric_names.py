"""What the name of a metric says: which end is better, and whether it is of training or of held-out data.

Names are read word by word: `eval/mean_reward` has the words `eval`, `mean` and `reward`. The last word, or
phrase of words, with a known meaning counts, so that `accuracy_loss` is a loss. Digits after a word do not
matter (`mAP50`, `acc1`).

An outcome is what a run is trained for, such as a loss or an accuracy. Times and speeds have a better end as
well, but a model is not judged by them: they are ranked on request, and never proposed.

The names also decide which health flags a metric may have (see `role_of` and docs/health.md): losses and
scores that are goals, norms of gradients, learning rates, and speeds are judged, each for flags of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["min", "max"]
"""The better end of a metric."""

Split: TypeAlias = Literal["training", "validation", "test"]
"""The part of the data that a metric is computed on."""

TRAINING_WORDS = ("train", "training", "trn")
VALIDATION_WORDS = ("val", "valid", "validation", "eval", "evaluation", "dev", "holdout", "heldout")
TEST_WORDS = ("test",)
HELD_OUT_WORDS = (*VALIDATION_WORDS, *TEST_WORDS)

_WORD_BREAK = re.compile(r"[^a-z0-9]+")
_HELD_OUT = frozenset(HELD_OUT_WORDS)
_TRAINING = frozenset(TRAINING_WORDS)

Role: TypeAlias = Literal["loss", "score", "gradient", "learning_rate", "speed", "pace"]
"""What a metric is judged as: a loss or a score that is a goal, the norm of the gradients, a learning rate, a
speed (more is faster), or the time that one step takes (less is faster)."""

_COST = r"latency|run ?time|time(?: elapsed)?|seconds"
_UNITS = (
    r"tokens?|toks?|samples?|steps?|images?|imgs?|examples?|its?|iters?|iterations?|batch(?:es)?|frames?|"
    r"items?|words?|seqs?|sequences?|records?|rows?|graphs?|games?|episodes?|updates?|transitions?|requests?"
)
_SPEED = (
    rf"throughput|[fswtu]ps|ips|tgs|mfu|t?flops? s|tflops?|[a-z]+persec(?:ond)?|per (?:s|secs?|seconds?)|"
    rf"(?:{_UNITS}) (?:s|secs?|seconds?)"
)
_LESS = (
    r"[a-z]*loss(?:es)?|[a-z]*errors?|err|perplexity|ppl|nll|bpb|bpc|bits per (?:byte|char|dim)|[rn]*mse|"
    r"[rn]*mae|s?mape|wer|cer|s?fid|kid|lpips|kl|regret|ece"
)
_MORE = (
    r"accuracy|accuracies|acc|f1|auc|auroc|auprc|top ?\d|m?ap|m?iou|dice|[a-z]*bleu|rouge(?:lsum|l)?|chrf|"
    r"meteor|exact match|em|rew|[a-z]*rewards?|returns?|[a-z]*scores?|precision|recall|psnr|ssim|success|"
    r"win rate|explained variance|r2|ndcg|mrr|hits ?\d|pass(?: at)? \d"
)
_NOT_ITSELF = r"std|stddev|stderr|var|variance|coeff?|weight|scale|scaler|scaling|count"
"""Words after a known one that make it the name of something else, as in `loss_scale` or `reward_std`."""
_KNOWN = re.compile(
    rf"\b(?:(?P<other>time ?steps|(?:{_COST}|{_SPEED}|{_LESS}|{_MORE})\d* (?:{_NOT_ITSELF}))"
    rf"|(?P<cost>{_COST})|(?P<speed>{_SPEED})|(?P<less>{_LESS})|(?P<more>{_MORE}))\d*\b"
)
_STEERING = re.compile(
    r"\b(?:policy|pg|actor|critic|vf|[qv] ?f?\d* (?:value )?loss|value (?:function |fn )?loss|"
    r"(?<!cross )entropy|kl|discriminator|generator|disc|gan|adversarial|adv|(?:[dg]|gen) loss|"
    r"loss (?:[dg]|disc|gen)|td (?:loss|error)|surrogate|alpha loss|temperature loss|coef loss|z loss|"
    r"commit(?:ment)?|aux|auxiliary|balanc(?:e|ing))\b"
)
"""Losses that steer training rather than being its goal: they hover, or rise while the run gets better."""
_NO_SCORE = re.compile(r"\b(?:rejected|advantages?)\b")
_GRADIENT = re.compile(
    r"\bgrad(?:s|ients?)?\b.*\bnorms?\d*\b|\bnorms?\b.*\bgrad(?:s|ients?)?\b|\bg(?:rad|radient)?norms?\b"
)
_NO_NORM = re.compile(
    r"\b(?:(?<!before )(?<!pre )clip|clipping|ratio|coeff?|std|stddev|var|variance|threshold|scale)\b"
)
_RATE = re.compile(r"\b(?:lr|lrate|learning ?rates?)\d*\b")
_NO_RATE = re.compile(
    r"\b(?:scale|scaling|mult|multiplier|factor|ratio|decay|momentum|gamma|betas?|eps|coeff?|warm ?up|steps?|"
    r"epochs?)\b"
)
_PACE = re.compile(
    r"\b(?:step|iter|iteration|it|batch) (?:time|seconds|secs?|ms|duration)\b"
    r"|\btime (?:iter|iteration|it|batch)\b"
    r"|\b(?:time|seconds|secs?|s|ms) per (?:step|iter|iteration|it|batch)\b"
    r"|\b(?:secs?|s|ms) (?:iter|iteration|it|batch)\b"
)
_NO_PACE = re.compile(r"\b(?:data|total|elapsed|cumulative|remaining|wall)\b")
_ROLES: tuple[tuple[Role, re.Pattern[str], re.Pattern[str]], ...] = (
    ("gradient", _GRADIENT, _NO_NORM),
    ("learning_rate", _RATE, _NO_RATE),
    ("pace", _PACE, _NO_PACE),
)
_DIRECTIONS: dict[str, Direction] = {"cost": "min", "less": "min", "speed": "max", "more": "max"}
_NUMBER = re.compile(r"(\d{1,15})", re.ASCII)
_NAMES_REMEMBERED = 10_000
_SPLITS = ("validation", "test", None, "training")
"""The parts of the data, those by which runs are judged first."""
_CENTRAL_WORDS = 2


@lru_cache(maxsize=_NAMES_REMEMBERED)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case."""
    return tuple(word for word in _WORD_BREAK.split(name.lower()) if word)


@lru_cache(maxsize=_NAMES_REMEMBERED)
def _meaning(name: str) -> str | None:
    """Return the meaning of the last known word of a name."""
    found = None
    for found in _KNOWN.finditer(" ".join(words_of(name))):  # noqa: B007 - the last one counts
        pass
    return None if found is None else found.lastgroup


def better_end(name: str) -> Direction | None:
    """Return the better end of a metric as far as its name says it, times and speeds included."""
    return _DIRECTIONS.get(_meaning(name) or "")


def outcome_end(name: str) -> Direction | None:
    """Return the better end of an outcome; None for any other metric, times and speeds included."""
    meaning = _meaning(name)
    return _DIRECTIONS[meaning] if meaning in ("less", "more") else None


@lru_cache(maxsize=_NAMES_REMEMBERED)
def role_of(name: str) -> Role | None:
    """Return what a metric is judged as by the health flags; None if it is not judged."""
    words = " ".join(words_of(name))
    for role, pattern, exceptions in _ROLES:
        if pattern.search(words):
            return None if exceptions.search(words) else role
    match _meaning(name):
        case "speed":
            return "speed"
        case "less" if not _STEERING.search(words):
            return "loss"
        case "more" if not _NO_SCORE.search(words):
            return "score"
        case _:
            return None


@lru_cache(maxsize=_NAMES_REMEMBERED)
def split_of(name: str) -> Split | None:
    """Return the part of the data that the name of a metric mentions; held-out data count before training."""
    words = set(words_of(name))
    if words & _HELD_OUT:
        return "test" if words.isdisjoint(VALIDATION_WORDS) else "validation"
    return None if words.isdisjoint(_TRAINING) else "training"


def is_held_out(name: str) -> bool:
    """Whether a metric is of validation or test data."""
    return split_of(name) in ("validation", "test")


@lru_cache(maxsize=64)  # thousands of runs have the same metrics
def training_partners(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return for each metric on held-out data the first one that is the same on training data, if any is.

    `train/loss` is the partner of `val/loss`, and `loss` that of `val_loss`.
    """
    training: dict[tuple[str, ...], str] = {}
    for name in names:
        if not is_held_out(name):
            training.setdefault(tuple(word for word in words_of(name) if word not in _TRAINING), name)
    partners = {
        name: training.get(tuple(word for word in words_of(name) if word not in _HELD_OUT))
        for name in names
        if is_held_out(name)
    }
    return {name: partner for name, partner in partners.items() if partner is not None}


def importance(name: str) -> tuple[bool, int, int]:
    """Return a key that sorts names by what most people look for: outcomes first, the others after them.

    Of outcomes, those with at most two words (`val/loss`) come before those of parts (`val/arxiv/loss`), and
    validation before test and training data.
    """
    if outcome_end(name) is None:
        return True, 0, 0
    return False, len(words_of(name)) > _CENTRAL_WORDS, _SPLITS.index(split_of(name))


def deciding_metric(names: Iterable[str]) -> str | None:
    """Return the outcome by which runs are most likely to be ranked.

    Validation is preferred to test data, these to metrics that do not say, and those to training; then a
    metric of which more is better to a loss; then the earlier name.
    """
    outcomes = [name for name in names if outcome_end(name)]
    return min(
        outcomes, key=lambda name: (_SPLITS.index(split_of(name)), outcome_end(name) == "min"), default=None
    )


def shown_order(name: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Return the order in which charts are shown: outcomes on held-out data, other outcomes, then the rest.

    Names that differ only in numbers are in the order of these: `layer_2` comes before `layer_10`.
    """
    rank = 2 if outcome_end(name) is None else 1 - is_held_out(name)
    parts = _NUMBER.split(name)
    numbers = [int(part) for part in parts[1::2]]
    return rank, tuple(zip(parts[::2], [*numbers, -1], strict=True))
