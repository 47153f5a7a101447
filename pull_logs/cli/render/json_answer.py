"""An answer as one line of strict JSON, fitted into a token budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render.budget import Shape, check_budget, fit_sections
from pull_logs.cli.render.escape import json_text

_FIXED = frozenset({"format", "command", "config_same"})


def fit_json(
    answer: Mapping[str, Any], *, max_tokens: int = 0, shapes: Mapping[str, Shape] | None = None
) -> str:
    """The JSON of an answer, without the end of the line.

    What the budget cuts is told in `notes`; the shape of the object stays. Characters that could forge or
    hide text are escapes, so that the value is the same and the line is harmless.

    Args:
        answer: What `pull_logs.analyze.answer` returned.
        max_tokens: At three bytes of UTF-8 each, the end of the line counted; 0 is no limit.
        shapes: How the sections of a command of its own are cut; by default, those of the bare view.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_budget(max_tokens)
    sections = {name: value for name, value in answer.items() if name not in _FIXED}
    fixed = {name: value for name, value in answer.items() if name in _FIXED}
    around = len(json_text({**fixed, "notes": []}).encode()) + 1
    fitted, cuts = fit_sections(sections, limit=max_tokens * 3, fixed=around, size=_size, shapes=shapes)
    result = {name: fitted.get(name, value) for name, value in answer.items()}
    if cuts:
        result["notes"] = [*result.get("notes", ()), *(_told(name, cut) for name, cut in cuts.items())]
        result = _recounted(result)
    return json_text(result)


def _told(name: str, cut: str) -> str:
    return f"{name} cut to {cut}"


def _size(name: str, value: Any, cut: str) -> int:
    """The bytes of a section with its name and its note; of the notes, the items alone."""
    told = len(json_text(_told(name, cut)).encode()) + 1 if cut else 0
    if name == "notes":
        return told + sum(len(json_text(note).encode()) + 1 for note in value)
    return told + len(json_text({name: value}).encode()) - 1


def _recounted(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the rows that its runs show brought in line with its history."""
    if "history" not in answer or "runs" not in answer:
        return dict(answer)
    shown = {run: history["rows_shown"] for run, history in answer["history"].items()}
    runs = [{**run, "rows_shown": shown.get(run["label"], 0)} for run in answer["runs"]]
    return {**answer, "runs": runs}
