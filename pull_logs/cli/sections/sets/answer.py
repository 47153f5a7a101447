"""The answer of the commands of `set`: what a bundle set has, and what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Nouns, Section, columns, name_cell, text_cell
from pull_logs.cli.sections.legend import notes_section
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.snapshot import AddReport, BundleSet
    from pull_logs.snapshot.sets import CompactReport


class SetMember(TypedDict):
    """A member of a set; `bytes` is None if it is missing."""

    member: str
    runs: int
    bytes: int | None
    bundle_id: str


class SetChange(TypedDict):
    """A change of a run or of a member; `member` is where the run is now."""

    name: str
    change: str
    member: str | None
    reason: str | None


class SetAnswer(TypedDict):
    """The JSON object of the commands of `set`; `pull_logs/data/schemas/set.json` describes it."""

    format: str
    command: str
    path: str
    version: int
    runs_total: int
    members: list[SetMember]
    unlisted: list[str]
    changes: list[SetChange]
    notes: list[str]


def set_object(
    opened: BundleSet, command: str, *, changes: Sequence[SetChange] = (), notes: Sequence[str] = ()
) -> SetAnswer:
    """Return what a set has.

    Args:
        opened: The set.
        command: The command.
        changes: What it changed.
        notes: What it has to say about that.
    """
    from pull_logs.snapshot.sets import unlisted_members

    stored, runs = opened.store.members(), opened.catalog.members()
    return {
        "format": FORMAT,
        "command": f"set {command}",
        "path": str(opened.path),
        "version": opened.version,
        "runs_total": len(opened),
        "members": [
            {
                "member": name,
                "runs": runs[name],
                "bytes": stored[name].bytes if name in stored else None,
                "bundle_id": bundle_id,
            }
            for name, bundle_id in opened.catalog.member_ids()
        ],
        "unlisted": list(unlisted_members(opened)),
        "changes": list(changes),
        "notes": list(notes),
    }


def add_changes(report: AddReport, opened: BundleSet) -> list[SetChange]:
    """Return the runs that were added and replaced, and those of which the set keeps its own version."""
    found: list[tuple[str, str, str | None]] = [(str(path), "added", None) for path in report.added]
    found += [(str(choice.path), "replaced", choice.reason) for choice in report.replaced]
    found += [(str(choice.path), "kept", choice.reason) for choice in report.kept]
    return [
        {
            "name": name,
            "change": change,
            "member": opened.entry(name).location.member if name in opened else None,
            "reason": reason,
        }
        for name, change, reason in sorted(found, key=lambda one: one[:2])
    ]


def compact_changes(report: CompactReport) -> list[SetChange]:
    """Return the members that were written, copied and removed."""
    found = [("written", report.members), ("copied", report.compacted), ("removed", report.removed)]
    return [
        {"name": name, "change": change, "member": None, "reason": None}
        for change, names in found
        for name in names
    ]


def set_sections(answer: SetAnswer, *, members: bool) -> list[Section]:
    """Return the sections of an answer in order.

    Args:
        answer: The answer.
        members: Whether the members are listed.
    """
    sizes = [member["bytes"] or 0 for member in answer["members"]]
    sections = [
        notes_section(answer["notes"]),
        Section(
            name="SET",
            facts={
                "path": answer["path"],
                "version": answer["version"],
                "runs": answer["runs_total"],
                "members": len(answer["members"]),
                "bytes": sum(sizes),
                "unlisted": len(answer["unlisted"]) or None,
            },
        ),
    ]
    if members:
        listed = [[one["member"], one["runs"], one["bytes"], one["bundle_id"]] for one in answer["members"]]
        listed += [[name, 0, None, None] for name in answer["unlisted"]]
        sections.append(
            Section(
                name="MEMBERS",
                columns=columns("member", "runs", "bytes", "bundle_id", member=name_cell),
                rows=listed,
                kept=3,
                nouns=Nouns(rows="members"),
            )
        )
    if answer["changes"]:
        sections.append(
            Section(
                name="SET_CHANGES",
                columns=columns("name", "change", "member", "reason", name=name_cell, reason=text_cell),
                rows=[
                    [one["name"], one["change"], one["member"], one["reason"]] for one in answer["changes"]
                ],
                kept=2,
                nouns=Nouns(rows="changes"),
            )
        )
    return sections


def waiting_note(report: CompactReport) -> list[str]:
    """Return a note on the members that are kept for their readers."""
    if not report.waiting:
        return []
    return [f"{counted(report.waiting, 'old member')} kept for readers: a later `set compact` removes them"]
