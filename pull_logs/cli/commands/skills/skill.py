"""`skill`: print SKILL.md, or install it where coding agents look for it."""

from __future__ import annotations

from pathlib import Path

import click

from pull_logs.cli.commands.skills.installation import (
    SKILL_FOLDERS,
    agents_in_use,
    home_folder,
    inspect,
    refuse_changed,
    skill_text,
)
from pull_logs.cli.commands.skills.installation import install as install_skill
from pull_logs.cli.spelling import SpellingGroup
from pull_logs.errors import UsageError


@click.group(cls=SpellingGroup, invoke_without_command=True)
@click.pass_context
def skill(ctx: click.Context, /) -> None:
    """Print or install the instructions for coding agents."""
    if ctx.invoked_subcommand is None:
        raise UsageError("skill needs a command", hint="write: pull-logs skill install or print")


@skill.command("print")
def print_skill() -> None:
    """Print SKILL.md."""
    click.echo(skill_text(), nl=False)


@skill.command("install")
@click.option(
    "--agent",
    "agents",
    type=click.Choice(sorted(SKILL_FOLDERS)),
    multiple=True,
    help="The agent, repeatable; without it, those that have a folder in the home folder or the project.",
)
@click.option("--project", is_flag=True, help="Install it in the current folder, for all who work on it.")
@click.option("--user", is_flag=True, help="Install it in the home folder, for all projects (the default).")
@click.option("--print", "printed", is_flag=True, help="Print SKILL.md, and install nothing.")
@click.option("--force", is_flag=True, help="Replace a file that somebody changed.")
def install(*, agents: tuple[str, ...], project: bool, user: bool, printed: bool, force: bool) -> None:
    """Write SKILL.md where coding agents look for it, or update it there.

    A file that somebody changed is left as it is.
    """
    if project and user:
        raise UsageError("skill install has both --project and --user", hint="write one of them")
    text = skill_text()
    if printed:
        click.echo(text, nl=False)
        return
    base = Path() if project else home_folder()
    chosen = list(dict.fromkeys(agents)) or agents_in_use(*((base, home_folder()) if project else (base,)))
    found = [inspect(agent, base, text) for agent in chosen]
    if not force:
        refuse_changed(found)
    for installed in found:
        click.echo(install_skill(installed, text))
