"""Notes on stderr, for commands whose answer has none."""

from __future__ import annotations


def warn(text: str) -> None:
    """Print a note on stderr."""
    import click

    from pull_logs.cli.render import inline

    click.echo(f"pull-logs: note: {inline(text)}", err=True)
