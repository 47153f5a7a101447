"""What an archive did with each project: lines on stdout, JSON, and metrics for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.interface import ArchiveReport
    from pull_logs.snapshot.sets import SetSize

DEAD_PARTS = 3
"""A compaction is suggested if more than one part of so many is of runs that were replaced."""

State = Literal["done", "empty", "failed", "stopped", "waiting"]
"""`empty`: the shard has no runs of it. `stopped`: the window ended meanwhile. `waiting`: not begun."""

_HELP = {
    "up_to_date": "Whether the last archive brought the project up to date.",
    "runs": "Runs of the project in the archive.",
    "incomplete_runs": "Runs of which not all arrived.",
    "changed_runs": "Runs that are new or have changed.",
    "gone_runs": "Runs that are kept although W&B no longer has them.",
    "new_rows": "Rows that the archive did not have.",
    "bytes": "The size of the bundles that were added.",
    "requests": "Requests to W&B.",
    "seconds": "Seconds that the project took.",
}


@dataclass(frozen=True, slots=True)
class ProjectResult:
    """What was done with a project.

    Attributes:
        project: `entity/project`.
        state: What became of it.
        report: What was downloaded and added, if it was done.
        error: What was wrong, if it failed.
        exit_code: The exit code of this error.
    """

    project: str
    state: State
    report: ArchiveReport | None = None
    error: str = ""
    exit_code: int = 0

    @property
    def numbers(self) -> Mapping[str, float]:
        """What it is measured by, by the names of `_HELP`."""
        found: dict[str, float] = {"up_to_date": self.state in ("done", "empty")}
        if self.report is not None:
            changes = self.report.changes
            runs = [run for run in changes.runs if run.sealed]
            found |= {
                "runs": len(runs),
                "incomplete_runs": len(changes.incomplete),
                "changed_runs": sum(run.how not in ("unchanged", "kept", "gone") for run in runs),
                "gone_runs": sum(run.how == "gone" for run in runs),
                "new_rows": sum(run.new_rows for run in runs),
                "bytes": sum(bundle.bytes for bundle in changes.bundles),
                "requests": changes.requests,
                "seconds": changes.seconds,
            }
        return found

    @property
    def line(self) -> str:
        """What is said of it on stdout."""
        if self.report is None:
            said = {
                "empty": "no runs in this shard",
                "failed": f"failed: {self.error}",
                "stopped": "stopped by the end of the window, and goes on there next time",
                "waiting": "not begun before the end of the window",
            }
            return f"{self.project}: {said[self.state]}"
        numbers = self.numbers
        parts = [
            counted(int(numbers["runs"]), "run"),
            f"{int(numbers['changed_runs'])} new or changed",
            counted(int(numbers["new_rows"]), "new row"),
            counted(int(numbers["requests"]), "request"),
        ]
        for name, what in (("gone_runs", "no longer on W&B"), ("incomplete_runs", "incomplete")):
            parts += [f"{int(numbers[name])} {what}"] if numbers[name] else []
        return f"{self.project}: {', '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        """Return it as the report has it."""
        return {
            "project": self.project,
            "state": self.state,
            "error": self.error or None,
            "version": None if self.report is None else self.report.version,
            "members": [] if self.report is None else list(self.report.members),
            "report": None if self.report is None else self.report.changes.to_json(),
        }


def total_line(results: Sequence[ProjectResult]) -> str:
    """Return the last line of the summary."""
    states = Counter(result.state for result in results)
    done = states["done"] + states["empty"]
    parts = [f"{done} of {counted(len(results), 'project')} up to date"]
    parts += [f"{states[state]} {state}" for state in ("failed", "stopped", "waiting") if states[state]]
    runs = sum(int(result.numbers.get("runs", 0)) for result in results)
    return f"{', '.join(parts)}; {counted(runs, 'run')}"


def dead_line(size: SetSize, *, out: str) -> str:
    """Return the line about runs that were replaced, or nothing if there are few."""
    if size.dead * DEAD_PARTS <= size.bytes:
        return ""
    return (
        f"{size.dead / 1e6:,.1f} of {size.bytes / 1e6:,.1f} MB are of runs that were replaced; remove them"
        f" with: pull-logs set compact {quote(out)}"
    )


def results_json(results: Sequence[ProjectResult], *, out: str, size: SetSize | None) -> dict[str, Any]:
    """Return the report of an archive; its size is that of the set, if something was added."""
    return {
        "archive": out,
        "bytes": None if size is None else size.bytes,
        "dead_bytes": None if size is None else size.dead,
        "runs": sum(int(result.numbers.get("runs", 0)) for result in results),
        "requests": sum(int(result.numbers.get("requests", 0)) for result in results),
        "projects": [result.to_json() for result in results],
    }


def prometheus_text(results: Sequence[ProjectResult], *, finished: float) -> str:
    """Return metrics in the text format of Prometheus.

    Args:
        results: The projects.
        finished: The time of the end, in seconds since 1970.
    """
    return "".join(f"{line}\n" for line in _metric_lines(results, finished))


def _metric_lines(results: Sequence[ProjectResult], finished: float) -> Iterator[str]:
    yield "# HELP pull_logs_archive_finished_seconds When the last archive ended."
    yield "# TYPE pull_logs_archive_finished_seconds gauge"
    yield f"pull_logs_archive_finished_seconds {finished:.0f}"
    for name, text in _HELP.items():
        yield f"# HELP pull_logs_archive_{name} {text}"
        yield f"# TYPE pull_logs_archive_{name} gauge"
        for result in results:
            if name in result.numbers:
                value = result.numbers[name]
                yield f'pull_logs_archive_{name}{{project="{_escaped(result.project)}"}} {value:.10g}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
