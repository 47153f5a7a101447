"""`demo`: every step from a server to an answer, without an account or a network."""

from __future__ import annotations

from pathlib import Path

import click

from pull_logs.cli.bundle_paths import OUT
from pull_logs.cli.options import force_option


@click.command()
@click.option(
    "-o",
    "--out",
    type=OUT,
    default=Path("demo.wandb.zip"),
    show_default=True,
    help="The bundle to write.",
)
@force_option
def demo(out: Path, *, force: bool) -> None:
    """Serve recorded runs on loopback, download them, verify, compare and draw them."""
    from importlib.resources import as_file, files

    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import print_report
    from pull_logs.cli.report_file import draw_report
    from pull_logs.cli.show import show_comparison
    from pull_logs.fetch import PullOptions, Selection, load_settings, pull_sync
    from pull_logs.interface import Sources
    from pull_logs.replay import serve_bundle
    from pull_logs.report import check_report_output
    from pull_logs.snapshot import open_bundle, verify_bundle
    from pull_logs.snapshot.write import check_bundle_output

    check_bundle_output(out, force=force)
    picture = check_report_output(_report_of(out), force=force)
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
    checked = verify_bundle(out)
    click.echo(f"3. verified {checked.members} members of {out}, {checked.bytes / 1e6:.2f} MB", err=True)
    click.echo("4. comparing", err=True)
    show_comparison(Sources(bundles=(out,)), select="^val/(acc|loss)$")
    click.echo("5. drawing", err=True)
    draw_report(Sources(bundles=(out,)), picture, named=_report_of(out))
    click.echo("Next:")
    for command in _next(out, report.runs[0].path.run_id):
        click.echo(f"  {command}")


def _report_of(bundle: Path) -> Path:
    """Return the file of the report of a bundle."""
    return bundle.with_name(f"{bundle.name.removesuffix('.zip').removesuffix('.wandb')}-report.html")


def _next(out: Path, run_id: str) -> tuple[str, ...]:
    return (
        f"pull-logs -b {out} -r {run_id} --schema",
        f"pull-logs -b {out} --select '^val/' --filter 'summary.val/acc > 0.9'",
        f"pull-logs serve {out}",
    )
