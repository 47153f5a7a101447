"""`verify`: check a bundle and locate damage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs._version import FORMAT
from pull_logs.cli.bundle_paths import near

if TYPE_CHECKING:
    from pull_logs.snapshot import Damage, VerifyReport


def _damage_line(damage: Damage) -> str:
    from pull_logs.cli.render import inline

    place = [damage.member or "container"]
    if damage.run:
        place.append(f"run {damage.run}")
    if damage.column:
        place.append(f"column {damage.column!r}")
    if damage.byte_range:
        place.append("bytes {}-{}".format(*damage.byte_range))
    return inline(f"{', '.join(place)}: {damage.reason}")


def _verdict(report: VerifyReport) -> dict[str, Any]:
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
    }


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near)
@click.option(
    "--deep/--quick",
    default=True,
    show_default=True,
    help="Decode every row as well, or check structure and hashes only.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def verify(bundle: Path, *, deep: bool, as_json: bool) -> None:
    """Check every byte of a bundle against its manifest; damage is located (exit 6)."""
    from pull_logs.cli.render import inline, json_lines
    from pull_logs.errors import BundleDamagedError
    from pull_logs.snapshot import verify_bundle

    report = verify_bundle(bundle, deep=deep)
    if as_json:
        click.echo(json_lines(_verdict(report)))
    elif not report.damages:
        click.echo(f"{inline(str(bundle))}: ok, {report.members} members, {report.bytes / 1e6:.2f} MB")
    else:
        for damage in report.damages:
            click.echo(_damage_line(damage))
    if report.damages:
        raise BundleDamagedError(
            f"{str(bundle)!r} is damaged: {_damage_line(report.damages[0])}",
            path=str(bundle),
            member=report.damages[0].member,
            hint="get it again from where it came; what is not named above is still good",
        )
