"""The step and epoch in the name of a checkpoint, where nothing in it has them.

A name is a guess, so only complete, known patterns count, such as `epoch=3-step=1200.ckpt` or `step_100k.pt`.
Numbers that mean something else are left alone: `warmup_steps_50`, `steps_per_epoch_500`, `seed_3`, `4step`,
`100k`. The name of a folder counts only if the pattern is all of it: `global_step500`, `checkpoint-500`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pull_logs.sources.checkpoints.run_keys import Progress

BY_NAME = "name"
"""The key of a step or an epoch that only a name contains."""

_SUFFIXES = re.compile(r"(?:\.(?:pt|pth|ckpt|safetensors|bin|tar|pkl|index|json|distcp))+$", re.IGNORECASE)
_NUMBER = r"(?P<number>\d{1,18}(?:\.\d{1,3}(?=k))?)(?P<unit>k?)"
_FIELD = re.compile(
    r"(?<![a-z])(?P<word>(?:global|update|train|optimizer)?[-_]?(?:step|iteration|iter)s?|epochs?|ep)[-_=]?"
    rf"{_NUMBER}(?![\da-z]|\.\d)",
    re.IGNORECASE,
)
"""A word and a number, as in `global_step500`, `epoch=3`, `iter_0100000`, `step_1.5k`."""

_NUMBER_FIRST = re.compile(
    rf"(?:\w+_)?(?:model|checkpoint|ckpt|weights)[-_]{_NUMBER}[-_](?:steps?|iters?|iterations?)",
    re.IGNORECASE,
)
"""The callback of Stable-Baselines3 and others: `rl_model_10000_steps`."""

_TRAINER = re.compile(
    rf"checkpoint-{_NUMBER}|ckpt[-_](?P<thousands>\d{{1,15}}(?:\.\d{{1,3}})?)k", re.IGNORECASE
)
"""The `Trainer`'s name, and one that only steps have; other numbers after `ckpt` count checkpoints."""

_BEFORE_PLURAL = frozenset({"checkpoint", "ckpt", "model", "weights", "state", "after", "at"})
"""The words before a plural that does not count something else: `model_steps_500`, not `warmup_steps_500`."""

_QUALIFIERS = frozenset(
    """
    accum accumulation anneal backward burn ddim ddpm decay diffusion discriminator each eval every
    freeze gamma generator grad inference inner log logging lr max min multi n noise num per sample
    sampling save scheduler size stop time total unfreeze val validation warm warmup window
    """.split()  # noqa: SIM905 - a list of forty quoted words is hard to read
)
"""The words before `step` or `epoch` that make it a setting: `max_step_100`, `lr_step_30`."""

_OTHER_UNIT = re.compile(r"[-_ ]?(?:tokens?|samples?|images?|per|of)(?![a-z])", re.IGNORECASE)
_LAST_WORD = re.compile(r"([a-z]+)[-_=. ]*$", re.IGNORECASE)
_INNER_FOLDER = re.compile(r"mp_rank_\d+(?:_\d+)*|pretrained_model|checkpoint|model|adapter|weights")
"""Folders inside the one that is named after the step: `iter_0100000/mp_rank_00/model_optim_rng.pt`."""


@dataclass(frozen=True, slots=True)
class _Name:
    """The step and epoch of one name.

    Attributes:
        step: The step.
        epoch: The epoch.
        sure: Whether the name calls the step a step; `checkpoint-2` may also be named after an epoch.
        complete: Whether the name is nothing but the pattern.
    """

    step: int | None = None
    epoch: int | None = None
    sure: bool = True
    complete: bool = False


def progress_by_name(path: Path, known: Progress) -> Progress:
    """Return the step and epoch in the name of a checkpoint or of its folder.

    Args:
        path: The checkpoint, a file or a folder.
        known: What the checkpoint itself contains. A number in `checkpoint-2.pth` that may be its epoch, or
            the one after it, is not taken for a step.
    """
    step: int | None = None
    epoch: float | None = None
    for name in _names(path):
        if step is None and name.step is not None:
            may_be_epoch = known.epoch is not None and abs(name.step - known.epoch) <= 1
            step = name.step if name.sure or not may_be_epoch else None
        if epoch is None:
            epoch = name.epoch
    return Progress(step, epoch, BY_NAME if step is not None else "", BY_NAME if epoch is not None else "")


def _names(path: Path) -> Iterator[_Name]:
    yield _parsed(path.name)
    folder = path.absolute().parent
    if _INNER_FOLDER.fullmatch(folder.name):
        folder = folder.parent
    parsed = _parsed(folder.name)
    if parsed.complete:
        yield parsed


def _parsed(name: str) -> _Name:
    stem = _SUFFIXES.sub("", name)
    if found := _NUMBER_FIRST.fullmatch(stem):
        return _Name(_count(found["number"], found["unit"]), complete=True)
    if found := _TRAINER.fullmatch(stem):
        if found["thousands"]:
            return _Name(_count(found["thousands"], "k"), complete=True)
        return _Name(_count(found["number"], found["unit"]), sure=bool(found["unit"]), complete=True)
    numbers: dict[bool, int] = {}
    rest, singular = stem, True
    for field in _FIELD.finditer(stem):
        count = _count(field["number"], field["unit"])
        if count is None or not _is_progress(stem, field):
            continue
        rest = rest.replace(field[0], "", 1)
        singular = singular and not field["word"].lower().endswith("s")
        numbers.setdefault(field["word"].lower().startswith("ep"), count)
    complete = bool(numbers) and singular and not rest.strip("-_=,. ")
    return _Name(numbers.get(False), numbers.get(True), complete=complete)


def _is_progress(stem: str, field: re.Match[str]) -> bool:
    """Return whether a field says how far the training is, and not how something is set."""
    before = _LAST_WORD.search(stem[: field.start()])
    word = before[1].lower() if before else ""
    if _OTHER_UNIT.match(stem, field.end()):
        return False
    if field["word"].lower().endswith("s") and word:
        return word in _BEFORE_PLURAL
    return word not in _QUALIFIERS


def _count(number: str, unit: str) -> int | None:
    count = Decimal(number) * (1000 if unit else 1)
    return int(count) if count == int(count) and count < 2**63 else None
