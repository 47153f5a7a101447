"""The `[META]`, `[CONFIG]` and `[SUMMARY]` sections: a record of one run, or a table of several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pull_logs.analyze import FAMILY
from pull_logs.cli.render import (
    ABSENT,
    REQUESTED,
    Column,
    Nouns,
    Section,
    known,
    known_exact,
    name_cell,
    run_columns,
)
from pull_logs.suggestions import counted

_ALL_RUNS = "all"


def meta_section(records: Mapping[str, Mapping[str, Any]]) -> Section:
    """Return when, where and with what the runs ran."""
    return replace(
        _section("META", records, known_exact, []), weight=REQUESTED, seconds=frozenset({"duration"})
    )


def config_section(configs: Mapping[str, Mapping[str, Any]], differing: Collection[str] | None) -> Section:
    """Return the configs of runs.

    Args:
        configs: Flat configs by run label.
        differing: The keys that are in `[CONFIG_DIFF]`, if the answer has it; one record is left of the
            others, which are the same in all runs.
    """
    notes = []
    if differing is not None:
        first = next(iter(configs.values()), {})
        configs = {_ALL_RUNS: {key: value for key, value in first.items() if key not in differing}}
        if differing:
            verb = "differs" if len(differing) == 1 else "differ"
            notes = [f"{counted(len(differing), 'more key')} {verb}: [CONFIG_DIFF]"]
    return _section("CONFIG", configs, known_exact, notes)


def summary_section(summaries: Mapping[str, Mapping[str, Any]], compared: Collection[str] | None) -> Section:
    """Return the summaries of runs.

    Args:
        summaries: Flat summaries by run label.
        compared: The keys that are in `[SUMMARY_COMPARISON]`, if the answer has it; they are left out here.
    """
    notes = []
    if compared is not None:
        summaries = {
            run: {key: value for key, value in summary.items() if key not in compared}
            for run, summary in summaries.items()
        }
        if compared:
            notes = [f"{counted(len(compared), 'more key')}: [SUMMARY_COMPARISON]"]
    return _section("SUMMARY", summaries, known, notes)


def _count(key: str, records: Iterable[Mapping[str, Any]]) -> int:
    """Return how many keys one of these stands for: the members of a family."""
    values = [record[key] for record in records if key in record]
    return max(
        value.get("members", 1) if isinstance(value, Mapping) and value.get("_type") == FAMILY else 1
        for value in values
    )


def _section(
    name: str, records: Mapping[str, Mapping[str, Any]], show: Callable[[Any], str], notes: Sequence[str]
) -> Section:
    keys = list(dict.fromkeys(key for record in records.values() for key in record))
    one = len(records) == 1
    whose: dict[str, object] = {"run": next(iter(records))} if one else {"runs": len(records)}
    return Section(
        name=name,
        facts={**whose, "keys": sum(_count(key, records.values()) for key in keys)},
        columns=[Column("key", name_cell), *run_columns(list(records), show)],
        rows=[[key, *(record.get(key, ABSENT) for record in records.values())] for key in keys],
        notes=notes,
        layout="records" if one else "table",
        kept=2,
        nouns=Nouns(rows="keys", columns="runs", uncut=1),
    )
