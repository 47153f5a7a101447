"""Groups of runs: by a config key, or by everything that differs except the seed.

    config.lr        the runs with the same `config.lr` (`lr` is enough if no field of a run has that name)
    all-but:seed     the runs whose configs are the same except for `seed` (or any key that ends in `.seed`)

Values are compared with their kinds: `1` is neither `"1"` nor `true`, and an absent key is not null. The seed
distinguishes the runs of a group: the keys of `all-but:`, those that the user names, or those with a name
like `seed`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import UsageError
from pull_logs.frames import flatten, split_path
from pull_logs.rows.canonical import canon_record, spell
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo
from pull_logs.suggestions import did_you_mean, listed

CONFIG = "config."
_ALL_BUT = "all-but:"
_SEED = re.compile(r"(.*[_-])?(seed|random[_-]?state)", re.IGNORECASE)

_FIELDS: Mapping[str, Callable[[object], Any]] = {
    field.name: field.reader for field in RUN_FIELDS if field.grouped
}
"""The fields of a run, besides its config, that runs can be grouped by."""

Values = Mapping[str, Any]
"""The canonical values of a run, by `config.KEY` or the name of a field."""


def values_of(info: RunInfo) -> dict[str, Any]:
    """Return the values that a run can be grouped by."""
    config = flatten(canon_record(info.config))
    return {
        **{name: read(info) for name, read in _FIELDS.items()},
        "tags": sorted(info.tags),
        **{f"{CONFIG}{key}": value for key, value in config.items()},
    }


def identity(value: Any) -> Hashable:
    """Return a key that is equal exactly where the canonical values are the same."""
    if isinstance(value, (list, dict)) or value != value:
        return json.dumps(value, sort_keys=True), "json"
    return value, type(value).__name__


_ABSENT: Hashable = ("", "absent")


def identity_in(values: Values, name: str) -> Hashable:
    """Return the identity of a run's value, or that of an absent one."""
    return identity(values[name]) if name in values else _ABSENT


def differing_names(runs: Sequence[Values], names: Iterable[str]) -> list[str]:
    """Return those of the names whose values are not the same in all runs."""
    return [name for name in names if len({identity_in(values, name) for values in runs}) > 1]


def all_names(runs: Sequence[Values]) -> list[str]:
    """Return the names of all runs: fields first, then config keys, each in order."""
    return sorted(
        {name for values in runs for name in values}, key=lambda name: (name.startswith(CONFIG), name)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How runs are grouped.

    Attributes:
        by: The names whose values the runs of a group have in common.
        seeds: The names whose values distinguish the runs of a group.
        words: How the user wrote it.
    """

    by: tuple[str, ...]
    seeds: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def settle(
        cls, runs: Sequence[Values], texts: Sequence[str], *, seed_names: Sequence[str] = ()
    ) -> Grouping:
        """Find the names that the user means.

        Args:
            runs: The values of each run.
            texts: The values of `--group-by`: names, and `all-but:` with names separated by commas.
            seed_names: The values of `--seed`.

        Raises:
            UsageError: No run has such a name, or several fit.
        """
        names = all_names(runs)
        seeds = [_one(name, names, option="--seed") for name in seed_names]
        by: list[str] = []
        left_out: list[str] = []
        for text in texts:
            if text.startswith(_ALL_BUT):
                for word in text.removeprefix(_ALL_BUT).split(","):
                    left_out += _every(word.strip(), names, text)
            else:
                by.append(_one(text, names, option="--group-by"))
        if any(text.startswith(_ALL_BUT) for text in texts):
            config = [name for name in names if name.startswith(CONFIG) and name not in {*left_out, *seeds}]
            by += differing_names(runs, config)
        by = list(dict.fromkeys(by))
        found = seeds or left_out or [name for name in names if is_seed(name)]
        return cls(
            by=tuple(by),
            seeds=tuple(name for name in dict.fromkeys(found) if name not in by),
            words=tuple(texts),
        )

    def groups(self, runs: Sequence[Values]) -> list[list[int]]:
        """Return the indices of the runs of each group, the groups in the order of their values."""
        found: dict[tuple[Hashable, ...], list[int]] = {}
        for index, values in enumerate(runs):
            found.setdefault(tuple(identity_in(values, name) for name in self.by), []).append(index)
        return sorted(
            found.values(), key=lambda members: [_order(runs[members[0]], name) for name in self.by]
        )

    def seed_of(self, values: Values) -> Hashable | None:
        """Return what distinguishes a run within its group; None if it has none of the keys."""
        found = [identity_in(values, name) for name in self.seeds]
        return None if all(item is _ABSENT for item in found) else tuple(found)

    def common_values(self, values: Values) -> dict[str, Any]:
        """Return the values that make the group of a run; a key that it does not have is left out."""
        return {name: spell(values[name]) for name in self.by if name in values}

    def confounders(self, runs: Sequence[Values], groups: Sequence[Sequence[int]]) -> list[str]:
        """Return the config keys that differ within some group although they are not seeds."""
        names = [
            name
            for name in all_names(runs)
            if name.startswith(CONFIG) and name not in self.by and name not in self.seeds
        ]
        mixed = [[runs[index] for index in members] for members in groups if len(members) > 1]
        return sorted({name for group in mixed for name in differing_names(group, names)})

    def unique_keys(self, runs: Sequence[Values]) -> list[str]:
        """Return those of the grouping names that have another value in every run."""
        return [name for name in self.by if len({identity_in(values, name) for values in runs}) == len(runs)]


def _order(values: Values, name: str) -> tuple[int, float, str]:
    """Return a sort key: numbers by size, then other values by their text, then missing ones."""
    if name not in values:
        return 2, 0.0, ""
    value = values[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        try:
            return 0, float(value), ""
        except OverflowError:
            return 0, float("inf") if value > 0 else float("-inf"), ""
    return 1, 0.0, json.dumps(value, sort_keys=True)


def is_seed(name: str) -> bool:
    """Whether a config key has a name like a seed: `seed`, `data_seed`, `random_state`."""
    return name.startswith(CONFIG) and bool(_SEED.fullmatch(split_path(name)[-1]))


def _matches(word: str, names: Collection[str]) -> list[str]:
    """Return the names that a word may mean: itself, the config key of that name, or keys that end in it."""
    for exact in (word, CONFIG + word):
        if exact in names:
            return [exact]
    return [name for name in names if name.startswith(CONFIG) and split_path(name)[-1] == word]


def _every(word: str, names: Collection[str], text: str) -> list[str]:
    found = _matches(word, names)
    if not found:
        raise _unknown(f"--group-by {text!r}", word, names)
    return found


def _one(word: str, names: Collection[str], *, option: str) -> str:
    found = _matches(word, names)
    if not found:
        raise _unknown(f"{option} {word!r}", word, names)
    if len(found) > 1:
        raise UsageError(f"{option} {word!r} may be any of {listed(found)}", hint="write the complete name")
    return found[0]


def _unknown(what: str, word: str, names: Collection[str]) -> UsageError:
    name = word if word.startswith(CONFIG) else CONFIG + word
    hint = did_you_mean(name, names, otherwise="the runs have no config", cutoff=0)
    return UsageError(f"{what}: no run has {word!r}", hint=hint)
