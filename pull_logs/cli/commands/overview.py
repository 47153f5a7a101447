"""`overview`: the first look at runs, on one screen however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from pull_logs.cli.gate import gate
from pull_logs.cli.options import assert_options, hint_options, origin_options, output_options, source_options
from pull_logs.cli.render import assertion_facts, assertion_lines
from pull_logs.cli.sources import take_sources

_METRICS_SHOWN = 30
_KEYS_SHOWN = 12
_FOUND_SHOWN = 5


@click.command()
@source_options
@click.option("--select", metavar="REGEX", help="Only metrics whose name matches.")
@assert_options
@origin_options
@output_options
@hint_options
def overview(**options: Any) -> None:
    """First look at runs: states, config keys, metrics, and what went wrong from which step on.

    As in `pull-logs overview -b sweep.wandb.zip`. Health flags: nan, divergence, overfitting, plateau, stalled,
    crashed; docs/health.md defines them.
    """
    from pull_logs.cli.runs import open_subjects, refuse_incomplete

    sources = take_sources(options)
    sources.check()
    from pull_logs.analyze import overview as look
    from pull_logs.cli.hints import overview_hints, tell_hints
    from pull_logs.cli.render import check_budget

    check_budget(options["max_tokens"])
    with open_subjects(sources) as subjects:
        answer = look(subjects, select=options["select"], asserts=options["asserts"])
        write = overview_json if options["as_json"] else overview_text
        with gate(answer.get("assertions", ())):
            click.echo(write(answer, max_tokens=options["max_tokens"]), nl=False)
            if options["hints"]:
                tell_hints(overview_hints(answer, sources))
            if options["strict"]:
                refuse_incomplete(subjects)


def overview_json(answer: Mapping[str, Any], *, max_tokens: int) -> str:
    """The JSON of an overview, one line.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    from pull_logs.cli.render import fit_json

    return fit_json(answer, max_tokens=max_tokens, shapes=_shapes()) + "\n"


def overview_text(answer: Mapping[str, Any], *, max_tokens: int) -> str:
    """The sections of an overview.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    from pull_logs.cli.render import check_budget, fit_sections

    check_budget(max_tokens)

    def size(name: str, value: Any, cut: str) -> int:
        return len(_rendered(name, value, cut, answer).encode())

    sections = {name: answer[name] for name in _RENDERERS if answer.get(name) or name not in _LEFT_OUT}
    fitted, cuts = fit_sections(sections, limit=max_tokens * 3, fixed=0, size=size, shapes=_shapes())
    return "".join(_rendered(name, value, cuts.get(name, ""), answer) for name, value in fitted.items())


def _shapes() -> Mapping[str, Any]:
    from pull_logs.cli.render import SHAPES, Extent, Shape

    lists = SHAPES["notes"]

    def keep(value: Any) -> Callable[[Extent], Any]:
        return lambda _: value

    def shape(words: str, *, weight: int = 1, flag: str = lists.flag) -> Shape:
        plan = (
            ("chars", 400),
            ("entries", 20),
            ("chars", 120),
            ("entries", 6),
            ("chars", 60),
            ("entries", 1),
        )
        return replace(lists, plan=plan, words={"entries": words}, weight=weight, flag=flag)

    return {
        "totals": replace(lists, extent=lambda _: Extent(), cutter=keep, plan=()),
        "states": shape("states"),
        "config": shape("keys"),
        "metrics": shape("metrics", flag="--select REGEX or --max-tokens 0 shows more"),
        "health": shape("flags", weight=3),
        "notes": lists,
        "assertions": SHAPES["assertions"],
    }


def _rendered(name: str, value: Any, cut: str, answer: Mapping[str, Any]) -> str:
    from pull_logs.cli.render import NOTHING, inline

    lines = list(_RENDERERS[name](value, answer))
    if cut:
        lines = [*(line for line in lines if line != NOTHING), f"# cut to {inline(cut)}"]
    return "".join(f"{line}\n" for line in lines)


def _totals(totals: Mapping[str, Any], _: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import heading

    projects = totals["projects"]
    named = projects[0] if len(projects) == 1 else len(projects)
    facts = {name: totals[name] for name in ("runs", "rows", "complete", "healthy")}
    yield heading("OVERVIEW", **facts, **{"project" if len(projects) == 1 else "projects": named})


def _states(states: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import cell, escape, heading, table

    yield heading("STATES", states=len(answer["states"]))
    fields = list(states[0]) if states else []
    yield from table(
        fields, [[escape(state["state"]), *(cell(state[field]) for field in fields[1:])] for state in states]
    )


def _config(entries: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import escape, exact, heading, json_text, table

    yield heading("CONFIG_DIFF", differ=len(answer["config"]), same=answer["config_same"])
    rows = []
    for entry in entries[:_KEYS_SHOWN]:
        shown = entry["shown"]
        told = " ".join(f"{exact(item['value'])}:{item['runs']}" for item in shown)
        more = entry["values"] - len(shown)
        told += f" +{more}" if more > 0 else ""
        rows.append([escape(entry["key"]), str(entry["values"]), str(entry["missing"]), json_text(told)])
    yield from table(["key", "values", "missing", "value:runs"], rows)
    yield from _more(len(entries) - _KEYS_SHOWN, "config keys differ", "pull-logs compare shows all")


def _metrics(entries: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import cell, escape, heading, table

    yield heading("METRICS", metrics=len(answer["metrics"]))
    fields = list(entries[0]) if entries else []
    rows = [
        [escape(entry["name"]), escape(entry["type"]), *(cell(entry[field]) for field in fields[2:])]
        for entry in entries[:_METRICS_SHOWN]
    ]
    yield from table(fields, rows)
    yield from _more(len(entries) - _METRICS_SHOWN, "metrics", "--select REGEX or --json shows them")


def _health(entries: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import cell, escape, heading, json_text, table

    flagged = answer["totals"]["runs"] - answer["totals"]["healthy"]
    yield heading("HEALTH", flagged=flagged, of=answer["totals"]["runs"])
    rows = []
    for entry in entries:
        for found in entry["found"][:_FOUND_SHOWN]:
            metric = escape(found["metric"]) if found.get("metric") else ""
            facts = (entry["flag"], str(entry["runs"]), found["run"], escape(found["path"]), metric)
            rows.append([*facts, cell(found["step"]), json_text(found["message"])])
        if not entry["found"]:
            rows.append([entry["flag"], str(entry["runs"]), "", "", "", "", ""])
    yield from table(["flag", "runs", "run", "path", "metric", "from_step", "because"], rows)
    for entry in entries:
        more = entry["runs"] - min(len(entry["found"]), _FOUND_SHOWN)
        yield from _more(more, f"runs with {entry['flag']}", "--json lists all")


def _notes(notes: Sequence[str], _: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import inline

    yield from (f"# {inline(note)}" for note in notes[:_FOUND_SHOWN])
    yield from _more(len(notes) - _FOUND_SHOWN, "notes", "--json lists all")


def _assertions(verdicts: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> Iterable[str]:
    from pull_logs.cli.render import heading

    yield heading("ASSERTIONS", **assertion_facts(answer["assertions"]))
    yield from assertion_lines(verdicts, answer["assertions"])


def _more(count: int, what: str, where: str) -> Iterable[str]:
    if count > 0:
        yield f"# {count} more {what}; {where}"


_RENDERERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Iterable[str]]] = {
    "totals": _totals,
    "states": _states,
    "config": _config,
    "metrics": _metrics,
    "health": _health,
    "notes": _notes,
    "assertions": _assertions,
}

_LEFT_OUT = frozenset({"notes", "assertions"})
"""What is not there where it has nothing."""
