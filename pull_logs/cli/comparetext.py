"""The answer of `compare` as sections or as JSON, within a token budget.

Up to ten runs stand in columns, as in the bare view. More stand in rows, the
best first where a metric ranks them, with the config keys that differ beside
their metrics; what differs in configs is then told value by value with the runs
that have it, and summaries by their spread.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pull_logs.cli.budget import SHAPES, Extent, Shape, check_budget, clip, fit_sections, longest
from pull_logs.cli.checkpointtext import checkpoints_table
from pull_logs.cli.json_output import fit_json
from pull_logs.cli.safetext import escape, inline
from pull_logs.cli.tables import NOTHING, Table, cell, exact, heading, run_lines, table
from pull_logs.errors import UsageError

LEAST_TOKENS = 600
"""The smallest budget: enough to name every section of a comparison and to say that it was cut."""

COLUMNS_AT_MOST = 10
"""Runs that are shown as columns; more become rows."""
_VALUES_AT_MOST = 10
_STRETCHES_AT_MOST = 12
_KEYS_BESIDE = 6


def compare_json(answer: Mapping[str, Any], *, max_tokens: int) -> str:
    """The JSON of an answer, one line.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    _check(max_tokens)
    return fit_json(answer, max_tokens=max_tokens, shapes=_JSON_SHAPES) + "\n"


def compare_text(answer: Mapping[str, Any], *, max_tokens: int) -> str:
    """The sections of an answer.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    _check(max_tokens)
    tables = {name: make(answer) for name, make in _TABLES.items() if name in answer}
    tables = {name: made for name, made in tables.items() if name not in _BARE or made.lines}
    fitted, cuts = fit_sections(
        tables,
        limit=max_tokens * 3,
        fixed=0,
        size=lambda name, value, cut: len(_render(name, value, cut).encode()),
        shapes={name: replace(_TABLE, weight=_WEIGHTS.get(name, 1)) for name in tables},
    )
    return "".join(_render(name, value, cuts.get(name, "")) for name, value in fitted.items())


def _check(max_tokens: int) -> None:
    check_budget(max_tokens)
    if max_tokens and max_tokens < LEAST_TOKENS:
        raise UsageError(
            f"--max-tokens {max_tokens} is too small for a comparison",
            hint=f"give at least {LEAST_TOKENS}, or 0 for no limit",
        )


def _render(name: str, section: Table, cut: str) -> str:
    lines = [] if name in _BARE else [heading(name.upper(), **section.facts)]
    lines += section.lines
    if section.columns:
        show = [*section.show, *[cell] * (len(section.columns) - len(section.show))]
        rows = [[write(value) for write, value in zip(show, row, strict=False)] for row in section.rows]
        lines += table(section.columns, rows)
    elif not section.lines:
        lines.append(NOTHING)
    if cut:
        lines = [line for line in lines if line != NOTHING]
        lines.append(f"# cut to {inline(cut)}")
    return "".join(f"{line}\n" for line in lines)


def _runs(answer: Mapping[str, Any]) -> Table:
    runs = answer["runs"]
    facts = {"runs": len(runs)}
    if answer["alignment"]["runs"] > len(runs):
        facts["of"] = answer["alignment"]["runs"]
    if len(runs) <= COLUMNS_AT_MOST:
        return Table(facts=facts, lines=run_lines(runs))
    kinds = Counter(
        (run["path"].rpartition("/")[0], run["state"], "yes" if run["complete"] else "no", run["source"])
        for run in runs
    )
    return Table(
        facts=facts,
        columns=("project", "state", "complete", "source", "runs"),
        rows=[[*kind, count] for kind, count in kinds.items()],
        show=[escape] * 4,
        kept=4,
    )


def _notes(answer: Mapping[str, Any]) -> Table:
    return Table(lines=[f"# {inline(note)}" for note in answer["notes"]])


def _answer(answer: Mapping[str, Any]) -> Table:
    return Table(lines=[f"# {inline(answer['answer'])}"])


def _ranking(answer: Mapping[str, Any]) -> Table:
    entries = answer["ranking"]
    first = entries[0]
    return Table(
        facts={"metric": first["metric"], "direction": first["direction"], **_read_at(answer)},
        columns=("rank", "run", "path", "value", "x", "best", "best_step"),
        rows=[
            [entry[name] for name in ("rank", "run", "path", "value", "x", "best", "best_step")]
            for entry in entries
        ],
        show=(cell, escape, escape),
        kept=4,
    )


def _read_at(answer: Mapping[str, Any]) -> dict[str, object]:
    told = answer["alignment"]
    return {
        "at": told["at"],
        "x": told["x"],
        "interpolation": told["interpolation"],
        "interpolated": told["interpolated"] or None,
    }


def _groups(answer: Mapping[str, Any]) -> Table:
    entries = answer["groups"]
    keys = list(dict.fromkeys(key for entry in entries for key in entry["by"]))
    unfinished = any(set(entry["states"]) - {"finished"} for entry in entries)
    return Table(
        facts={"groups": len(entries), "seeds": None},
        columns=("group", "n", *keys, *(["states"] if unfinished else []), "runs"),
        rows=[
            [
                entry["group"],
                entry["n"],
                *(entry["by"].get(key, _ABSENT) for key in keys),
                *([_states(entry["states"])] if unfinished else []),
                label_ranges(entry["runs"]),
            ]
            for entry in entries
        ],
        show=(escape, cell, *[_known] * len(keys), *([escape] if unfinished else []), str),
        kept=3,
    )


_ABSENT = object()


def _known(value: Any) -> str:
    """A config's value with all its digits; empty where there is no such key."""
    if value is _ABSENT:
        return ""
    return "null" if value is None else exact(value)


def _states(states: Mapping[str, int]) -> str:
    return " ".join(f"{state}:{count}" for state, count in states.items())


_STATISTICS = ("n", "mean", "std", "ci_low", "ci_high", "median", "iqm", "min", "max", "missing", "nonfinite")


def _group_stats(answer: Mapping[str, Any]) -> Table:
    entries = answer["group_stats"]
    return Table(
        facts={
            "metrics": len({entry["metric"] for entry in entries}),
            **_read_at(answer),
            "ci": answer["alignment"]["ci"],
        },
        columns=("metric", "group", *_STATISTICS),
        rows=[[entry[name] for name in ("metric", "group", *_STATISTICS)] for entry in entries],
        show=(escape, escape),
        kept=7,
    )


_TESTED = ("test", "n", "difference", "ci_low", "ci_high", "p", "p_holm", "verdict")


def _verdicts(answer: Mapping[str, Any]) -> Table:
    entries = answer["verdicts"]
    columns = ("metric", "first", "second", *_TESTED)
    return Table(
        facts={"tests": sum(entry["test"] is not None for entry in entries), "alpha": 0.05},
        columns=columns if entries else (),
        rows=[
            ["/".join(map(str, entry["n"])) if name == "n" else entry[name] for name in columns]
            for entry in entries
        ],
        show=(escape, escape, escape, lambda text: text or "", str, cell, cell, cell, cell, cell, str),
        kept=len(columns),
    )


def _comparison(answer: Mapping[str, Any]) -> Table:
    labels = [run["label"] for run in answer["runs"]]
    entries = answer["comparison"]
    facts = {"runs": len(labels), "metrics": len(entries), **_read_at(answer)}
    if len(labels) > COLUMNS_AT_MOST:
        return _runs_as_rows(answer, facts)
    rows = []
    for entry in entries:
        for name in ("value",) if entry["min"] == entry["max"] else ("value", "min", "max"):
            steps = entry["x"] if name == "value" and answer["alignment"]["at"] != "last" else {}
            steps = entry.get(f"{name}_step", steps)
            rows.append([entry["name"], name, *((entry[name].get(run), steps.get(run)) for run in labels)])
    return Table(
        facts=facts,
        columns=("metric", "value", *labels),
        rows=rows,
        show=(escape, str, *[_stepped] * len(labels)),
        kept=2,
    )


def _stepped(value: tuple[Any, Any]) -> str:
    number, step = value
    return "" if number is None else cell(number) + ("" if step is None else f"@{cell(step)}")


def _runs_as_rows(answer: Mapping[str, Any], facts: Mapping[str, object]) -> Table:
    """The runs one below the other: the metric that ranks them, the keys that differ most plainly, the rest."""
    projects = {run["path"].rpartition("/")[0] for run in answer["runs"]}
    beside = sorted(answer["config_diff"], key=lambda entry: _dullness(entry["values"], len(answer["runs"])))
    beside = beside[:_KEYS_BESIDE]
    entries = answer["comparison"]
    first, rest = (entries[:1], entries[1:]) if "ranking" in answer else ([], entries)
    rows = [
        [
            run["label"],
            run["path"].rpartition("/")[2] if len(projects) == 1 else run["path"],
            *(entry["value"].get(run["label"]) for entry in first),
            *(entry["values"].get(run["label"], _ABSENT) for entry in beside),
            *(entry["value"].get(run["label"]) for entry in rest),
        ]
        for run in answer["runs"]
    ]
    columns = [
        "run",
        "id" if len(projects) == 1 else "path",
        *(entry["name"] for entry in first),
        *(f"config.{entry['key']}" for entry in beside),
        *(entry["name"] for entry in rest),
    ]
    show = (escape, escape, *[cell] * len(first), *[_known] * len(beside))
    return Table(facts=facts, columns=columns, rows=rows, show=show, kept=2 + len(first))


def _dullness(values: Mapping[str, Any], runs: int) -> tuple[bool, int]:
    """How little a config key tells runs apart: another value in each tells least, then the same in most."""
    counts = Counter(map(exact, values.values()))
    counts["absent"] = runs - len(values)
    return len(values) == runs == len(counts) - 1, max(counts.values())


def _config_diff(answer: Mapping[str, Any]) -> Table:
    labels = [run["label"] for run in answer["runs"]]
    entries = answer["config_diff"]
    facts = {"runs": len(labels), "differ": len(entries), "same": answer["config_same"]}
    if len(labels) <= COLUMNS_AT_MOST:
        return Table(
            facts=facts,
            columns=("key", *labels),
            rows=[
                [entry["key"], *(entry["values"].get(run, _ABSENT) for run in labels)] for entry in entries
            ],
            show=(escape, *[_known] * len(labels)),
            kept=2,
        )
    rows: list[list[Any]] = []
    for entry in entries:
        by_value: dict[str, list[str]] = {}
        for run in labels:
            by_value.setdefault(_known(entry["values"].get(run, _ABSENT)), []).append(run)
        if len(by_value) > _VALUES_AT_MOST:
            rows.append([entry["key"], len(by_value), _ABSENT, len(labels), ""])
        else:
            rows += [
                [
                    entry["key"],
                    len(by_value),
                    entry["values"].get(runs[0], _ABSENT),
                    len(runs),
                    label_ranges(runs),
                ]
                for runs in by_value.values()
            ]
    return Table(
        facts=facts,
        columns=("key", "distinct", "value", "n", "runs"),
        rows=rows,
        show=(escape, cell, _known, cell, str),
        kept=4,
    )


def label_ranges(labels: Sequence[str]) -> str:
    """Labels with neighbours drawn together, and how many stretches more there are: `A-D F +3`."""
    numbers = sorted(map(_label_number, labels))
    by_number = {_label_number(label): label for label in labels}
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][-1] + 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    parts = [
        "-".join(by_number[number] for number in (run[0], run[-1]))
        if len(run) > 2
        else " ".join(by_number[number] for number in run)
        for run in stretches
    ]
    more = len(parts) - _STRETCHES_AT_MOST
    return " ".join(parts[:_STRETCHES_AT_MOST]) + (f" +{more}" if more > 0 else "")


def _label_number(label: str) -> int:
    number = 0
    for letter in label:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _summary_comparison(answer: Mapping[str, Any]) -> Table:
    labels = [run["label"] for run in answer["runs"]]
    entries = answer["summary_comparison"]
    first = labels[0] if labels else None
    facts = {"runs": len(labels), "keys": len(entries)}
    if len(labels) > COLUMNS_AT_MOST:
        return Table(
            facts=facts,
            columns=("key", "n", "min", "min_run", "median", "max", "max_run"),
            rows=[_spread(entry) for entry in entries],
            show=(escape, cell, cell, str, cell, cell, str),
            kept=3,
        )
    others = labels[1:]
    return Table(
        facts={**facts, "first": first},
        columns=("key", *labels, *(f"{run}-{first}" for run in others)),
        rows=[
            [
                entry["key"],
                *(entry["values"].get(run, _ABSENT) for run in labels),
                *(entry["delta"].get(run, _ABSENT) for run in others),
            ]
            for entry in entries
        ],
        show=(escape, *[_summary_cell] * (len(labels) + len(others))),
        kept=2,
    )


def _summary_cell(value: Any) -> str:
    if value is _ABSENT:
        return ""
    return "null" if value is None else cell(value)


def _spread(entry: Mapping[str, Any]) -> list[Any]:
    """The least, the middle and the greatest of the finite numbers of a summary key, and where they are."""
    numbers = {
        run: value
        for run, value in entry["values"].items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    if not numbers:
        return [entry["key"], 0, None, "", None, None, ""]
    low, high = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
    try:
        median = statistics.median(numbers.values())
    except OverflowError:  # halfway between two whole numbers beyond all doubles
        median = statistics.median_low(numbers.values())
    return [entry["key"], len(numbers), numbers[low], low, median, numbers[high], high]


_TABLES: Mapping[str, Callable[[Mapping[str, Any]], Table]] = {
    "runs": _runs,
    "notes": _notes,
    "answer": _answer,
    "groups": _groups,
    "group_stats": _group_stats,
    "verdicts": _verdicts,
    "ranking": _ranking,
    "checkpoints": checkpoints_table,
    "comparison": _comparison,
    "config_diff": _config_diff,
    "summary_comparison": _summary_comparison,
}
"""The sections in their order; a new one is a member of the answer and a function here."""

_BARE = frozenset({"notes"})
"""What has no heading, and is left out where it has nothing."""

_WEIGHTS = {
    "runs": 3,
    "answer": 3,
    "verdicts": 3,
    "groups": 2,
    "group_stats": 2,
    "checkpoints": 3,
    "comparison": 2,
}


def _table_extent(section: Table) -> Extent:
    return Extent(
        entries=len(section.rows) + len(section.lines),
        columns=max(len(section.columns) - section.kept, 0),
        chars=max(
            map(
                longest, (*section.columns, *section.lines, *(value for row in section.rows for value in row))
            ),
            default=0,
        ),
    )


def _cut_table(section: Table) -> Callable[[Extent], Table]:
    def cut(to: Extent) -> Table:
        columns = section.kept + to.columns
        return replace(
            section,
            columns=[clip(name, to.chars) for name in section.columns[:columns]] if to.entries else (),
            rows=[
                [clip(value, to.chars) for value in row[:columns]]
                for row in section.rows[: max(to.entries - len(section.lines), 0)]
            ],
            lines=[clip(line, to.chars) for line in section.lines[: to.entries]],
        )

    return cut


_TABLE = Shape(
    _table_extent,
    _cut_table,
    (
        ("chars", 500),
        ("chars", 120),
        ("entries", 40),
        ("columns", 12),
        ("entries", 12),
        ("columns", 3),
        ("chars", 40),
        ("entries", 3),
        ("columns", 0),
        ("entries", 1),
    ),
    {"entries": "rows", "columns": "columns"},
)


def _entries(weight: int) -> Shape:
    """A list of records, cut from its end."""
    return replace(SHAPES["runs"], words={"entries": "entries"}, weight=weight)


def _cut_fields(value: Mapping[str, Any]) -> Callable[[Extent], Any]:
    return lambda to: {name: clip(item, to.chars) for name, item in value.items()}


_FIELDS = Shape(lambda value: Extent(chars=longest(value)), _cut_fields, (("chars", 200), ("chars", 24)), {})
_SENTENCE = Shape(
    lambda value: Extent(chars=longest(value)),
    lambda value: lambda to: clip(value, to.chars),
    (("chars", 200), ("chars", 24)),
    {},
)
_JSON_SHAPES: Mapping[str, Shape] = {
    **{name: SHAPES[name] for name in ("notes", "comparison", "config_diff", "summary_comparison")},
    "runs": _entries(3),
    "alignment": _FIELDS,
    "answer": _SENTENCE,
    "ranking": _entries(2),
    "groups": _entries(2),
    "group_stats": _entries(2),
    "verdicts": _entries(3),
    "best_checkpoint": _FIELDS,
    "checkpoints": _entries(3),
}
