"""The bare view: runs in, sections or one JSON object out."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.gate import gate
from pull_logs.cli.options import Sources, parse_evals
from pull_logs.cli.runs import open_subjects, refuse_incomplete


def show(sources: Sources, **options: Any) -> None:
    """Print what the view options ask for of the runs that the sources name.

    Args:
        sources: Which runs.
        **options: The view and output options of the command line, by their names in `cli.options`.

    Raises:
        PullLogsError: As told by `open_subjects` and `pull_logs.analyze.answer`.
    """
    evals = parse_evals(options["evals"])
    sources.check()
    from pull_logs.analyze import Picking, View, answer
    from pull_logs.cli.render import check_budget

    check_budget(options["max_tokens"])
    view = View(
        schema=options["schema"],
        stats=options["stats"],
        select=options["select"],
        where=options["where"],
        evals=evals,
        human=options["human"],
        show_all=options["show_all"],
        picking=Picking(**{name: options[name] for name in ("around", "window", "last", "every")}),
        asserts=options["asserts"],
        max_rows=options["max_rows"],
        max_tokens=options["max_tokens"],
    )
    told: list[str] = []
    with open_subjects(sources, tell=told.append) as subjects:
        result = answer(subjects, view)
        result["notes"] = [*told, *result["notes"]]
        with gate(result.get("assertions", ())):
            if options["as_json"]:
                from pull_logs.cli.render import fit_json

                click.echo(fit_json(result, max_tokens=options["max_tokens"]))
            else:
                from pull_logs.cli.render import render_text

                click.echo(render_text(result, max_tokens=options["max_tokens"]), nl=False)
            if options["hints"]:
                from pull_logs.cli.hints import show_hints, tell_hints

                tell_hints(show_hints(result, sources))
            if options["strict"]:
                refuse_incomplete(subjects)


def show_comparison(sources: Sources, *, select: str) -> None:
    """Print runs side by side: how these metrics went, and what differs in the configs."""
    from pull_logs.analyze import View, answer
    from pull_logs.cli.render import render_text

    with open_subjects(sources) as subjects:
        result = answer(subjects, View(human=True, select=select))
    wanted = ("runs", "comparison", "config_diff")
    click.echo(render_text({name: value for name, value in result.items() if name in wanted}), nl=False)
