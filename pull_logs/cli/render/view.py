"""An answer as text: sections that a person reads and a program can take apart.

Every section starts with a heading `[NAME] key=value ...` on a line of its own;
no other line starts with `[`. Under it stand

    key: value              a record (config, summary of one run), values as JSON;
    name,name,...           a table: a line of column names, then a line per row, cells separated by commas;
    LABEL key=value ...     a run of the legend in [RUNS];
    # sentence              what a reader must know: notes, and what a token budget cut;
    (none)                  when a section that was asked for has nothing.

A cell is empty where there is no value. Text is a JSON string; names are bare
where they are one harmless word, else JSON strings too. Floats have up to six
significant digits (`--json` has them all), but values of configs have all their
digits, because two that differ must not look the same. Histograms, images and
tables are shown as `<histogram>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.cli.render.budget import check_budget, fit_sections
from pull_logs.cli.render.by_metric import ALL_RUNS, MANY_RUNS, schema_of_runs, stats_by_metric, stats_lines
from pull_logs.cli.render.checkpoints import checkpoint_columns, checkpoint_rows
from pull_logs.cli.render.escape import escape, inline, json_text
from pull_logs.cli.render.tables import (
    NOTHING,
    cell,
    cell_or_null,
    exact,
    heading,
    known,
    or_nothing,
    run_lines,
    table,
)

__all__ = ["escape", "render_text"]


def render_text(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    """The sections of an answer, fitted into a token budget.

    Args:
        answer: What `pull_logs.analyze.answer` returned.
        max_tokens: At three bytes of UTF-8 each; 0 is no limit.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_budget(max_tokens)
    sections = _arranged(answer)

    def size(name: str, value: Any, cut: str) -> int:
        return len(_render(name, value, cut, answer).encode())

    fitted, cuts = fit_sections(sections, limit=max_tokens * 3, fixed=0, size=size)
    return "".join(_render(name, value, cuts.get(name, ""), answer) for name, value in fitted.items())


@dataclass(frozen=True, slots=True)
class _Context:
    """What a section is rendered with.

    Attributes:
        answer: The whole answer, nothing cut.
        cut: Whether a budget cut the section.
    """

    answer: Mapping[str, Any]
    cut: bool

    def labels(self, entries: Sequence[Mapping[str, Any]], field: str) -> list[str]:
        """The columns of a comparison: all runs, or those that a cut left."""
        told = {run for entry in entries for run in entry[field]}
        return [run["label"] for run in self.answer["runs"] if not self.cut or run["label"] in told]


def _arranged(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The sections in the order of the text; with several runs, nothing that another section tells again.

    A config key that is the same in all runs stands once in `[CONFIG]`, one that differs in `[CONFIG_DIFF]`;
    a summary key that is compared stands in `[SUMMARY_COMPARISON]` alone; why a run is incomplete, in `[RUNS]`.
    """
    sections = {name: answer[name] for name in _RENDERERS if name in answer}
    if "config" in sections and "config_diff" in sections:
        differing = {entry["key"] for entry in sections["config_diff"]}
        first: Mapping[str, Any] = next(iter(answer["config"].values()), {})
        sections["config"] = {"all": {key: first[key] for key in first if key not in differing}}
    if "summary" in sections and "summary_comparison" in sections:
        compared = {entry["key"] for entry in sections["summary_comparison"]}
        sections["summary"] = {
            run: {key: value for key, value in summary.items() if key not in compared}
            for run, summary in sections["summary"].items()
        }
    if len(answer["runs"]) >= MANY_RUNS:
        sections = {
            _BY_METRIC.get(name, (name,))[0]: _BY_METRIC[name][1](value) if name in _BY_METRIC else value
            for name, value in sections.items()
        }
    told = {f"{run['label']} is incomplete: {run.get('reason')}" for run in answer["runs"]}
    notes = [note for note in answer.get("notes", ()) if note not in told]
    if notes:
        sections["notes"] = notes
    else:
        sections.pop("notes", None)
    return sections


def _render(name: str, value: Any, cut: str, answer: Mapping[str, Any]) -> str:
    lines = list(_RENDERERS[name](value, _Context(answer, cut=bool(cut))))
    if cut:
        lines = [line for line in lines if line != NOTHING]
        lines.append(f"# cut to {inline(cut)}")
    return "".join(f"{line}\n" for line in lines)


def _runs(runs: Sequence[Mapping[str, Any]], _: _Context) -> Iterable[str]:
    yield heading("RUNS", runs=len(runs))
    yield from or_nothing(run_lines(runs))


def _notes(notes: Sequence[str], _: _Context) -> Iterable[str]:
    return [f"# {inline(note)}" for note in notes]


def _config(configs: Mapping[str, Any], context: _Context) -> Iterable[str]:
    yield from _record("CONFIG", configs, exact)
    if differing := len(context.answer.get("config_diff", ())):
        yield f"# {differing} more {'key differs' if differing == 1 else 'keys differ'}: [CONFIG_DIFF]"


def _summary(summaries: Mapping[str, Any], context: _Context) -> Iterable[str]:
    yield from _record("SUMMARY", summaries, cell_or_null)
    if compared := len(context.answer.get("summary_comparison", ())):
        yield f"# {compared} more {'key' if compared == 1 else 'keys'}: [SUMMARY_COMPARISON]"


def _record(name: str, records: Mapping[str, Mapping[str, Any]], show: Callable[[Any], str]) -> Iterable[str]:
    """One run's record as lines; several as a table with a column per run."""
    keys = list(dict.fromkeys(key for record in records.values() for key in record))
    if len(records) == 1:
        (run,) = records
        yield heading(name, run=run, keys=len(keys))
        yield from or_nothing([f"{escape(key)}: {show(records[run][key])}" for key in keys])
        return
    yield heading(name, runs=len(records), keys=len(keys))
    yield from table(
        ["key", *records],
        [[escape(key), *(known(record, key, show) for record in records.values())] for key in keys],
    )


def _schema(schemas: Mapping[str, Any], context: _Context) -> Iterable[str]:
    if not schemas:
        yield from (heading("SCHEMA", runs=0), NOTHING)
    for run, entries in schemas.items():
        whose = {"runs": len(context.answer["runs"])} if run == ALL_RUNS else {"run": run}
        yield heading("SCHEMA", **whose, columns=len(entries))
        fields = list(entries[0])[1:] if entries else []
        yield from table(
            ["name", *fields],
            [
                [escape(entry["name"]), escape(entry["type"]), *(cell(entry[field]) for field in fields[1:])]
                for entry in entries
            ],
        )


def _stats(stats: Mapping[str, Any], _: _Context) -> Iterable[str]:
    if not stats:
        yield from (heading("STATS", runs=0), NOTHING)
    for run, metrics in stats.items():
        yield heading("STATS", run=run, metrics=len(metrics))
        fields = list(next(iter(metrics.values()), ()))
        yield from table(
            ["metric", *fields],
            [[escape(name), *(cell(found[field]) for field in fields)] for name, found in metrics.items()],
        )


def _stats_by_metric(metrics: Mapping[str, Any], context: _Context) -> Iterable[str]:
    return stats_lines(metrics, context.answer["stats"])


def _history(histories: Mapping[str, Any], _: _Context) -> Iterable[str]:
    if not histories:
        yield from (heading("HISTORY", runs=0), NOTHING)
    for run, history in histories.items():
        picked = history["rows_picked"] < history["rows_matched"] - history["hidden"]
        counts = ["rows_total", "rows_matched", "rows_picked", "rows_shown", "hidden", "sampling"]
        told = {name: history[name] for name in counts if picked or name != "rows_picked"}
        yield heading("HISTORY", run=run, **told)
        yield from table(history["columns"], [[cell(value) for value in row] for row in history["rows"]])


def _checkpoints(entries: Sequence[Mapping[str, Any]], _: _Context) -> Iterable[str]:
    yield heading("CHECKPOINTS", checkpoints=len(entries), runs=len({entry["run"] for entry in entries}))
    yield from table(checkpoint_columns(entries), checkpoint_rows(entries))


def _comparison(entries: Sequence[Mapping[str, Any]], context: _Context) -> Iterable[str]:
    runs = context.labels(entries, "last")
    yield heading("COMPARISON", runs=len(runs), metrics=len(entries))
    rows = [[escape(entry["name"]), *row] for entry in entries for row in _compared(entry, runs)]
    yield from table(["metric", "value", *runs], rows)


def _compared(entry: Mapping[str, Any], runs: Sequence[str]) -> Iterable[list[str]]:
    """The rows of a metric; of one that is the same in every row of each run, its last value alone."""
    constant = entry["min"] == entry["max"]
    for field in ("last", "at_checkpoint") if constant else ("last", "min", "max", "at_checkpoint"):
        values, steps = entry.get(field, {}), entry.get(f"{field}_step", {})
        cells = [
            cell(values[run]) + (f"@{steps[run]}" if run in steps else "") if run in values else ""
            for run in runs
        ]
        if any(cells):
            yield [field, *cells]


def _config_diff(entries: Sequence[Mapping[str, Any]], context: _Context) -> Iterable[str]:
    runs = context.labels(entries, "values")
    yield heading("CONFIG_DIFF", runs=len(runs), differ=len(entries), same=context.answer.get("config_same"))
    rows = [
        [escape(entry["key"]), *(known(entry["values"], run, exact) for run in runs)] for entry in entries
    ]
    yield from table(["key", *runs], rows)


def _summary_comparison(entries: Sequence[Mapping[str, Any]], context: _Context) -> Iterable[str]:
    runs = context.labels(entries, "values")
    first = context.answer["runs"][0]["label"] if context.answer["runs"] else None
    others = [run for run in runs if run != first]
    yield heading("SUMMARY_COMPARISON", runs=len(runs), keys=len(entries), first=first)
    rows = [
        [
            escape(entry["key"]),
            *(known(entry["values"], run, cell) for run in runs),
            *(known(entry["delta"], run, cell) for run in others),
        ]
        for entry in entries
    ]
    yield from table(["key", *runs, *(f"{run}-{first}" for run in others)], rows)


def _assertions(verdicts: Sequence[Mapping[str, Any]], context: _Context) -> Iterable[str]:
    broken = sum(not verdict["holds"] for verdict in context.answer["assertions"])
    yield heading("ASSERTIONS", asserted=len(context.answer["assertions"]), broken=broken)
    rows = [
        [json_text(verdict["assert"]), "yes" if verdict["holds"] else "no", *run]
        for verdict in verdicts
        for run in ([[run["run"], json_text(run["message"])] for run in verdict["broken"]] or [["", ""]])
    ]
    yield from table(["assert", "holds", "run", "because"], rows)


_BY_METRIC: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "schema": ("schema", schema_of_runs),
    "stats": ("stats_by_metric", stats_by_metric),
}
"""What becomes of a section that has a block for each run, where there are many runs."""

_RENDERERS: Mapping[str, Callable[[Any, _Context], Iterable[str]]] = {
    "runs": _runs,
    "notes": _notes,
    "config": _config,
    "summary": _summary,
    "schema": _schema,
    "stats": _stats,
    "stats_by_metric": _stats_by_metric,
    "history": _history,
    "checkpoints": _checkpoints,
    "comparison": _comparison,
    "config_diff": _config_diff,
    "summary_comparison": _summary_comparison,
    "assertions": _assertions,
}
