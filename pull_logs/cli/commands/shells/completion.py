"""`completion`: the script by which a shell completes command lines."""

from __future__ import annotations

import os
from pathlib import PurePath

import click

from pull_logs.errors import UsageError

_SHELLS = ("bash", "fish", "zsh")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the script by which a shell completes commands, options, and names from the bundles of the line.

    Without SHELL, it is that of $SHELL. Bash and zsh read it with `eval "$(pull-logs completion bash)"`
    in their start files, fish with `pull-logs completion fish | source`.
    """
    from pull_logs.cli.completion import shell_script

    name = shell or PurePath(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise UsageError(
            f"{name!r} is not a shell that completes" if name else "$SHELL is not set",
            hint="name bash, fish or zsh",
        )
    click.echo(shell_script(name, ctx.find_root().command))
