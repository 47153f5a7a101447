"""`cache`: where the local cache is, how large it is, and removing it."""

from __future__ import annotations

import click

from pull_logs.cli.spelling import SpellingGroup
from pull_logs.errors import UsageError


@click.group(cls=SpellingGroup, invoke_without_command=True)
@click.pass_context
def cache(ctx: click.Context, /) -> None:
    """Show or prune the local cache of runs that were viewed."""
    if ctx.invoked_subcommand is None:
        raise UsageError("cache needs a command", hint="write: pull-logs cache dir, size or prune")


@cache.command("dir")
def show_dir() -> None:
    """Print the folder of the cache."""
    from pull_logs.fetch import default_folder

    click.echo(default_folder())


@cache.command("size")
def show_size() -> None:
    """Print how many runs and bytes the cache holds."""
    from pull_logs.fetch import cache_size, default_folder

    folder = default_folder()
    click.echo(f"{folder}: {cache_size(folder)}")


@cache.command("prune")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove runs that were downloaded more than DAYS days ago.",
)
@click.option("--all", "everything", is_flag=True, help="Remove all runs.")
def prune(*, older_than: float | None, everything: bool) -> None:
    """Remove runs from the cache; they are downloaded again when they are viewed."""
    from pull_logs.fetch import cache_size, default_folder, prune_cache

    if everything is (older_than is not None):
        both = "both --all and --older-than" if everything else "neither --all nor --older-than"
        raise UsageError(f"cache prune has {both}", hint="write: --older-than DAYS or --all")
    folder = default_folder()
    removed = prune_cache(folder, older_than=older_than)
    click.echo(f"removed {removed}; {cache_size(folder)} left in {folder}")
