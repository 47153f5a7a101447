"""Groups of runs: by a config key, or by everything that differs except the seed.

    config.lr        the runs with the same `config.lr` (`lr` is enough if no field of a run has that name)
    metadata.gpu     the runs with the same GPU
    all-but:seed     the runs whose configs are the same except for `seed` (or any key that ends in `.seed`)

Values are compared with their kinds: `1` is neither `"1"` nor `true`, and an absent key is not null. The seed
distinguishes the runs of a group: the keys that the user names, or those of `all-but:` with a name like
`seed` (if there are none, one that is different in all runs of every group), or else any key with such a
name. A key with a dot in it is found as it is written where no nested key has that spelling; a name in
backticks means exactly that key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.analyze.expressions import NO_METADATA, several_spellings
from pull_logs.analyze.questions.run_values import METADATA
from pull_logs.errors import NotFoundError, UsageError
from pull_logs.frames import PlainNames, RunLike, flatten, plain_key
from pull_logs.rows.canonical import canon_record, spell
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo
from pull_logs.suggestions import did_you_mean, listed

CONFIG = "config."
_ALL_BUT = "all-but:"
_LIST_HINT = "write names with commas between them, as in --group-by all-but:seed,out_dir"
_COMMA = re.compile(",(?=[^`]*(?:`[^`]*`[^`]*)*$)")
"""A comma outside of backticks."""
_SEED = re.compile(r"(.*[_-])?(seed|random[_-]?state)", re.IGNORECASE)

_FIELDS: Mapping[str, Callable[[object], Any]] = {
    field.name: field.reader for field in RUN_FIELDS if field.grouped
}
"""The fields of a run, besides its config, that runs can be grouped by."""

Values = Mapping[str, Any]
"""The canonical values of a run, by `config.KEY`, `metadata.KEY` or the name of a field."""


def values_of(run: RunInfo | RunLike) -> dict[str, Any]:
    """Return the values that a run can be grouped by.

    Args:
        run: A run, of which only these values are parsed, or its record.
    """
    metadata = flatten(canon_record(run.metadata))
    return {
        **{name: read(run) for name, read in _FIELDS.items()},
        "tags": sorted(run.tags),
        **{f"{METADATA}{key}": value for key, value in metadata.items()},
        **config_values(run),
    }


def config_values(run: RunInfo | RunLike) -> dict[str, Any]:
    """Return those of the values that a run can be grouped by that are of its config."""
    return {f"{CONFIG}{key}": value for key, value in flatten(canon_record(run.config)).items()}


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
    return [name for name in names if _differs(runs, name)]


def _differs(runs: Sequence[Values], name: str) -> bool:
    """Whether the value is not the same in all runs; mostly the first few show that it is not."""
    first = identity_in(runs[0], name) if runs else _ABSENT
    return any(identity_in(values, name) != first for values in runs)


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
        left_out: The names that `all-but:` lists, seeds or not.
        words: How the user wrote it.
    """

    by: tuple[str, ...]
    seeds: tuple[str, ...]
    left_out: tuple[str, ...]
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
            NotFoundError: No run has such a name.
            UsageError: Several names fit, or one is empty.
        """
        names = all_names(runs)
        seeds = [_one(name, names, option="--seed") for name in seed_names]
        by: list[str] = []
        left_out: list[str] = []
        for text in texts:
            if text.startswith(_ALL_BUT):
                for word in _COMMA.split(text.removeprefix(_ALL_BUT)):
                    left_out += _every(word.strip(), names, text)
            else:
                by.append(_one(text, names, option="--group-by"))
        if any(text.startswith(_ALL_BUT) for text in texts):
            config = [name for name in names if name.startswith(CONFIG) and name not in {*left_out, *seeds}]
            by += differing_names(runs, config)
        by = list(dict.fromkeys(by))
        found = seeds or _seeds_of(runs, by, left_out) or [name for name in names if is_seed(name)]
        return cls(
            by=tuple(by),
            seeds=tuple(name for name in dict.fromkeys(found) if name not in by),
            left_out=tuple(dict.fromkeys(left_out)),
            words=tuple(texts),
        )

    def without(self, name: str) -> Grouping:
        """Return the same, with a name whose values do not matter: neither for groups nor as a seed."""
        return Grouping(
            by=tuple(other for other in self.by if other != name),
            seeds=tuple(other for other in self.seeds if other != name),
            left_out=tuple(dict.fromkeys([*self.left_out, name])),
            words=self.words,
        )

    def groups(self, runs: Sequence[Values]) -> list[list[int]]:
        """Return the indices of the runs of each group, the groups in the order of their values."""
        return sorted(
            _members(runs, self.by), key=lambda members: [_order(runs[members[0]], name) for name in self.by]
        )

    def seed_of(self, values: Values) -> Hashable | None:
        """Return what distinguishes a run within its group; None if it has none of the keys."""
        found = [identity_in(values, name) for name in self.seeds]
        return None if all(item is _ABSENT for item in found) else tuple(found)

    def common_values(self, values: Values) -> dict[str, Any]:
        """Return the values that make the group of a run; a key that it does not have is left out."""
        return {name: spell(values[name]) for name in self.by if name in values}

    def confounders(self, runs: Sequence[Values], groups: Sequence[Sequence[int]]) -> list[str]:
        """Return the config keys that differ within some group and are not to be looked past.

        These are neither seeds nor left out, and do not follow the seed one-to-one.
        """
        known = {*self.by, *self.seeds, *self.left_out, *self.followers(runs)}
        names = [name for name in all_names(runs) if name.startswith(CONFIG) and name not in known]
        mixed = [[runs[index] for index in members] for members in groups if len(members) > 1]
        return sorted({name for group in mixed for name in differing_names(group, names)})

    def followers(self, runs: Sequence[Values]) -> list[str]:
        """Return the config keys that differ and follow the seed one-to-one in all runs."""
        if not self.seeds:
            return []
        seeds = [tuple(identity_in(values, name) for name in self.seeds) for values in runs]
        count = len(set(seeds))

        def follows(name: str) -> bool:
            found = [identity_in(values, name) for values in runs]
            return len(set(found)) == count == len(set(zip(seeds, found, strict=True)))

        names = (name for name in all_names(runs) if name.startswith(CONFIG) and name not in self.seeds)
        return list(filter(follows, names)) if count > 1 else []

    def suggestion(self, runs: Sequence[Values]) -> str | None:
        """Return the `--group-by` that groups by all settings; None if every group were a single run.

        Seeds, the keys that follow them, and those with another value in every run are left out.
        """
        names = [name for name in all_names(runs) if name.startswith(CONFIG)]
        unique = unique_names(runs, names)
        left_out = dict.fromkeys([*self.seeds, *self.left_out, *unique, *self.followers(runs)])
        by = [name for name in differing_names(runs, names) if name not in left_out]
        if not left_out or len(_members(runs, by)) == len(runs):
            return None
        return _ALL_BUT + ",".join(_as_item(name.removeprefix(CONFIG)) for name in left_out)


def settle_names(runs: Sequence[Values], words: Sequence[str], *, option: str) -> tuple[str, ...]:
    """Return the names that the values of an option mean.

    Raises:
        NotFoundError: No run has such a name.
        UsageError: Several names fit, or one is empty.
    """
    names = all_names(runs)
    return tuple(dict.fromkeys(_one(word, names, option=option) for word in words))


def unique_names(runs: Sequence[Values], names: Iterable[str]) -> list[str]:
    """Return those of the names that have another value in every run."""
    return [name for name in names if len({identity_in(values, name) for values in runs}) == len(runs) > 1]


def _members(runs: Sequence[Values], by: Sequence[str]) -> list[list[int]]:
    """Return the indices of the runs that have the same values of these names."""
    found: dict[tuple[Hashable, ...], list[int]] = {}
    for index, values in enumerate(runs):
        found.setdefault(tuple(identity_in(values, name) for name in by), []).append(index)
    return list(found.values())


def _seeds_of(runs: Sequence[Values], by: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """Return the seeds among the keys that are left out of the groups: those named like one.

    If none is, it is the first key that is different in all runs of every group, of those whose values occur
    in several groups; a folder or a job id, which is another one in every run, pairs nothing.
    """
    named = [name for name in left_out if is_seed(name)]
    if named or len(left_out) < 2:
        return named or list(left_out)
    groups = [[runs[index] for index in members] for members in _members(runs, by)]

    def values_in(group: Sequence[Values], name: str) -> set[Hashable]:
        return {identity_in(values, name) for values in group}

    def recurs(name: str) -> bool:
        found = [values_in(group, name) for group in groups]
        return len(set().union(*found)) < sum(map(len, found))

    recurring = list(filter(recurs, left_out)) or list(left_out)
    for name in recurring:
        if all(len(values_in(group, name)) == len(group) for group in groups):
            return [name]
    return recurring


def _as_item(key: str) -> str:
    return f"`{key}`" if "," in key else key


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
    return name.startswith(CONFIG) and bool(_SEED.fullmatch(_last_key(name)))


def _last_key(name: str) -> str:
    return plain_key(name).rpartition(".")[2]


def _matches(word: str, names: Collection[str], *, option: str) -> list[str]:
    """Return the names that a word may mean: itself, the config key of that name, or keys that end in it.

    Raises:
        UsageError: It is empty, or it is both nested keys and a key with a dot.
    """
    if not word:
        raise UsageError(f"{option}: a name is empty", hint=_LIST_HINT)
    quoted = word.startswith("`") and word.endswith("`") and len(word) > 1
    text = word[1:-1] if quoted else word
    plain = PlainNames(names)
    for complete in (text, CONFIG + text):
        found = plain.meant_by(complete)
        if found and (len(found) == 1 or ((quoted or "\\" in text) and found[0] == complete)):
            return found[:1]
        if found:
            raise UsageError(
                f"{option}: {several_spellings(text, found, what='config key')}",
                hint="write one of them, with its backticks and in single quotes",
            )
    return [] if quoted else [name for name in names if name.startswith(CONFIG) and _last_key(name) == text]


def _every(word: str, names: Collection[str], text: str) -> list[str]:
    option = f"--group-by {text!r}"
    found = _matches(word, names, option=option)
    if not found:
        raise _unknown(option, word, names)
    return found


def _one(word: str, names: Collection[str], *, option: str) -> str:
    found = _matches(word, names, option=f"{option} {word!r}")
    if not found and "," in word:
        flags = " ".join(f"{option} {part.strip()}" for part in word.split(","))
        lists = " (only all-but: takes a list)" if option == "--group-by" else ""
        raise UsageError(f"{option} {word!r}: {option} takes one name{lists}", hint=f"write: {flags}")
    if not found:
        raise _unknown(f"{option} {word!r}", word, names)
    if len(found) > 1:
        raise UsageError(f"{option} {word!r} may be any of {listed(found)}", hint="write the complete name")
    return found[0]


def _unknown(what: str, word: str, names: Collection[str]) -> NotFoundError:
    if word.startswith(METADATA) and not any(name.startswith(METADATA) for name in names):
        return NotFoundError(f"{what}: no run has metadata", hint=NO_METADATA)
    name = word if word.startswith((CONFIG, METADATA)) else CONFIG + word
    hint = did_you_mean(name, names, otherwise="the runs have no config", cutoff=0)
    return NotFoundError(f"{what}: no run has {word!r}", hint=hint)
