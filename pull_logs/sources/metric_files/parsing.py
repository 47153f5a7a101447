"""Rows of text files: CSV with a header, JSON Lines, and the `log_history` of `trainer_state.json`.

Each row needs a step. Errors name the line. Only the last line may be torn off, as a killed run leaves it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from pull_logs.errors import DataError

STEP_NAMES = ("_step", "step", "global_step", "iteration", "iter", "epoch")
"""The columns that can have the step; the first that a file has is taken."""

_INTEGER = re.compile(r"[-+]?\d{1,18}")
_WORDS: Mapping[str, Any] = {
    "True": True,
    "False": False,
    "true": True,
    "false": False,
    "": None,
    "None": None,
}


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The content of a file.

    Attributes:
        rows: The rows, each with `_step`.
        format: The program that writes such files, or the form.
        config: What the file says about the settings of the run.
        torn: Why the last line was left out; empty if it was not.
    """

    rows: Sequence[Mapping[str, Any]]
    format: str
    config: Mapping[str, Any] = field(default_factory=dict)
    torn: str = ""


def shown(file: Path) -> str:
    """Return the name of a file with its folder: the files of all runs are called the same."""
    return "/".join(file.parts[-2:])


def parse_file(file: Path) -> ParsedFile:
    """Return the content of a file.

    Raises:
        DataError: A line is not valid, or no column has the step.
        OSError: The file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(
            f"{shown(file)!r} is not UTF-8 at byte {exc.start}", hint="convert it to UTF-8"
        ) from exc
    if file.suffix == ".json":
        return _trainer_state(file, text)
    if file.suffix in (".jsonl", ".ndjson"):
        return _json_lines(file, text)
    return _csv(file, text)


def _csv(file: Path, text: str) -> ParsedFile:
    # A number that is torn off may look complete, so a last line without an end is left out.
    complete, newline, tail = text.rpartition("\n")
    lost = f"{file.name}: line {complete.count(newline) + 2 if newline else 1}: the last line is torn off"
    reader = csv.reader(StringIO(complete + newline, newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    try:
        header = next(reader, [])
        step = _step_name(file, header)
        if len(set(header)) < len(header):
            raise DataError(
                f"{shown(file)!r}, line 1: a column is there twice", hint="give each column a name"
            )
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                what = f"line {reader.line_num} has {len(fields)} fields, and the header has {len(header)}"
                raise DataError(f"{shown(file)!r}, {what}", hint="repair the line, or remove it")
            row = {name: _value(field) for name, field in zip(header, fields, strict=True)}
            rows.append(_with_step(file, reader.line_num, row, step))
    except csv.Error as exc:
        raise DataError(f"{shown(file)!r}, line {reader.line_num}: {exc}", hint="repair the line") from exc
    writer = "lightning" if file.name == "metrics.csv" and step == "step" and "epoch" in header else "csv"
    return ParsedFile(rows, "keras" if step == "epoch" else writer, torn=lost if tail else "")


def _json_lines(file: Path, text: str) -> ParsedFile:
    rows: list[dict[str, Any]] = []
    step: str | None = None
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as exc:
            what = f"line {number}: it is not valid JSON ({exc})"
            if number == len(lines) and not line.endswith("\n"):
                return ParsedFile(
                    rows, "json-lines", torn=f"{file.name}: line {number}: the last line is torn off"
                )
            raise DataError(f"{shown(file)!r}, {what}", hint="repair the line, or remove it") from exc
        if not isinstance(found, dict):
            raise DataError(
                f"{shown(file)!r}, line {number}: it is not a JSON object", hint="write one object per line"
            )
        step = step or _step_name(file, found)
        rows.append(_with_step(file, number, found, step))
    return ParsedFile(rows, "json-lines")


def _trainer_state(file: Path, text: str) -> ParsedFile:
    try:
        state = json.loads(text)
    except ValueError as exc:
        raise DataError(
            f"{shown(file)!r} is not valid JSON: {exc}", hint="take the file of another checkpoint"
        ) from exc
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise DataError(
            f"{shown(file)!r} has no list `log_history`", hint="name the trainer_state.json of a checkpoint"
        )
    rows = [_with_step(file, number, row, "step", "entry") for number, row in enumerate(history, 1)]
    params = state.get("trial_params")
    config = {name: value for name, value in state.items() if name in _SETTINGS and value is not None}
    return ParsedFile(rows, "transformers", {**config, **(params if isinstance(params, dict) else {})})


_SETTINGS = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
"""The settings that `trainer_state.json` has."""


def _step_name(file: Path, names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the column that has the step.

    Raises:
        DataError: There is none.
    """
    for name in STEP_NAMES:
        if name in names:
            return name
    raise DataError(
        f"{shown(file)!r} has no column with the step",
        hint=f"name one of its columns {', '.join(STEP_NAMES[1:])}",
    )


def _with_step(
    file: Path, number: int, row: Mapping[str, Any], name: str, unit: str = "line"
) -> dict[str, Any]:
    """Return a row with `_step`; a step that is an epoch stays as a metric too.

    Raises:
        DataError: The row has no step, or it is not a whole number.
    """
    step = row.get(name)
    if isinstance(step, float) and step.is_integer():
        step = int(step)
    if type(step) is not int:
        raise DataError(
            f"{shown(file)!r}, {unit} {number}: the {name} is {step!r}, which is not a whole number",
            hint="repair the line, or remove it",
        )
    kept = {key: value for key, value in row.items() if key != name or name == "epoch"}
    return {**kept, "_step": step}


def _value(text: str) -> Any:
    """Return the value of a field: a number, a truth value, the text, or None for an empty one."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
