"""The examples at the end of each `--help`; tests/cli/test_help_examples.py runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

EXAMPLES: Mapping[str, Sequence[str]] = {
    "": (
        "sweep.wandb.zip --stats",
        "-b sweep.wandb.zip -r 3fk2a --select '^val/' --where '_step > 100'",
        "-p acme/nano --filter 'config.lr <= 0.01' -H",
    ),
    "archive": ("acme/nano -o archive --for 6h",),
    "audit": ("sweep.wandb.zip", "sweep.wandb.zip --redact -o public.wandb.zip"),
    "cache": ("size",),
    "cache dir": ("",),
    "cache prune": ("--older-than 30",),
    "cache size": ("",),
    "compare": (
        "-b sweep.wandb.zip --group-by config.lr --best val/acc:max",
        "-b sweep.wandb.zip --column 'reach=first_step(val/loss < 3)' --sort reach:min",
        "-b sweep.wandb.zip --column 'hours=duration / 3600' --column rows",
        "-b sweep.wandb.zip --eval 'gap=val/loss - train/loss' --where '_step > 100'",
        "-b suite.wandb.zip --task dataset --group-by config.optimizer --best val/acc:max",
        "-b new.wandb.zip --against base.wandb.zip --metric val/loss:min --margin 0.5%",
        "-b sweep.wandb.zip --effect val/loss:min",
        "-b sweep.wandb.zip --fit 'log(train/loss) ~ log(config.num_params)'",
        "-b sweep.wandb.zip --pareto 'config.num_params:min, val/loss:min'",
        "-b sweep.wandb.zip --x _runtime --at 1000 --best val/loss:min",
        "-b sweep.wandb.zip --best val/acc:max --format latex --section ranking",
    ),
    "completion": ("bash", "zsh", "fish"),
    "demo": ("-o demo.wandb.zip",),
    "diff": ("old.wandb.zip new.wandb.zip", "old.wandb.zip new.wandb.zip --exit-code"),
    "exec": ("sweep.wandb.zip -- python eval.py",),
    "export": ("sweep.wandb.zip -o sweep-csv --format csv",),
    "fetch": ("-p acme/nano -o nano.wandb.zip", "-r acme/nano/3fk2a -o run.wandb.zip"),
    "import": ("wandb/ -o local.wandb.zip",),
    "info": ("sweep.wandb.zip", "sweep.wandb.zip --json"),
    "logs": ("-b sweep.wandb.zip -r 3fk2a --grep '(?i)nan|error'",),
    "mcp": ("sweep.wandb.zip", "sweep.wandb.zip --http --port 8123"),
    "media": ("-b sweep.wandb.zip -r 3fk2a --key 'val/*'", "sweep.wandb.zip -o media"),
    "merge": ("old.wandb.zip new.wandb.zip -o both.wandb.zip",),
    "overview": ("sweep.wandb.zip", "-b sweep.wandb.zip --assert 'val/acc > 0.1'"),
    "plot": (
        "-b sweep.wandb.zip --select '^val/loss$' --group-by config.lr",
        "-b sweep.wandb.zip --select '^val/loss$' --smooth 0.9 -o loss.png",
    ),
    "reconcile": ("wandb/ -b digits.wandb.zip", "wandb/ --entity acme --project nano"),
    "refresh": ("nano.wandb.zip",),
    "report": ("-b sweep.wandb.zip --group-by config.lr -o report.html",),
    "serve": ("sweep.wandb.zip",),
    "set": ("list lab",),
    "set add": ("lab sweep.wandb.zip --keep", "lab sweep.wandb.zip"),
    "set compact": ("lab", "lab --size 1GB --grace 0"),
    "set diff": ("lab sweep.wandb.zip",),
    "set drop": ("lab 3fk2a",),
    "set info": ("lab", "lab --json"),
    "set list": ("lab",),
    "set refresh": ("lab",),
    "set verify": ("lab",),
    "skill": ("print",),
    "skill install": ("--project --agent claude",),
    "skill print": ("",),
    "sql": (
        "-b sweep.wandb.zip 'SELECT run, min(\"val/loss\") AS best FROM history GROUP BY run ORDER BY best'",
        "-b sweep.wandb.zip -o lr.parquet 'SELECT path, \"config.lr\" FROM runs'",
    ),
    "subset": ("sweep.wandb.zip --filter 'config.lr == 0.1' -o small.wandb.zip",),
    "sync": ("-p acme/nano -o archive.wandb.zip",),
    "verify": ("sweep.wandb.zip", "sweep.wandb.zip --quick", "sweep.wandb.zip --against wandb --list"),
}
"""What comes after the name of each command."""


def add_examples(command: click.Command, name: str = "") -> None:
    """Give the help of a command, and of those in it, its examples.

    Args:
        command: The command.
        name: Its words after `pull-logs`.
    """
    lines = (" ".join(filter(None, ("  pull-logs", name, words))) for words in EXAMPLES.get(name, ()))
    command.epilog = "\n".join(("\b", "Examples:", *lines))
    if name and isinstance(command, click.Group):
        for word, item in command.commands.items():
            add_examples(item, f"{name} {word}")
