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
from collections.abc import Collection, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from pull_logs.analyze.questions.grouping.value_columns import ABSENT, ValueColumns
from pull_logs.analyze.questions.grouping.values import CONFIG, Values
from pull_logs.analyze.questions.run_values import METADATA
from pull_logs.errors import NotFoundError, UsageError
from pull_logs.frames import PlainNames, RunLike, plain_key
from pull_logs.rows.canonical import spell
from pull_logs.suggestions import did_you_mean, listed

_ALL_BUT = "all-but:"
_LIST_HINT = "write names with commas between them, as in --group-by all-but:seed,out_dir"
_METADATA_WORD = METADATA.rstrip(".")
"""What is in every word that means a key of metadata, however it is spelled."""
_COMMA = re.compile(",(?=[^`]*(?:`[^`]*`[^`]*)*$)")
"""A comma outside of backticks."""
_SEED = re.compile(r"(.*[_-])?(seed|random[_-]?state)", re.IGNORECASE)

Runs: TypeAlias = ValueColumns | Sequence[Values]
"""The values of runs that they are grouped by, as columns or one by one."""


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
    def settle(cls, runs: Runs, texts: Sequence[str], *, seed_names: Sequence[str] = ()) -> Grouping:
        """Find the names that the user means.

        Args:
            runs: The values of each run.
            texts: The values of `--group-by`: names, and `all-but:` with names separated by commas.
            seed_names: The values of `--seed`.

        Raises:
            NotFoundError: No run has such a name.
            UsageError: Several names fit, or one is empty.
        """
        columns = ValueColumns.of(runs)
        words = [*texts, *seed_names]
        if not any(_METADATA_WORD in word for word in words):
            with suppress(NotFoundError, UsageError):  # it is raised again, with the names of metadata
                return cls._settle(columns, columns.names_without_metadata, texts, seed_names)
        return cls._settle(columns, columns.names, texts, seed_names)

    @classmethod
    def _settle(
        cls, columns: ValueColumns, names: Sequence[str], texts: Sequence[str], seed_names: Sequence[str]
    ) -> Grouping:
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
            by += [name for name in config if _differs(columns.codes(name))]
        by = list(dict.fromkeys(by))
        found = seeds or _seeds_of(columns, by, left_out) or [name for name in names if is_seed(name)]
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

    def groups(self, runs: Runs) -> list[list[int]]:
        """Return the indices of the runs of each group, the groups in the order of their values."""
        columns = ValueColumns.of(runs)
        return sorted(
            _members(columns, self.by),
            key=lambda members: [_order(columns, name, members[0]) for name in self.by],
        )

    def seeds_of(self, runs: Runs) -> list[Hashable | None]:
        """Return what distinguishes each run within its group; None for a run that has none of the keys."""
        columns = ValueColumns.of(runs)
        if not self.seeds:
            return [None] * len(columns)
        found = zip(*(columns.codes(name) for name in self.seeds), strict=True)
        return [None if max(codes) == ABSENT else codes for codes in found]

    def common_values(self, runs: Runs, index: int) -> dict[str, Any]:
        """Return the values that make the group of a run; a key that it does not have is left out."""
        columns = ValueColumns.of(runs)
        return {name: spell(columns.value(name, index)) for name in self.by if columns.has(name, index)}

    def confounders(self, runs: Runs, groups: Sequence[Sequence[int]]) -> list[str]:
        """Return the config keys that differ within some group and are not to be looked past.

        These are neither seeds nor left out, and do not follow the seed one-to-one.
        """
        columns = ValueColumns.of(runs)
        known = {*self.by, *self.seeds, *self.left_out, *self.followers(columns)}
        names = [name for name in columns.config_names if name not in known]
        return [name for name in names if any(_differs(_taken(columns, name, group)) for group in groups)]

    def followers(self, runs: Runs) -> list[str]:
        """Return the config keys that differ and follow the seed one-to-one in all runs."""
        if not self.seeds:
            return []
        columns = ValueColumns.of(runs)
        seeds = list(zip(*(columns.codes(name) for name in self.seeds), strict=True))
        count = len(set(seeds))

        def follows(name: str) -> bool:
            codes = columns.codes(name)
            return len(set(codes)) == count == len(set(zip(seeds, codes, strict=True)))

        names = (name for name in columns.config_names if name not in self.seeds)
        return list(filter(follows, names)) if count > 1 else []

    def suggestion(self, runs: Runs) -> str | None:
        """Return the `--group-by` that groups by all settings; None if every group were a single run.

        Seeds, the keys that follow them, and those with another value in every run are left out.
        """
        columns = ValueColumns.of(runs)
        names = columns.config_names
        unique = unique_names(columns, names)
        left_out = dict.fromkeys([*self.seeds, *self.left_out, *unique, *self.followers(columns)])
        by = [name for name in names if name not in left_out and _differs(columns.codes(name))]
        if not left_out or len(_members(columns, by)) == len(columns):
            return None
        return _ALL_BUT + ",".join(_as_item(name.removeprefix(CONFIG)) for name in left_out)


def settle_names(runs: Runs, words: Sequence[str], *, option: str) -> tuple[str, ...]:
    """Return the names that the values of an option mean.

    Raises:
        NotFoundError: No run has such a name.
        UsageError: Several names fit, or one is empty.
    """
    if not words:
        return ()
    names = ValueColumns.of(runs).names
    return tuple(dict.fromkeys(_one(word, names, option=option) for word in words))


def suggest_grouping(runs: Sequence[RunLike], seeds: Sequence[str]) -> str | None:
    """Return the `--group-by` that groups runs by their settings; None if every group were a single run.

    Args:
        runs: The runs.
        seeds: The config keys that are named like a seed and differ.
    """
    columns = ValueColumns.of_configs(runs)
    grouping = Grouping.settle(columns, [f"{_ALL_BUT}{','.join(seeds)}"])
    single = len(grouping.groups(columns)) == len(columns)
    return grouping.suggestion(columns) if single else grouping.words[0]


def unique_names(columns: ValueColumns, names: Iterable[str]) -> list[str]:
    """Return those of the names that have another value in every run."""
    return [name for name in names if len(set(columns.codes(name))) == len(columns) > 1]


def _differs(codes: Sequence[int]) -> bool:
    return len(codes) > 1 and codes.count(codes[0]) != len(codes)


def _taken(columns: ValueColumns, name: str, members: Sequence[int]) -> list[int]:
    return list(map(columns.codes(name).__getitem__, members))


def _members(columns: ValueColumns, by: Sequence[str]) -> list[list[int]]:
    """Return the indices of the runs that have the same values of these names."""
    if not by:
        return [list(range(len(columns)))] if len(columns) else []
    found: dict[tuple[int, ...], list[int]] = {}
    for index, codes in enumerate(zip(*map(columns.codes, by), strict=True)):
        found.setdefault(codes, []).append(index)
    return list(found.values())


def _seeds_of(columns: ValueColumns, by: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """Return the seeds among the keys that are left out of the groups: those named like one.

    If none is, it is the first key that is different in all runs of every group, of those whose values occur
    in several groups; a folder or a job id, which is another one in every run, pairs nothing.
    """
    named = [name for name in left_out if is_seed(name)]
    if named or len(left_out) < 2:
        return named or list(left_out)
    groups = _members(columns, by)

    def recurs(name: str) -> bool:
        found = [set(_taken(columns, name, group)) for group in groups]
        return len(set().union(*found)) < sum(map(len, found))

    recurring = list(filter(recurs, left_out)) or list(left_out)
    for name in recurring:
        if all(len(set(_taken(columns, name, group))) == len(group) for group in groups):
            return [name]
    return recurring


def _as_item(key: str) -> str:
    return f"`{key}`" if "," in key else key


def _order(columns: ValueColumns, name: str, index: int) -> tuple[int, float, str]:
    """Return a sort key: numbers by size, then other values by their text, then missing ones."""
    if not columns.has(name, index):
        return 2, 0.0, ""
    value = columns.value(name, index)
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
            from pull_logs.analyze.expressions import several_spellings

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
        from pull_logs.analyze.expressions import NO_METADATA

        return NotFoundError(f"{what}: no run has metadata", hint=NO_METADATA)
    name = word if word.startswith((CONFIG, METADATA)) else CONFIG + word
    hint = did_you_mean(name, names, otherwise="the runs have no config", cutoff=0)
    return NotFoundError(f"{what}: no run has {word!r}", hint=hint)
