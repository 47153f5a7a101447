"""The answer of `verify`: whether a bundle is intact, and where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Nouns, Section, columns, name_cell, text_cell, yes_no
from pull_logs.cli.sections.proofs import (
    Safety,
    SdkAnswer,
    safety_object,
    safety_section,
    sdk_object,
    sdk_sections,
)

if TYPE_CHECKING:
    from pull_logs.proof import BundleProof, SdkCheck
    from pull_logs.snapshot import Damage, VerifyReport


class VerifyDamage(TypedDict):
    """Damage and its location; a part of the location that is not known is None."""

    member: str | None
    run: str | None
    column: str | None
    byte_range: tuple[int, int] | None
    reason: str


class Verification(TypedDict):
    """The JSON object of `verify`; `pull_logs/data/schemas/verify.json` describes it."""

    format: str
    command: str
    path: str
    ok: bool
    members: int
    bytes: int
    damages: list[VerifyDamage]
    safety: Safety | None
    sdk: SdkAnswer | None


def verify_object(
    report: VerifyReport, proof: BundleProof | None = None, check: SdkCheck | None = None
) -> Verification:
    """Return the result of a verification.

    Args:
        report: What the check against the manifest found.
        proof: What the comparison with W&B found; None if W&B was not asked.
        check: What the comparison with the SDK found; None if it was not made.
    """
    return {
        "format": FORMAT,
        "command": "verify",
        "path": str(report.path),
        "ok": not report.damages,
        "members": report.members,
        "bytes": report.bytes,
        "damages": [
            {
                "member": damage.member,
                "run": damage.run,
                "column": damage.column,
                "byte_range": damage.byte_range,
                "reason": damage.reason,
            }
            for damage in report.damages
        ],
        "safety": None if proof is None else safety_object(proof),
        "sdk": None if check is None else sdk_object(check),
    }


def verify_sections(result: Verification) -> list[Section]:
    """Return the sections of `verify` in order."""
    damages = result["damages"]
    sections = [
        Section(
            name="VERIFY",
            facts={
                "path": result["path"],
                "ok": yes_no(result["ok"]),
                "members": result["members"],
                "bytes": result["bytes"],
            },
        )
    ]
    if damages:
        names = ("member", "run", "column", "start", "end", "reason")
        sections.append(
            Section(
                name="DAMAGE",
                facts={"found": len(damages)},
                columns=columns(*names, member=name_cell, run=name_cell, column=name_cell, reason=text_cell),
                rows=[
                    [
                        damage["member"],
                        damage["run"],
                        damage["column"],
                        *(damage["byte_range"] or (None, None)),
                        damage["reason"],
                    ]
                    for damage in damages
                ],
                kept=len(names),
                nouns=Nouns(rows="damages"),
            )
        )
    if result["safety"] is not None:
        sections.append(safety_section(result["safety"]))
    if result["sdk"] is not None:
        sections += sdk_sections(result["sdk"])
    return sections


def damage_text(damage: Damage) -> str:
    """Return damage and its location as a sentence; a reason that names the member says where it is."""
    location = [damage.member or "container"]
    if damage.reason.startswith(f"{damage.member} ") and not (damage.column or damage.byte_range):
        return damage.reason
    if damage.run:
        location.append(f"run {damage.run}")
    if damage.column:
        location.append(f"column {damage.column!r}")
    if damage.byte_range:
        location.append("bytes {}-{}".format(*damage.byte_range))
    return f"{', '.join(location)}: {damage.reason}"
