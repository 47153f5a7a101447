"""Writes an answer as one line of strict JSON, fitted into a token budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render.budget import Shape, check_budget, fit_sections
from pull_logs.cli.render.cutting import text_length
from pull_logs.cli.render.escape import json_text

_FIXED = frozenset({"format", "command", "config_same", "bundle_id", "content_id"})
"""The members that no budget cuts."""


def fit_json(answer: Mapping[str, Any], shapes: Mapping[str, Shape], *, max_tokens: int = 0) -> str:
    """Return the JSON of an answer, without the end of the line.

    What the budget cuts is reported in `notes`; the shape of the object stays. Characters that could forge or
    hide text are escaped, so that the value is the same and the line is harmless.

    Args:
        answer: The answer of a command.
        shapes: How its sections are cut.
        max_tokens: The budget, at three bytes of UTF-8 per token, the end of the line included; 0 for
            no limit.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_budget(max_tokens)
    sections = {name: value for name, value in answer.items() if name not in _FIXED}
    fixed = {name: value for name, value in answer.items() if name in _FIXED}
    around = len(json_text({**fixed, "notes": []}).encode()) + 1
    fitted, cuts = fit_sections(
        sections, limit=max_tokens * 3, fixed=around, size=_size, shapes=shapes, lower_bound=_cells
    )
    result = {name: fitted.get(name, value) for name, value in answer.items()}
    if cuts:
        result["notes"] = [*result.get("notes", ()), *(_note(name, cut) for name, cut in cuts.items())]
        result = _recounted(result)
    return json_text(result)


def _note(name: str, cut: str) -> str:
    return f"{name} cut to {cut}"


def _size(name: str, value: Any, cut: str) -> int:
    """Count the bytes of a section with its name and the note about its cut; of `notes`, only the items."""
    note = len(json_text(_note(name, cut)).encode()) + 1 if cut else 0
    if name == "notes":
        return note + sum(len(json_text(item).encode()) + 1 for item in value)
    return note + len(json_text({name: value}).encode()) - 1


def _cells(name: str, value: Any) -> int:
    """Count the cells of the sections that can be very large, and the characters of those that are texts."""
    if name == "history":
        return sum(
            len(history["rows"]) * len(history["columns"]) + sum(map(text_length, history["rows"]))
            for history in value.values()
        )
    if name in ("config", "summary") and isinstance(value, Mapping):  # a list in an overview
        return sum(text_length(record.values()) for record in value.values())
    if name == "stats":
        return sum(len(found) for metrics in value.values() for found in metrics.values())
    return 0


def _recounted(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer with `rows_shown` of its runs as in its history."""
    if "history" not in answer or "runs" not in answer:
        return dict(answer)
    shown = {run: history["rows_shown"] for run, history in answer["history"].items()}
    runs = [{**run, "rows_shown": shown.get(run["label"], 0)} for run in answer["runs"]]
    return {**answer, "runs": runs}
