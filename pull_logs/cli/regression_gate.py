"""`compare --against`: a regression gate, whose answer is an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pull_logs.cli.output import Output, print_answer
from pull_logs.cli.sections.verdicts import MARK
from pull_logs.errors import RegressionError, UsageError
from pull_logs.executors import Engine
from pull_logs.interface import Sources
from pull_logs.system_errors import from_system_error

_NOT_IN_A_GATE = {
    "select": "--select",
    "group_by": "--group-by",
    "best": "--best",
    "sort": "--sort",
    "top": "--top",
    "task": "--task",
    "asserts": "--assert",
}
"""The options of `compare` that say nothing about a gate."""


_IN_A_GATE = ("alpha", "margin", "seeds", "at", "axis", "interpolation", "columns", "where", "evals")
"""The options of `compare` that a gate has too."""


def gate_options(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of a gate from those of `compare` and return them.

    Raises:
        UsageError: An option of a gate is given without `--against`, or one that does not go with it.
    """
    taken = {name: options.pop(name) for name in ("against", "gate_metrics", "report_md")}
    if taken["against"]:
        for name, flag in _NOT_IN_A_GATE.items():
            if options.get(name):
                raise UsageError(
                    f"{flag} does not go with --against, which tests the metrics of --metric",
                    hint=f"leave {flag} out, or ask that in a second command",
                )
    elif taken["gate_metrics"] or taken["report_md"]:
        flag = "--metric" if taken["gate_metrics"] else "--report-md"
        raise UsageError(f"{flag} is for a gate", hint="name the baseline with --against FILE")
    return taken


def answer_gate(
    sources: Sources,
    gate: Mapping[str, Any],
    options: Mapping[str, Any],
    output: Output,
    *,
    engine: AbstractContextManager[Engine],
) -> None:
    """Test the runs of the sources against the baseline, print the answer, and raise if it does not hold.

    Args:
        sources: The new runs.
        gate: The options of the gate.
        options: The other options of `compare`.
        output: The output options.
        engine: Starts what reads histories.

    Raises:
        RegressionError: A metric got worse; the answer is printed first, and the report written.
        PullLogsError: As the question, the sources and the output.
    """
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import COMPARISON_SHAPES
    from pull_logs.cli.sections import compare_sections
    from pull_logs.cli.sections.verdicts import gate_report
    from pull_logs.interface import gating

    report: Path | None = gate["report_md"]
    _check_report(report)
    question = {name: options[name] for name in _IN_A_GATE}
    baseline = Sources(bundles=gate["against"], keep=sources.keep)
    question |= {"metrics": gate["gate_metrics"], "display": progress_display}
    with engine as reading, gating(sources, baseline, engine=reading, **question) as (subjects, answer):
        del answer["next"]
        if report is not None:
            _write(report, gate_report(answer))
        with _failing(answer):
            print_answer(answer, subjects, output, sections=compare_sections, shapes=COMPARISON_SHAPES)


@contextmanager
def _failing(answer: Mapping[str, Any]) -> Iterator[None]:
    """Raise for a gate that does not hold after the answer was printed, even if its reader closed the pipe.

    Raises:
        RegressionError: It does not hold.
    """
    try:
        yield
    except BrokenPipeError:
        _refuse(answer)
        raise
    _refuse(answer)


def _refuse(answer: Mapping[str, Any]) -> None:
    worse: Sequence[str] = [
        entry["sentence"] for entry in answer["gate_metrics"] if entry["verdict"] == "regression"
    ]
    if worse:
        raise RegressionError(
            ". ".join(worse), hint="--report-md FILE writes a report, --json lists every run and value"
        )


def _check_report(file: Path | None) -> None:
    """Check that the report may be written, before anything is read.

    Raises:
        UsageError: The file exists and is not a report of a gate.
    """
    if file is None or not file.exists():
        return
    try:
        known = file.read_text("utf-8").startswith(MARK)
    except (OSError, ValueError):
        known = False
    if not known:
        raise UsageError(
            f"{str(file)!r} exists and is not a report of a gate",
            hint="name another file with --report-md, or remove it",
        )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8", "backslashreplace")
    except OSError as exc:
        raise from_system_error(exc, path=file, action="written") from exc
