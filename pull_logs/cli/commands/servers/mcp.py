"""`mcp`: answer an agent's questions about runs, as a server of the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import named_bundles
from pull_logs.cli.notes import warn
from pull_logs.cli.options import bundle_words
from pull_logs.cli.sources import take_sources
from pull_logs.errors import UsageError

if TYPE_CHECKING:
    from pull_logs.cli.tools import HttpAddress


def _announce(address: HttpAddress) -> None:
    click.echo(f"pull-logs: MCP on {address.url}; stop with Ctrl-C", err=True)


@click.command()
@bundle_words
@click.option(
    "-b",
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    callback=named_bundles,
    help="A bundle, a folder or glob of bundles, or a URL.",
)
@click.option("-r", "--run", "runs", multiple=True, metavar="PATH", help="A local W&B run folder.")
@click.option("--http", is_flag=True, help="Answer over HTTP on the loopback interface, not on stdin.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of --http; 0, the default, picks one.")
@click.pass_obj
def mcp(workers: int, /, *, http: bool, port: int | None, **options: Any) -> None:
    """Answer agents: a server of the Model Context Protocol over bundles.

    Eight tools that only read: overview, runs, schema, stats, history, compare, logs and sql, with the
    arguments and answers of the commands. The network is not used.
    """
    if port is not None and not http:
        raise UsageError("--port is given without --http", hint="add --http")
    sources = take_sources(
        {
            **options,
            "checkpoints": (),
            "projects": (),
            "sweeps": (),
            "keep": None,
            "checkpoint_key": None,
            "offline": True,
        }
    )
    sources.check()
    from pull_logs.cli.tools import make_server, serve_http, serve_stdio
    from pull_logs.interface import check_bundles, open_subjects

    # A source that cannot be read is an error of this command, not of each call.
    if http or sources.runs:
        with open_subjects(sources, report=lambda _: None):
            pass
    else:
        check_bundles(sources.bundles)
    if http:
        serve_http(make_server(sources, workers=workers), port=port or 0, on_ready=_announce)
    else:
        serve_stdio(sources, workers=workers, report=lambda exc: warn(str(exc)))
