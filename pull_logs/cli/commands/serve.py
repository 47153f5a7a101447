"""`serve`: answer the requests of the W&B SDK from bundles."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument

if TYPE_CHECKING:
    from pull_logs.replay import ReplayServer


def _announce(server: ReplayServer) -> None:
    """Print the variables that point the SDK at the server, and at a cache that real reads never use."""
    click.echo(f"serving on {server.url}; set these where wandb.Api() runs, stop with Ctrl-C", err=True)
    for name, value in server.environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@bundle_argument("bundles", metavar="BUNDLE...", count=None)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0 picks a free one.")
@click.option("--allow-remote", is_flag=True, help="Allow a --host that other machines can reach.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME[:PORT]",
    help="Also answer requests sent to this host, and print it as the server's; repeatable.",
)
@click.option(
    "--api-key",
    envvar="PULL_LOGS_API_KEY",
    metavar="KEY",
    help="The key that clients send, from PULL_LOGS_API_KEY by default; else one is generated.",
)
def serve(
    bundles: tuple[Named, ...],
    host: str,
    port: int,
    hosts: tuple[str, ...],
    api_key: str | None,
    *,
    allow_remote: bool,
) -> None:
    """Serve bundles as W&B does: unmodified wandb.Api() code reads them."""
    from pull_logs.replay import serve_forever

    serve_forever(
        bundles,
        host=host,
        port=port,
        allow_remote=allow_remote,
        hosts=hosts,
        api_key=api_key or None,
        on_ready=_announce,
    )
