"""The answer of `info`: the identities of a bundle and its runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Column, Nouns, Section, clip, name_cell
from pull_logs.cli.sections.legend import parts_facts, runs_section
from pull_logs.runs import PartsObject, RunPath, label_runs

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, Run


_LONGEST = 120
"""Characters of a path or name that the text shows."""


class InfoArtifact(TypedDict):
    """An artifact that a run logged or used."""

    artifact: str
    relation: str
    type: str
    aliases: list[str]
    digest: str | None
    bytes: int | None


class InfoFile(TypedDict):
    """A file of a run."""

    name: str
    bytes: int
    sha256: str
    md5: str


class InfoRun(TypedDict):
    """A run of a bundle; `last_seen` only of one that W&B no longer has, `via` of one that the SDK read."""

    path: str
    name: str
    state: str
    rows: int
    last_step: int | None
    complete: bool
    last_seen: str | None
    via: str | None
    console_lines: int | None
    parts: PartsObject | None
    files: list[InfoFile]
    artifacts: list[InfoArtifact]


class Info(TypedDict):
    """The JSON object of `info`; `pull_logs/data/schemas/info.json` describes it."""

    format: str
    command: str
    path: str
    bundle_id: str
    content_id: str
    metrics: str | None
    redacted: dict[str, int]
    runs: list[InfoRun]
    notes: list[str]


def info_object(bundle: Bundle) -> Info:
    """Return what a bundle holds."""
    return {
        "format": FORMAT,
        "command": "info",
        "path": str(bundle.path),
        "bundle_id": bundle.bundle_id,
        "content_id": bundle.content_id,
        "metrics": bundle.kept_metrics,
        "redacted": dict(bundle.redacted),
        "runs": [_run(run) for run in bundle.runs()],
        "notes": [],
    }


def _run(run: Run) -> InfoRun:
    return {
        "path": str(run.path),
        "name": run.name,
        "state": run.state,
        "rows": run.rows,
        "last_step": run.last_step,
        "complete": run.complete,
        "last_seen": run.last_seen,
        "via": run.via,
        "console_lines": None if run.console is None else len(run.console),
        "parts": None if run.parts is None else run.parts.as_object(),
        "files": [
            {"name": file.name, "bytes": file.size, "sha256": file.sha256, "md5": file.md5}
            for file in run.files.values()
        ],
        "artifacts": [
            {
                "artifact": artifact.path,
                "relation": artifact.record.relation,
                "type": artifact.type,
                "aliases": list(artifact.aliases),
                "digest": artifact.record.digest,
                "bytes": artifact.record.size,
            }
            for artifact in (*run.logged_artifacts(), *run.used_artifacts())
        ],
    }


def info_sections(info: Info) -> list[Section]:
    """Return the sections of `info` in order."""
    runs = info["runs"]
    labels = label_runs([RunPath(*run["path"].split("/")) for run in runs])
    records = [[name, info[name]] for name in ("bundle_id", "content_id")]
    sections = [
        Section(
            name="BUNDLE",
            facts={
                "path": info["path"],
                "runs": len(runs),
                "rows": sum(run["rows"] for run in runs),
                "metrics": info["metrics"],
            },
            columns=[Column("name", str), Column("value", str)],
            rows=records,
            layout="records",
            kept=2,
            weight=100,  # the identities are what a small budget is for
        )
    ]
    if info["redacted"]:
        sections.append(redacted_section(info["redacted"]))
    legend = (
        {
            **run,
            **parts_facts(run.get("parts")),
            "name": clip(run["name"], _LONGEST),
            "label": clip(label, _LONGEST),
            "files": len(run["files"]) or None,
            "file_bytes": sum(file["bytes"] for file in run["files"]) or None,
        }
        for label, run in zip(labels, runs, strict=True)
    )
    return [*sections, runs_section(legend)]


def redacted_section(redacted: Mapping[str, int]) -> Section:
    """Return how much of each kind was removed from a bundle."""
    return Section(
        name="REDACTED",
        facts={"removed": sum(redacted.values())},
        columns=[Column("kind", name_cell), Column("count")],
        rows=[[kind, count] for kind, count in redacted.items()],
        kept=2,
        nouns=Nouns(rows="kinds"),
    )
