"""The answer of `logs`: lines that runs printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Nouns, Section, columns, name_cell
from pull_logs.cli.sections.legend import notes_section, runs_section
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.analyze import Subject
    from pull_logs.interface import ConsoleExcerpt


class LogsRun(TypedDict):
    """A run; `lines_total` is None if it has no console log, `step` and `step_time` without --around-step."""

    label: str
    path: str
    name: str
    state: str
    lines_total: int | None
    lines_matched: int | None
    step: int | None
    step_time: str | None


class LogsLine(TypedDict):
    """A line that a run printed."""

    run: str
    number: int
    timestamp: str | None
    level: str
    label: str
    text: str


class Logs(TypedDict):
    """The JSON object of `logs`; `pull_logs/data/schemas/logs.json` describes it."""

    format: str
    command: str
    runs: list[LogsRun]
    logs: list[LogsLine]
    notes: list[str]


def logs_object(subjects: Sequence[Subject], excerpts: Sequence[ConsoleExcerpt | None]) -> Logs:
    """Return lines of runs.

    Args:
        subjects: The runs.
        excerpts: The lines of each; None for a run without a console log.
    """
    pairs = list(zip(subjects, excerpts, strict=True))
    without = sum(found is None for found in excerpts)
    return {
        "format": FORMAT,
        "command": "logs",
        "runs": [_run(subject, found) for subject, found in pairs],
        "logs": [
            {
                "run": subject.label,
                "number": line.number,
                "timestamp": line.timestamp,
                "level": line.level,
                "label": line.label,
                "text": line.text,
            }
            for subject, found in pairs
            if found is not None
            for line in found.lines
        ],
        "notes": [f"{counted(without, 'run')} without a console log"] if without else [],
    }


def _run(subject: Subject, found: ConsoleExcerpt | None) -> LogsRun:
    run = subject.run
    return {
        "label": subject.label,
        "path": str(run.path),
        "name": run.name,
        "state": run.state,
        "lines_total": None if found is None else found.total,
        "lines_matched": None if found is None else found.matched,
        "step": None if found is None else found.step,
        "step_time": None if found is None else found.step_time,
    }


def logs_sections(answer: Logs) -> list[Section]:
    """Return the sections of `logs` in order: one of lines for each run that has a console log."""
    from pull_logs.interface import plain_line

    lines: dict[str, list[LogsLine]] = {}
    for line in answer["logs"]:
        lines.setdefault(line["run"], []).append(line)
    sections = [
        Section(
            name="LOGS",
            facts={
                "run": run["label"],
                "lines_total": run["lines_total"],
                "lines_matched": run["lines_matched"],
                "lines_shown": len(lines.get(run["label"], ())),
                "step": run["step"],
                "step_time": run["step_time"],
            },
            columns=columns("line", "time", "level", "label", "text", time=name_cell, level=name_cell),
            rows=[
                [
                    line["number"],
                    line["timestamp"],
                    line["level"],
                    line["label"] or None,
                    plain_line(line["text"]),
                ]
                for line in lines.get(run["label"], ())
            ],
            kept=5,
            nouns=Nouns(rows="lines"),
            weight=6,
        )
        for run in answer["runs"]
        if run["lines_total"] is not None
    ]
    return [notes_section(answer["notes"]), runs_section(answer["runs"]), *sections]
