"""Hints: at most two commands to run next, printed on stderr; `--no-hints` turns them off.

A hint narrows or deepens the question that was asked, over the same sources.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pull_logs.analyze.answers import MetricStatistics, schema_names
from pull_logs.analyze.statistics import HELD_OUT_WORDS, TRAINING_WORDS, deciding_metric, outcome_end
from pull_logs.cli.sections import MANY_RUNS
from pull_logs.interface import Sources
from pull_logs.snapshot.format import is_url, shown_url

_AT_MOST = 2
_LONGEST = 400
_LEADING_WORD = re.compile(r"([^/_.]+)[/_.]")


def print_hints(commands: Iterable[Sequence[str]]) -> None:
    """Print the first commands on stderr, without those that are not one line to copy, or contain a key."""
    import click

    from pull_logs.cli.render import inline

    sys.stdout.flush()  # a reader that closed the pipe gets no hints
    lines = (shlex.join(command) for command in commands if not any(map(_holds_a_key, command)))
    for line in islice((line for line in lines if len(line) <= _LONGEST and line == inline(line)), _AT_MOST):
        click.echo(f"pull-logs: next: {line}", err=True)


def _holds_a_key(word: str) -> bool:
    """Return whether a word is the URL of a bundle with a key in it."""
    return is_url(word) and shown_url(word) != word


def source_words(sources: Sources) -> list[str]:
    """Return the options that name these sources."""
    words: list[str] = []
    for flag, values in (
        ("-b", sources.bundles),
        ("-r", sources.runs),
        ("-c", sources.checkpoints),
        ("-p", sources.projects),
        ("--sweep", sources.sweeps),
    ):
        words += [word for value in values for word in (flag, str(value))]
    words += [word for source in sources.trackers for word in (f"--{source.kind}", source.location)]
    words += ["--filter", sources.keep] if sources.keep is not None else []
    words += ["--checkpoint-key", sources.checkpoint_key] if sources.checkpoint_key else []
    return [*words, *(["--offline"] if sources.offline else [])]


def show_hints(answer: Mapping[str, Any], sources: Sources) -> Iterator[Sequence[str]]:
    """Yield commands to run after a view."""
    words = source_words(sources)
    runs = answer["runs"]
    if "schema" in answer and "stats" not in answer:
        names = [name for entries in answer["schema"].values() for name in schema_names(entries)]
        if pattern := _group_pattern(names):
            yield ("pull-logs", *words, "--stats", "--select", pattern)
            yield ("pull-logs", *words, "--select", pattern)
    elif "stats" in answer:
        for run, metrics in answer["stats"].items():
            for name, found in metrics.items():
                cells = found.texts if isinstance(found, MetricStatistics) else [found["last"]]
                if cells and cells[-1] in ("NaN", "Infinity", "-Infinity"):
                    path = next(item["path"] for item in runs if item["label"] == run)
                    look = ("--select", _exactly(name), "--where", f"not isfinite({_quoted(name)})")
                    yield ("pull-logs", *_one_run(sources, path), *look)
    elif len(runs) >= MANY_RUNS and "config" in answer:
        yield ("pull-logs", "overview", *words)
        yield ("pull-logs", "compare", *words)
    elif "history" in answer and "config" in answer:
        yield ("pull-logs", *words, "--schema")
        yield ("pull-logs", "overview", *words)


def overview_hints(answer: Mapping[str, Any], sources: Sources) -> Iterator[Sequence[str]]:
    """Yield commands to run after an overview: where the first problem begins, and which run is best."""
    for entry in answer["health"]:
        for found in entry["found"]:
            if found["metric"] is not None and found["step"] is not None:
                look = ("--select", _exactly(found["metric"]), "--around", str(found["step"]))
                yield ("pull-logs", *_one_run(sources, found["path"]), *look)
                break
        else:
            continue
        break
    metric = deciding_metric(entry["name"] for entry in answer["metrics"] if "members" not in entry)
    if answer["totals"]["runs"] > 1:
        best = () if metric is None else ("--best", f"{metric}:{outcome_end(metric)}")
        yield ("pull-logs", "compare", *source_words(sources), *best)


def _one_run(sources: Sources, path: str) -> list[str]:
    """Return the options that name one of the runs of these sources."""
    if sources.trackers or any(Path(text).exists() for text in sources.runs):
        # A path names a run of W&B or of a bundle, and these are from elsewhere.
        condition = f"run_id == {json.dumps(path.rpartition('/')[2])}"
        return [*source_words(replace(sources, keep=None)), "--filter", condition]
    words = [word for bundle in sources.bundles for word in ("-b", str(bundle))]
    return [*words, "-r", path, *(["--offline"] if sources.offline else [])]


def _exactly(name: str) -> str:
    return f"^{re.escape(name)}$"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _group_pattern(names: Sequence[str]) -> str | None:
    """Return a pattern for the most important metrics: validation before training."""
    found = {match[1] for name in names if (match := _LEADING_WORD.match(name))}
    for word in (*HELD_OUT_WORDS, *TRAINING_WORDS, "loss"):
        if word in found:
            return f"^{word}[/_.]"
    return "loss" if any("loss" in name for name in names) else None
