"""The section `[GATE]`, and the report of a gate as Markdown for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pull_logs.cli.formats import markdown_text
from pull_logs.cli.render import Section, columns, name_cell
from pull_logs.suggestions import counted, numbered

MARK = "<!-- pull-logs gate -->"
"""The first line of a report; a file that begins with it may be replaced."""

_COLUMNS = (
    "metric",
    "verdict",
    "new",
    "base",
    "worse",
    "effect",
    "test",
    "n",
    "p",
    "p_holm",
    "detectable",
)
_MOST_KEYS = 20
_MOST_RUNS = 50


def gate_section(answer: Mapping[str, Any]) -> Section:
    """Return the tests of a gate."""
    gate = answer["gate"]
    return Section(
        name="GATE",
        facts={
            "holds": "yes" if gate["holds"] else "no",
            "alpha": gate["alpha"],
            "margin": gate["margin"],
            "new": len(gate["new"]),
            "base": len(gate["base"]),
            "paired_by": ",".join(gate["paired_by"]) or None,
        },
        columns=columns(
            *_COLUMNS,
            metric=name_cell,
            verdict=str,
            test=lambda test: test or "",
            n=lambda sizes: "/".join(map(str, sizes)),
        ),
        rows=[[entry[name] for name in _COLUMNS] for entry in answer["gate_metrics"]],
        notes=[entry["sentence"] for entry in answer["gate_metrics"]],
        kept=len(_COLUMNS),
        weight=3,
    )


def gate_report(answer: Mapping[str, Any]) -> str:
    """Return the report of a gate as GitHub Markdown; all text of runs is escaped."""
    gate = answer["gate"]
    verdict = "holds" if gate["holds"] else "fails"
    lines = [MARK, f"### Regression gate {verdict}", "", *_table(answer), ""]
    lines += [f"- {markdown_text(entry['sentence'])}" for entry in answer["gate_metrics"]]
    lines += [f"- Note: {markdown_text(note)}" for note in answer["notes"]]
    lines += ["", *_settings(answer), *_runs(answer)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(answer: Mapping[str, Any]) -> Iterator[str]:
    yield "| metric | verdict | new | base | worse by | effect | p | n |"
    yield "|---|---|---|---|---|---|---|---|"
    for entry in answer["gate_metrics"]:
        verdict = f"**{entry['verdict']}**" if entry["verdict"] == "regression" else entry["verdict"]
        n = "/".join(map(str, entry["n"]))
        cells = (
            f"{markdown_text(entry['metric'])} ({entry['direction']})",
            verdict,
            _short(entry["new"]),
            _short(entry["base"]),
            _short(entry["worse"]) + _percent(entry["worse_share"]),
            _short(entry["effect"]),
            _short(entry["p_holm"]),
            f"{entry['n'][0]} pairs" if entry["test"] == "paired t" else n,
        )
        yield f"| {' | '.join(cells)} |"


def _settings(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the config keys whose values are not the same on both sides."""
    gate = answer["gate"]
    changed = []
    for entry in answer["config_diff"]:
        sides = [_values(entry["values"], gate[side]) for side in ("base", "new")]
        if sides[0] != sides[1]:
            changed.append((entry["key"], *sides))
    if not changed:
        return
    yield "| config | base | new |"
    yield "|---|---|---|"
    for key, base, new in changed[:_MOST_KEYS]:
        yield f"| {markdown_text(key)} | {_joined(base)} | {_joined(new)} |"
    if len(changed) > _MOST_KEYS:
        yield ""
        more = len(changed) - _MOST_KEYS
        yield f"{more} {numbered(more, 'more key differs', 'more keys differ')}."
    yield ""


def _values(values: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    return sorted({json_value(values[label]) if label in values else "(absent)" for label in labels})


def json_value(value: Any) -> str:
    """Return a value as one line of JSON."""
    import json

    return json.dumps(value, ensure_ascii=False)


def _joined(values: Sequence[str]) -> str:
    shown = ", ".join(map(markdown_text, values[:3]))
    return shown if len(values) <= 3 else f"{shown} and {len(values) - 3} more"


def _runs(answer: Mapping[str, Any]) -> Iterator[str]:
    gate = answer["gate"]
    values = {entry["name"]: entry["value"] for entry in answer["comparison"]}
    yield "<details><summary>Runs</summary>"
    yield ""
    names = list(values)
    yield f"| side | run |{''.join(f' {markdown_text(name)} |' for name in names)}"
    yield f"|---|---|{'---|' * len(names)}"
    for run in answer["runs"][:_MOST_RUNS]:
        side = "new" if run["label"] in gate["new"] else "base"
        cells = "".join(f" {_short(values[name].get(run['label']))} |" for name in names)
        yield f"| {side} | {markdown_text(run['path'])} |{cells}"
    if len(answer["runs"]) > _MOST_RUNS:
        yield ""
        yield f"{counted(len(answer['runs']) - _MOST_RUNS, 'more run')}."
    yield ""
    yield "</details>"


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


def _percent(share: Any) -> str:
    return f" ({share:+.2%})" if isinstance(share, (int, float)) else ""
