"""The commands on bundles that need no network: import, info, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs._version import FORMAT
from pull_logs.cli.bundle_paths import OUT, Named, near, near_or_far
from pull_logs.cli.render import say_sealed
from pull_logs.cli.sharing import made_for_sharing, redact_option

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, Damage, VerifyReport


@click.command("import")
@click.argument("folders", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=OUT, metavar="FILE", help="The bundle to write.")
@click.option("--entity", metavar="E", help="Entity of the runs, in place of the logs' own.")
@click.option("--project", metavar="P", help="Project of the runs, in place of the logs' own.")
@click.option(
    "--on-restart",
    type=click.Choice(["offset", "overwrite", "error"]),
    default="offset",
    show_default=True,
    help="What to do where a resumed run counts its steps from the start again.",
)
@redact_option
@click.option(
    "--strict", is_flag=True, help="Incomplete data is an error (exit 4); the bundle is written all the same."
)
def import_command(
    folders: tuple[Path, ...],
    out: Path,
    entity: str | None,
    project: str | None,
    on_restart: Any,
    *,
    redact: bool,
    strict: bool,
) -> None:
    """Make a bundle of local W&B run folders, or of a whole wandb/ folder."""
    from pull_logs.cli.render import inline
    from pull_logs.errors import IncompleteError
    from pull_logs.sources import import_runs

    report = import_runs(folders, out=out, entity=entity, project=project, on_restart=on_restart)
    for note in report.notes:
        click.echo(f"pull-logs: note: {inline(note)}", err=True)
    say_sealed(made_for_sharing(report.seal, redact=redact))
    if strict and report.seal.incomplete:
        raise IncompleteError(f"{len(report.seal.incomplete)} of {report.seal.runs} runs are incomplete")


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "command": "info",
        "path": str(bundle.path),
        "bundle_id": bundle.bundle_id,
        "content_id": bundle.content_id,
        "metrics": bundle.manifest.metrics,
        "redacted": dict(bundle.manifest.redacted),
        "runs": [
            {
                "path": str(run.path),
                "name": run.name,
                "state": run.state,
                "rows": run.rows,
                "last_step": run.last_step,
                "complete": run.complete,
                "files": [
                    {"name": file.name, "bytes": file.size, "sha256": file.sha256, "md5": file.md5}
                    for file in run.files.values()
                ],
            }
            for run in bundle.runs()
        ],
    }


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near_or_far)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def info(bundle: Named, *, as_json: bool) -> None:
    """Tell what a bundle holds: its identities and its runs."""
    from pull_logs.cli.render import escape, json_lines
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        facts = _facts(opened)
    if as_json:
        click.echo(json_lines(facts))
        return
    runs = facts["runs"]
    click.echo(
        f"[BUNDLE] path={escape(facts['path'])} runs={len(runs)} rows={sum(run['rows'] for run in runs)}"
    )
    click.echo(f"bundle_id {facts['bundle_id']}\ncontent_id {facts['content_id']}")
    if facts["metrics"] is not None:
        click.echo(f"[METRICS] matching={escape(facts['metrics'])}")
    if facts["redacted"]:
        removed = " ".join(f"{escape(kind)}={count}" for kind, count in facts["redacted"].items())
        click.echo(f"[REDACTED] {removed}")
    click.echo(f"[RUNS] count={len(runs)}")
    for run in runs:
        whole = "complete" if run["complete"] else "INCOMPLETE"
        last = "-" if run["last_step"] is None else run["last_step"]
        size = sum(file["bytes"] for file in run["files"])
        files = f" files={len(run['files'])} file_bytes={size}" if run["files"] else ""
        click.echo(
            f"{escape(run['path'])} name={escape(run['name'])} state={escape(run['state'])}"
            f" rows={run['rows']} last_step={last}{files} {whole}"
        )


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
