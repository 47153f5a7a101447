"""`serve`: a W&B-compatible read server over bundles."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pull_logs.cli.bundle_paths import near

if TYPE_CHECKING:
    from pull_logs.replay import ReplayServer


def _announce(server: ReplayServer) -> None:
    """Tell how to point the SDK at the server: its own cache would poison later reads of W&B."""
    click.echo(f"serving on {server.url}; set these where wandb.Api() runs, stop with Ctrl-C", err=True)
    for name, value in server.environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...", callback=near)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0 picks a free one.")
@click.option("--allow-remote", is_flag=True, help="Let --host be an address that other machines reach.")
def serve(bundles: tuple[Path, ...], host: str, port: int, *, allow_remote: bool) -> None:
    """Stand in for W&B: unmodified wandb.Api() code reads these bundles."""
    from pull_logs.replay import serve_forever

    serve_forever(bundles, host=host, port=port, allow_remote=allow_remote, on_ready=_announce)
