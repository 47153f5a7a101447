"""The answer of `verify --against wandb`: which runs are safe to delete on W&B, and why others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pull_logs.cli.render import Column, Nouns, Section, columns, name_cell, text_cell, yes_no

if TYPE_CHECKING:
    from pull_logs.proof import BundleProof, PartProof, RunProof


class SafetyPart(TypedDict):
    """One part of a run: how much of it W&B and the bundle have, and why it is not proved."""

    part: str
    proved: bool
    reason: str
    wandb: int | None
    bundle: int | None
    digest: str | None
    wandb_digest: str | None
    names: list[str]


class SafetyRun(TypedDict):
    """The verdict about one run."""

    path: str
    verdict: str
    reasons: list[str]
    state: str | None
    heartbeat_at: str | None
    parts: list[SafetyPart]


class Safety(TypedDict):
    """The verdicts about the runs of a bundle."""

    against: str
    host: str
    bundle_id: str
    compared: bool
    requests: int
    safe: list[str]
    not_safe: list[str]
    gone: list[str]
    runs: list[SafetyRun]


def safety_object(proof: BundleProof) -> Safety:
    """Return the verdicts as a JSON object."""
    return {
        "against": "wandb",
        "host": proof.host,
        "bundle_id": proof.bundle_id,
        "compared": proof.compared,
        "requests": proof.requests,
        "safe": list(map(str, proof.paths("safe"))),
        "not_safe": list(map(str, proof.paths("not safe"))),
        "gone": list(map(str, proof.paths("gone"))),
        "runs": [_run_object(run) for run in proof.runs],
    }


def _run_object(run: RunProof) -> SafetyRun:
    return {
        "path": str(run.path),
        "verdict": run.verdict,
        "reasons": list(run.reasons),
        "state": run.state,
        "heartbeat_at": run.heartbeat_at,
        "parts": [_part_object(part) for part in run.parts],
    }


def _part_object(part: PartProof) -> SafetyPart:
    return {
        "part": part.part,
        "proved": part.proved,
        "reason": part.reason,
        "wandb": part.wandb,
        "bundle": part.bundle,
        "digest": part.digest,
        "wandb_digest": part.wandb_digest,
        "names": list(part.names),
    }


_COUNTED = {
    "rows": "rows",
    "files": "files",
    "console": "console",
    "logged artifacts": "logged",
    "used artifacts": "used",
}
"""The parts that have a column, as `BUNDLE/WANDB`, and its name."""

_PLAIN = ("run", "verdict", *_COUNTED.values())


def safety_section(safety: Safety) -> Section:
    """Return the section with one row per run."""
    return Section(
        name="SAFE_TO_DELETE",
        facts={
            "host": safety["host"],
            "safe": len(safety["safe"]),
            "not_safe": len(safety["not_safe"]),
            "gone": len(safety["gone"]),
            "requests": safety["requests"],
            "compared": yes_no(safety["compared"]),
        },
        columns=[
            *columns("run", "verdict", *_COUNTED.values(), **dict.fromkeys(_PLAIN, name_cell)),
            Column("because", text_cell),
        ],
        rows=[_row(run) for run in safety["runs"]],
        notes=["of rows, files, console lines and artifacts: how many the bundle has / how many W&B has"],
        kept=len(_COUNTED) + 3,
        nouns=Nouns(rows="runs"),
    )


def _row(run: SafetyRun) -> list[str | None]:
    parts = {part["part"]: part for part in run["parts"]}
    counts = [_counts(parts[name]) if name in parts else None for name in _COUNTED]
    return [run["path"], run["verdict"], *counts, "; ".join(run["reasons"]) or None]


def _counts(part: SafetyPart) -> str:
    here, there = part["bundle"], part["wandb"]
    return f"{here or 0}/{'?' if there is None else there}"
