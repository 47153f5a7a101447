"""Answers in which metric families are one entry each, and what matters most comes first.

A run of a language model logs some thousand metrics, most of which differ only in a number (see
`pull_logs.analyze.questions.families`). An answer that lists them shows nothing else. Here the entries of a
family become one: its pattern, the number of its members, and the range of their values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from pull_logs.analyze.answers.indexed import IndexedSchema, joined_type, middle_interval, schema_names
from pull_logs.analyze.answers.readings import RunStatistics
from pull_logs.analyze.questions import Family, families_by_member
from pull_logs.analyze.results import FAMILY, ColumnResult
from pull_logs.analyze.statistics import importance
from pull_logs.rows.canonical import STEP

AnswerT = TypeVar("AnswerT", bound=Mapping[str, Any])

Entry: TypeAlias = Mapping[str, Any]
_Order: TypeAlias = Sequence[tuple[Family | None, Sequence[int]]]
_Join: TypeAlias = Callable[[Family, Sequence[Entry]], dict[str, Any]]


def arrange(answer: AnswerT, *, unfold: bool) -> AnswerT:
    """Return an answer with its families folded and its metrics in the order of their importance.

    Args:
        answer: The answer of a view, a comparison or an overview.
        unfold: Leave the families as they are.
    """
    folding = _Folding(unfold)
    found: dict[str, Any] = dict(answer)
    for name, fold in _LISTS.items():
        if name in answer:
            found[name] = fold(folding, answer[name])
    for name, compared in _RECORDS.items():
        if isinstance(answer.get(name), Mapping):
            apart = {entry["key"] for entry in answer.get(compared, ())}
            found[name] = folding.records(answer[name], apart=apart)
            if name == "summary":
                found[name] = {run: _in_order(record) for run, record in found[name].items()}
        elif name in answer:
            found[name] = folding.config_values(answer[name])
    if folding.found:
        found["notes"] = [*answer["notes"], _note(folding.found)]
    ranking = answer.get("ranking")
    for name in ("comparison", "group_stats"):
        if ranking and name in found:
            first = ranking[0]["metric"]
            found[name] = sorted(found[name], key=lambda entry: _name(entry) != first)
    return found  # type: ignore[return-value]  # the members of an answer keep their types


def join_columns(name: str, entries: Sequence[Entry]) -> ColumnResult:
    """Return one entry of a schema for several: counts are summed, ranges and steps combined."""

    def present(field: str) -> list[Any]:
        return [entry[field] for entry in entries if entry[field] is not None]

    return {
        "name": name,
        "type": joined_type(present("type")),
        "count": sum(present("count")),
        "missing": sum(present("missing")),
        "nonfinite": sum(present("nonfinite")),
        "min": min(present("min"), default=None),
        "max": max(present("max"), default=None),
        "first_step": min(present("first_step"), default=None),
        "last_step": max(present("last_step"), default=None),
        "interval": middle_interval(present("interval")),
    }


def _note(families: Mapping[str, Family]) -> str:
    first = min(families.values(), key=lambda family: (-len(family.members), family.pattern))
    return (
        f"names that differ only in numbers are one row, such as the {len(first.members)} of "
        f"{first.pattern}; --select REGEX or --unfold shows each"
    )


def _name(entry: Entry) -> str:
    name: str = entry["name"] if "name" in entry else entry.get("metric", entry.get("key"))
    return name


@lru_cache(maxsize=8192)  # thousands of runs have the same names
def rank_of(name: str, *, family: bool, rare: bool = False) -> tuple[Any, ...]:
    """Return the key by which metrics are sorted: `_step`, outcomes, other metrics, families, W&B's own."""
    return name != STEP, name.startswith("_"), family, importance(name), rare, name


def _listed(
    entries: Iterable[Entry], join: _Join, *, families: Mapping[str, Family], most_runs: int = 0
) -> list[dict[str, Any]]:
    """Return the entries of metrics with those of a family joined, the most important first."""
    kept: list[dict[str, Any]] = []
    folded: dict[str, list[Entry]] = {}
    for entry in entries:
        family = families.get(_name(entry))
        if family is None:
            kept.append(dict(entry))
        else:
            folded.setdefault(family.pattern, []).append(entry)
    by_pattern = {family.pattern: family for family in families.values()}
    for pattern, members in folded.items():
        kept.append({**join(by_pattern[pattern], members), "members": len(members)})
    return sorted(
        kept,
        key=lambda entry: rank_of(
            _name(entry),
            family="members" in entry,
            rare=bool(most_runs) and 2 * entry.get("runs", most_runs) < most_runs,
        ),
    )


def _order(names: Sequence[str], families: Mapping[str, Family]) -> _Order:
    """Return the order of the entries with these names: each with its family, if any, and its members."""
    members: dict[tuple[bool, str], list[int]] = {}
    for index, name in enumerate(names):
        family = families.get(name)
        # A column may be called as the pattern of a family is.
        key = (False, name) if family is None else (True, family.pattern)
        members.setdefault(key, []).append(index)
    found = [(families.get(names[indices[0]]), indices) for indices in members.values()]
    return sorted(found, key=lambda item: rank_of(_shown(names, *item), family=item[0] is not None))


def _shown(names: Sequence[str], family: Family | None, indices: Sequence[int]) -> str:
    return names[indices[0]] if family is None else family.pattern


def _join_schema(entries: Sequence[Entry], family: Family | None, indices: Sequence[int]) -> Entry:
    """Return the entry of a column as it is, or that of a family."""
    if family is None:
        return entries[indices[0]]
    members = [entries[index] for index in indices]
    return {**join_columns(family.pattern, members), "members": len(members)}


def _join_stats(family: Family, entries: Sequence[Entry]) -> dict[str, Any]:
    least = min((entry for entry in entries if _is_finite(entry["min"])), key=_by("min"), default=None)
    greatest = max((entry for entry in entries if _is_finite(entry["max"])), key=_by("max"), default=None)
    return {
        "name": family.pattern,
        **dict.fromkeys(name for name in entries[0] if name != "name"),
        "count": sum(entry["count"] for entry in entries),
        **({} if least is None else {name: least[name] for name in ("min", "min_step")}),
        **({} if greatest is None else {name: greatest[name] for name in ("max", "max_step")}),
    }


def _by(field: str) -> Callable[[Entry], Any]:
    return lambda entry: entry[field]


def _join_totals(family: Family, entries: Sequence[Entry]) -> dict[str, Any]:
    lasts = _finite(entry["last_median"] for entry in entries)
    return {
        "name": family.pattern,
        "type": join_types(entry["type"] for entry in entries),
        "runs": max(entry["runs"] for entry in entries),
        "count": sum(entry["count"] for entry in entries),
        "nonfinite": sum(entry["nonfinite"] for entry in entries),
        "first_step": min((entry["first_step"] for entry in entries), default=None),
        "last_step": max((entry["last_step"] for entry in entries), default=None),
        "last_min": min(_finite(entry["last_min"] for entry in entries), default=None),
        "last_median": sorted(lasts)[len(lasts) // 2] if lasts else None,
        "last_max": max(_finite(entry["last_max"] for entry in entries), default=None),
    }


def join_types(types: Iterable[str]) -> str:
    """Return the types of several columns as one text."""
    found = sorted({one for text in types for one in text.split("|")} - {"empty"})
    return "number" if found == ["int", "number"] else "|".join(found) or "empty"


def _join_readings(family: Family, entries: Sequence[Entry]) -> dict[str, Any]:
    """Join how metrics ended: the range of their values, and the extremes of all of them."""
    value = "value" if "value" in entries[0] else "last"
    found: dict[str, Any] = {
        "name": family.pattern,
        **{field: {} for field in entries[0] if field != "name"},
        **_ranges(entry[value] for entry in entries),
    }
    for end, choose in (("min", min), ("max", max)):
        for run in dict.fromkeys(run for entry in entries for run in entry[end]):
            having = [entry for entry in entries if _is_finite(entry[end].get(run))]
            if having:
                number, step = choose((entry[end][run], entry[f"{end}_step"][run]) for entry in having)
                found[end][run], found[f"{end}_step"][run] = number, step
    return found


def _ranges(values: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the least and the greatest finite number of each run."""
    by_run: dict[str, list[Any]] = {}
    for cells in values:
        for run, cell in cells.items():
            if _is_finite(cell):
                by_run.setdefault(run, []).append(cell)
    return {
        "low": {run: min(cells) for run, cells in by_run.items()},
        "high": {run: max(cells) for run, cells in by_run.items()},
    }


def _join_differences(family: Family, entries: Sequence[Entry]) -> dict[str, Any]:
    empty: dict[str, Any] = {field: {} for field in entries[0] if field != "key"}
    same = all(entry["values"] == entries[0]["values"] for entry in entries)
    if same:
        empty["values"] = entries[0]["values"]
    return {"key": family.pattern, **empty, **_ranges(entry["values"] for entry in entries)}


def _join_statistics(family: Family, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "metric": family.pattern,
        **dict.fromkeys(field for field in entries[0] if field != "metric"),
        "group": entries[0]["group"],
        "n": sum(entry["n"] for entry in entries),
        "min": min(_finite(entry["min"] for entry in entries), default=None),
        "max": max(_finite(entry["max"] for entry in entries), default=None),
        "missing": sum(entry["missing"] for entry in entries),
        "nonfinite": sum(entry["nonfinite"] for entry in entries),
    }


def _join_values(family: Family, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "key": family.pattern,
        "values": max(entry["values"] for entry in entries),
        "missing": max(entry["missing"] for entry in entries),
        "shown": [],
    }


def _in_order(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary with its keys in the order of their importance."""
    keys = sorted(record, key=lambda key: rank_of(key, family=_is_family(record[key])))
    return {key: record[key] for key in keys}


def _is_family(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("_type") == FAMILY


def _joined_value(values: Sequence[Any]) -> dict[str, Any]:
    """Return what stands for the values of a family: the one that all have, or the range of the numbers."""
    joined: dict[str, Any] = {"_type": FAMILY, "members": len(values)}
    if all(type(value) is type(values[0]) and value == values[0] for value in values):
        return {**joined, "value": values[0]}
    numbers = _finite(values)
    return {**joined, "min": min(numbers, default=None), "max": max(numbers, default=None)}


def _finite(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if _is_finite(value)]


def _is_finite(value: Any) -> bool:
    """Whether a spelled value is a finite number; integers of any size are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


@dataclass(frozen=True, slots=True)
class _Folding:
    """How the sections of one answer are folded.

    Attributes:
        unfold: Whether families are left as they are.
        found: The families that were folded so far, by their patterns.
    """

    unfold: bool
    found: dict[str, Family] = field(default_factory=dict)

    def families(self, names: Iterable[str]) -> dict[str, Family]:
        if self.unfold:
            return {}
        families = families_by_member(names)
        self.found.update((family.pattern, family) for family in families.values())
        return families

    def schema(self, schemas: Mapping[str, Sequence[Entry]]) -> dict[str, Any]:
        names_of = {run: tuple(schema_names(entries)) for run, entries in schemas.items()}
        families = self.families(name for names in dict.fromkeys(names_of.values()) for name in names)
        orders: dict[tuple[str, ...], _Order] = {}
        shown: dict[tuple[str, ...], list[str]] = {}
        found: dict[str, Sequence[Entry]] = {}
        for run, entries in schemas.items():
            names = names_of[run]
            if names not in orders:
                orders[names] = _order(names, families)
                unfolded = all(family is None for family, _ in orders[names])
                shown[names] = [names[indices[0]] for _, indices in orders[names]] if unfolded else []
            if isinstance(entries, IndexedSchema) and shown[names]:
                found[run] = entries.in_order(shown[names])
                continue
            found[run] = [_join_schema(entries, family, indices) for family, indices in orders[names]]
        return found

    def stats(self, stats: Mapping[str, Mapping[str, Entry]]) -> dict[str, Any]:
        families = self.families(name for metrics in stats.values() for name in metrics)
        found: dict[str, Any] = {}
        orders: dict[int, Mapping[str, None]] = {}
        for run, metrics in stats.items():
            if isinstance(metrics, RunStatistics) and not families:
                if id(metrics.names) not in orders:
                    by_rank = sorted(metrics.names, key=lambda name: rank_of(name, family=False))
                    orders[id(metrics.names)] = dict.fromkeys(by_rank)
                found[run] = metrics.in_order(orders[id(metrics.names)])
                continue
            entries = _listed(
                ({"name": name, **entry} for name, entry in metrics.items()), _join_stats, families=families
            )
            found[run] = {entry.pop("name"): entry for entry in entries}
        return found

    def totals(self, metrics: Sequence[Entry]) -> list[dict[str, Any]]:
        families = self.families(map(_name, metrics))
        most = max((entry["runs"] for entry in metrics), default=0)
        return _listed(metrics, _join_totals, families=families, most_runs=most)

    def comparison(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        return _listed(entries, _join_readings, families=self.families(map(_name, entries)))

    def differences(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        families = self.families(map(_name, entries))
        found = _listed(entries, _join_differences, families=families)
        return sorted(found, key=_name)

    def statistics(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        families = self.families(entry["metric"] for entry in entries)
        by_group: dict[str, list[Entry]] = {}
        for entry in entries:
            by_group.setdefault(entry["group"], []).append(entry)
        found = [
            entry
            for members in by_group.values()
            for entry in _listed(members, _join_statistics, families=families)
        ]
        groups = list(by_group)
        return sorted(
            found,
            key=lambda entry: (
                rank_of(entry["metric"], family="members" in entry),
                groups.index(entry["group"]),
            ),
        )

    def records(self, records: Mapping[str, Mapping[str, Any]], *, apart: Collection[str]) -> dict[str, Any]:
        keys = dict.fromkeys(key for record in records.values() for key in record)
        families = {
            **self.families(key for key in keys if key in apart),
            **self.families(key for key in keys if key not in apart),
        }
        found: dict[str, dict[str, Any]] = {}
        for run, record in records.items():
            values: dict[str, list[Any]] = {}
            kept: dict[str, Any] = {}
            for key, value in record.items():
                if key in families:
                    pattern = families[key].pattern
                    kept[pattern] = None
                    values.setdefault(pattern, []).append(value)
                else:
                    kept[key] = value
            found[run] = {key: _joined_value(values[key]) if key in values else kept[key] for key in kept}
        return found

    def summaries(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        return _listed(entries, _join_differences, families=self.families(map(_name, entries)))

    def config_values(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        found = _listed(entries, _join_values, families=self.families(map(_name, entries)))
        return sorted(found, key=_name)


_LISTS: Mapping[str, Callable[[_Folding, Any], Any]] = {
    "schema": _Folding.schema,
    "stats": _Folding.stats,
    "comparison": _Folding.comparison,
    "config_diff": _Folding.differences,
    "summary_comparison": _Folding.summaries,
    "group_stats": _Folding.statistics,
    "metrics": _Folding.totals,
}
_RECORDS = {"config": "config_diff", "summary": "summary_comparison"}
"""The sections that are records by run, and where an answer has the keys that it compares."""
