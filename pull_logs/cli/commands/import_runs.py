"""`import`: a bundle of local W&B run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import OUT
from pull_logs.cli.render import say_sealed
from pull_logs.cli.sharing import made_for_sharing, redact_option


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
