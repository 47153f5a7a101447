"""`demo`: every step from a server to an answer, without an account or a network."""

from __future__ import annotations

from pathlib import Path

import click

from pull_logs.cli.bundle_paths import FILE_OUT
from pull_logs.cli.options import force_option


@click.command()
@click.option(
    "-o",
    "--out",
    type=FILE_OUT,
    default=Path("demo.wandb.zip"),
    show_default=True,
    help="The bundle to write, or the URL of one on object storage.",
)
@force_option
def demo(out: Path | str, *, force: bool) -> None:
    """Serve recorded runs on loopback, download them, verify, compare and draw them."""
    from pull_logs.cli.pulling import written
    from pull_logs.cli.report_file import draw_report
    from pull_logs.cli.show import show_comparison
    from pull_logs.interface import Sources
    from pull_logs.report import check_report_output
    from pull_logs.snapshot.format import shown_url
    from pull_logs.snapshot.write import check_bundle_output

    report, made = _report_of(out), Sources(bundles=(out,))
    with written(report, force=force) as picture:
        with written(out, force=force) as bundle:
            check_bundle_output(bundle, force=force)
            target = check_report_output(picture, force=force)
            run_id = _download(bundle, force=force)
        click.echo("4. comparing", err=True)
        show_comparison(made, select="^val/(acc|loss)$")
        click.echo("5. drawing", err=True)
        draw_report(made, target, named=picture)
    click.echo("Next:")
    for command in _next(shown_url(out) if isinstance(out, str) else str(out), run_id):
        click.echo(f"  {command}")


def _download(out: Path, *, force: bool) -> str:
    """Download the recorded runs from a server on loopback, verify them, and return the id of one."""
    from importlib.resources import as_file, files

    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import output_name, print_report
    from pull_logs.fetch import PullOptions, Selection, load_settings, pull_sync
    from pull_logs.replay import serve_bundle
    from pull_logs.snapshot import open_bundle, verify_bundle

    with as_file(files("pull_logs") / "data" / "digits.wandb.zip") as recorded:
        with open_bundle(recorded) as bundle:
            projects = sorted({run.path.project_path for run in bundle.runs()})
        click.echo(f"1. serving {len(projects)} project of recorded runs on loopback", err=True)
        with serve_bundle(recorded) as server, progress_display() as hook:
            settings = load_settings(environ=server.environment())
            click.echo(f"2. downloading every run of {', '.join(projects)} from {server.url}", err=True)
            # The server of an interrupted demo had another address, so what it left cannot be continued.
            report = pull_sync(
                Selection(projects=tuple(projects)),
                out=out,
                options=PullOptions(fresh=True, force=force),
                settings=settings,
                progress=hook,
            )
    print_report(report)
    checked, name = verify_bundle(out), output_name(out)
    click.echo(f"3. verified {checked.members} members of {name}, {checked.bytes / 1e6:.2f} MB", err=True)
    run_id: str = report.runs[0].path.run_id
    return run_id


def _report_of(bundle: Path | str) -> Path | str:
    """Return the file or the URL of the report of a bundle."""
    name = f"{str(bundle).removesuffix('.zip').removesuffix('.wandb')}-report.html"
    return name if isinstance(bundle, str) else Path(name)


def _next(out: str, run_id: str) -> tuple[str, ...]:
    return (
        f"pull-logs -b {out} -r {run_id} --schema",
        f"pull-logs -b {out} --select '^val/' --filter 'summary.val/acc > 0.9'",
        f"pull-logs serve {out}",
    )
