"""The answer of `audit`: secrets and personal data in a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Column, Nouns, Section, columns, name_cell, short_name_cell, text_cell
from pull_logs.cli.sections.info import redacted_section

if TYPE_CHECKING:
    from pull_logs.snapshot.privacy import Audit


class AuditFinding(TypedDict):
    """A secret or a personal detail; the excerpt does not show it."""

    run: str
    location: str
    kind: str
    secret: bool
    step: int | None
    cells: int
    excerpt: str


class AuditFile(TypedDict):
    """A file that was not looked through."""

    run: str
    file: str


class AuditResult(TypedDict):
    """The JSON object of `audit`; `pull_logs/data/schemas/audit.json` describes it."""

    format: str
    command: str
    path: str
    bundle_id: str
    runs: int
    secrets: int
    personal: int
    findings: list[AuditFinding]
    redacted: dict[str, int]
    unread: list[AuditFile]


def audit_object(audit: Audit) -> AuditResult:
    """Return what an audit found."""
    return {
        "format": FORMAT,
        "command": "audit",
        "path": audit.path,
        "bundle_id": audit.bundle_id,
        "runs": audit.runs,
        "secrets": audit.secrets,
        "personal": audit.personal,
        "findings": [
            {
                "run": finding.run,
                "location": finding.location,
                "kind": finding.kind,
                "secret": finding.secret,
                "step": finding.step,
                "cells": finding.cells,
                "excerpt": finding.excerpt,
            }
            for finding in audit.findings
        ],
        "redacted": dict(audit.redacted),
        "unread": [{"run": run, "file": name} for run, name in audit.unread],
    }


def audit_sections(result: AuditResult) -> list[Section]:
    """Return the sections of `audit` in order."""
    sections = [
        Section(
            name="AUDIT",
            facts={
                "path": result["path"],
                "runs": result["runs"],
                "secrets": result["secrets"],
                "personal": result["personal"],
            },
            columns=columns(
                "run", "location", "kind", "step", "cells", "excerpt",
                run=short_name_cell, location=short_name_cell, kind=name_cell, excerpt=text_cell,
            ),
            rows=[
                [item["run"], item["location"], item["kind"], item["step"], item["cells"], item["excerpt"]]
                for item in result["findings"]
            ],
            kept=6,
            nouns=Nouns(rows="findings"),
        )
    ]  # fmt: skip
    if result["unread"]:
        sections.append(
            Section(
                name="UNREAD",
                facts={"files": len(result["unread"])},
                columns=[Column("run", short_name_cell), Column("file", short_name_cell)],
                rows=[[item["run"], item["file"]] for item in result["unread"]],
                kept=2,
                nouns=Nouns(rows="files"),
            )
        )
    if result["redacted"]:
        sections.append(redacted_section(result["redacted"]))
    return sections
