"""Writes an answer as one line of strict JSON, fitted into a token budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render.budget import NOTHING_LEFT, REMEDY, Shape, check_budget, fit_sections
from pull_logs.cli.render.cutting import text_length
from pull_logs.cli.render.escape import json_text
from pull_logs.cli.render.tokens import FIFTHS, weigh

_FIXED = frozenset({"format", "command", "config_same", "bundle_id", "content_id"})
"""The members that no budget cuts."""


def fit_json(answer: Mapping[str, Any], shapes: Mapping[str, Shape], *, max_tokens: int = 0) -> str:
    """Return the JSON of an answer, without the end of the line.

    What the budget cuts is reported in `notes`; the shape of the object stays. Characters that could forge or
    hide text are escaped, so that the value is the same and the line is harmless.

    Args:
        answer: The answer of a command.
        shapes: How its sections are cut.
        max_tokens: The budget, the end of the line included; 0 for no limit.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_budget(max_tokens, as_json=True)
    sections = {name: value for name, value in answer.items() if name not in _FIXED}
    fixed = {name: value for name, value in answer.items() if name in _FIXED}
    around = weigh(json_text({**fixed, "notes": [_note_on_nothing([])]}) + "\n,")
    fitted, cuts = fit_sections(
        sections, limit=max_tokens * FIFTHS, fixed=around, size=_size, shapes=shapes, lower_bound=_cells
    )
    result = {name: fitted.get(name, value) for name, value in answer.items()}
    if cuts:
        gone = [name for name, cut in cuts.items() if cut == NOTHING_LEFT]
        notes = [_note(name, cut) for name, cut in cuts.items() if cut != NOTHING_LEFT]
        result["notes"] = [*result.get("notes", ()), *notes, *([_note_on_nothing(gone)] if gone else [])]
        result = _recounted(result)
    return json_text(result)


def _note(name: str, cut: str) -> str:
    return f"{name} cut to {cut}"


def _note_on_nothing(names: Sequence[str]) -> str:
    return f"cut to nothing: {', '.join(names)}; {REMEDY}"


def _size(name: str, value: Any, cut: str) -> int:
    """Weigh a section with its name and the note about its cut; of `notes`, only the items."""
    note = weigh(json_text(_note(name, cut)) + ",") if cut else 0
    if cut == NOTHING_LEFT:
        note = weigh(f"{name}, ")
    if name == "notes":
        return note + sum(weigh(json_text(item) + ",") for item in value)
    return note + weigh(json_text({name: value})[1:])


def _cells(name: str, value: Any) -> int:
    """Weigh the ends of cells in sections that can be very large, and characters as if they were spaces."""
    if name == "history":
        return sum(
            FIFTHS * len(history["rows"]) * len(history["columns"]) + sum(map(text_length, history["rows"]))
            for history in value.values()
        )
    if name in ("config", "summary") and isinstance(value, Mapping):  # a list in an overview
        return sum(text_length(record.values()) for record in value.values())
    if name == "stats":
        return FIFTHS * sum(len(found) for metrics in value.values() for found in metrics.values())
    return 0


def _recounted(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer with `rows_shown` of its runs as in its history."""
    if "history" not in answer or "runs" not in answer:
        return dict(answer)
    shown = {run: history["rows_shown"] for run, history in answer["history"].items()}
    runs = [{**run, "rows_shown": shown.get(run["label"], 0)} for run in answer["runs"]]
    return {**answer, "runs": runs}
