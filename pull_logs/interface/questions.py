"""`compare`, `overview` and `schema` from Python: the answers of the commands, as they are in their JSON.

Every function takes the sources of the command line. An answer is a dict with the members of the JSON, whose
`repr` is one short line; no budget cuts it, and names that differ only in numbers are not folded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from pull_logs.errors import UsageError
from pull_logs.executors import engine_of
from pull_logs.interface.answers import answering, comparison_of, gating, overview_of
from pull_logs.interface.run_sources import BundleSource, Sources, tracker_sources
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import TypeAlias

    from pull_logs.analyze import CompareResult, OverviewResult, ShowResult
    from pull_logs.snapshot import Bundle, Run

    Source: TypeAlias = str | os.PathLike[str] | Bundle | Run

_MOST_CHARACTERS = 100
_RUN_COLUMNS = ("label", "path", "name", "state", "rows_total", "last_step", "complete", "reason", "source")
"""What a notebook shows of the runs of an answer."""

_FIRST_TABLES = frozenset({"health", "ranking"})
"""What a notebook shows of an answer before the other tables."""

_NOT_COUNTED = frozenset({"runs", "totals", "alignment"})


class SourceOptions(TypedDict, total=False):
    """The keywords that name runs, beside bundles and open runs.

    Attributes:
        runs: Run paths, unique ids, URLs or local run folders (`-r`).
        checkpoints: Checkpoint files, folders or globs (`-c`).
        projects: `entity/project` (`-p`).
        sweeps: `entity/project/sweep` (`--sweep`).
        tensorboard: Event files of TensorBoard, or folders above them (`--tensorboard`).
        mlflow: Databases, folders or servers of MLflow (`--mlflow`).
        trackio: Databases of Trackio, or their folder (`--trackio`).
        filter: A run expression (`--filter`).
        checkpoint_key: The key of the run path in a checkpoint (`--checkpoint-key`).
        refresh: Whether to download again what the cache has.
        offline: Whether the network must not be used.
    """

    runs: str | Iterable[str]
    checkpoints: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    projects: str | Iterable[str]
    sweeps: str | Iterable[str]
    tensorboard: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    mlflow: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    trackio: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    filter: str | None
    checkpoint_key: str | None
    refresh: bool
    offline: bool


def compare(
    *sources: Source,
    select: str | None = None,
    group_by: str | Iterable[str] = (),
    seeds: str | Iterable[str] = (),
    best: str | None = None,
    sort: str | None = None,
    top: int | None = None,
    at: str | float = "last",
    x: str = "_step",
    interpolation: Literal["linear", "previous"] = "linear",
    ci: Literal["t", "bootstrap"] = "t",
    alpha: float = 0.05,
    margin: str | float | None = None,
    task: str | None = None,
    task_scale: Literal["minmax", "raw"] = "minmax",
    against: Source | Iterable[Source] = (),
    metrics: str | Iterable[str] = (),
    asserts: str | Iterable[str] = (),
    columns: Mapping[str, str] | str | Iterable[str] = (),
    where: str | None = None,
    evals: Mapping[str, str] | None = None,
    effect: str | None = None,
    fits: str | Iterable[str] = (),
    pareto: str | None = None,
    executor: Executor | None = None,
    **named: Unpack[SourceOptions],
) -> CompareResult:
    """Compare runs, as `pull-logs compare` does (docs/comparing.md).

    Args:
        *sources: Bundles (paths, folders, globs, URLs or open ones), or open runs.
        select: A regular expression that is searched for in the names of the metrics.
        group_by: Names of config keys or fields, or `all-but:` with names.
        seeds: The keys that differ between the runs of a group (`--seed`).
        best: `METRIC`, `METRIC:min` or `METRIC:max`, by which runs and groups are ranked and tested.
        sort: The same, for ranking only.
        top: How many to show; None for all.
        at: Where the metrics are read: a step, `last`, `best` or `checkpoint`.
        x: The axis of `at`.
        interpolation: How values between two rows are computed.
        ci: How the interval of the mean of a group is computed.
        alpha: The share of false alarms that the tests may have.
        margin: The largest difference that does not matter: a number, or a text such as `"0.5%"`.
        task: The key of the tasks over which groups are compared (`--task`).
        task_scale: The scale of their scores.
        against: Bundles of a baseline. The answer then has `gate` and `gate_metrics`: whether one of
            `metrics` got worse; nothing is raised.
        metrics: `METRIC:min` or `METRIC:max`, which must not get worse than in `against`.
        asserts: Conditions (`--assert`); those that do not hold are in `assertions`, they raise nothing.
        columns: Values of runs (`--column`): names with expressions, or texts such as `rows`.
        where: A condition on rows (`--where`); only those for which it holds are read.
        evals: Names and expressions of columns to compute in every row (`--eval`).
        effect: `METRIC:min` or `METRIC:max`, on which the effect of each config key is looked for.
        fits: `Y ~ X`, lines to fit through values of runs (`--fit`).
        pareto: Two criteria or more, `config.params:min, val/loss:min`.
        executor: Reads histories in its threads or processes, or on a cluster (docs/clusters.md).
        **named: The sources as keywords: `runs`, `checkpoints`, `projects`, `sweeps`, `filter`,
            `checkpoint_key`, `refresh`, `offline`.

    Returns:
        The object that `pull_logs/data/schemas/compare.json` describes.

    Raises:
        PullLogsError: What the command reports as an error.
    """
    from pull_logs.analyze.answers import arrange, compare_runs

    computed = (
        [f"{name}={text}" for name, text in columns.items()]
        if isinstance(columns, Mapping)
        else _several(columns)
    )
    shared: dict[str, Any] = {
        "at": at,
        "axis": x,
        "interpolation": interpolation,
        "seeds": _several(seeds),
        "columns": computed,
        "where": where,
        "evals": tuple((evals or {}).items()),
        "alpha": alpha,
        "margin": margin,
    }
    runs, engine = sources_of(sources, named), engine_of(executor)
    bases = _baseline(against)
    if bases:
        _refuse_with_against(select=select, group_by=group_by, best=best, sort=sort, top=top, asserts=asserts)
        _refuse_with_against(effect=effect, fits=fits, pareto=pareto)
        baseline = sources_of(bases, {"filter": named.get("filter")})
        asked = gating(runs, baseline, metrics=_several(metrics), engine=engine, **shared)
        with asked as (_, answer):
            del answer["next"]
            return cast("CompareResult", _Answer(answer))
    if metrics:
        raise UsageError("metrics are for a gate", hint="name the baseline with against")
    question = comparison_of(
        suggest=False,
        best=best,
        sort=sort,
        select=select,
        group_by=_several(group_by),
        top=top,
        interval=ci,
        task=task,
        scale=task_scale,
        asserts=_several(asserts),
        **shared,
        effect=effect,
        fits=_several(fits),
        pareto=pareto,
    )
    with answering(runs, partial(compare_runs, options=question, engine=engine)) as (_, answer):
        del answer["next"]
        return cast("CompareResult", _Answer(arrange(answer, unfold=True)))


def overview(
    *sources: Source,
    select: str | None = None,
    asserts: str | Iterable[str] = (),
    executor: Executor | None = None,
    **named: Unpack[SourceOptions],
) -> OverviewResult:
    """Summarize runs, as `pull-logs overview` does (docs/health.md).

    Args:
        *sources: As in `compare`.
        select: A regular expression that is searched for in the names of the metrics.
        asserts: Conditions, as in `compare`.
        executor: As in `compare`.
        **named: The sources as keywords, as in `compare`.

    Returns:
        The object that `pull_logs/data/schemas/overview.json` describes.

    Raises:
        PullLogsError: What the command reports as an error.
    """
    from pull_logs.analyze import arrange

    engine = engine_of(executor)
    question = partial(overview_of, select=select, asserts=_several(asserts), engine=engine)
    with answering(sources_of(sources, named), question) as (_, answer):
        return cast("OverviewResult", _Answer(arrange(answer, unfold=True)))


def schema(*sources: Source, select: str | None = None, **named: Unpack[SourceOptions]) -> ShowResult:
    """Describe the metrics of each run by type, count and range, as `pull-logs SOURCES --schema` does.

    Args:
        *sources: As in `compare`.
        select: A regular expression that is searched for in the names of the metrics.
        **named: The sources as keywords, as in `compare`.

    Returns:
        The object that `pull_logs/data/schemas/show.json` describes, with the section `schema`: the columns
        of each run, by its label (see `runs`).

    Raises:
        PullLogsError: What the command reports as an error.
    """
    from pull_logs.analyze import View, answer, arrange

    question = partial(answer, view=View(schema=True, select=select))
    with answering(sources_of(sources, named), question) as (_, found):
        return cast("ShowResult", _Answer(arrange(found, unfold=True)))


class _Answer(dict[str, Any]):
    """An answer whose representation is one short line, instead of all of its content."""

    def __repr__(self) -> str:
        sizes = [
            f"{name} {len(value)}"
            for name, value in self.items()
            if isinstance(value, (list, Mapping)) and value and name not in _NOT_COUNTED
        ]
        runs = self["totals"]["runs"] if "totals" in self else len(self["runs"])
        text = f"<{self['command']}: {counted(runs, 'run')}; {', '.join(sizes)}>"
        return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 2] + "…>"

    def _repr_html_(self) -> str:
        """Return the sentences of the answer, then its lists as tables, as a notebook shows them.

        The runs, which may be many, are shown on a click.
        """
        from pull_logs.snapshot import html_folded, html_lines

        parts = [html_lines([str(self.get("answer", repr(self)))], bold=True)]
        sentences = [str(row["sentence"]) for row in self.get("verdicts", ()) if row.get("sentence")]
        if notes := [*sentences, *map(str, self.get("notes", ()))]:
            parts.append(html_lines(notes))
        tables = {
            name: rows
            for name, rows in self.items()
            if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) and name != "verdicts"
        }
        runs = tables.pop("runs", None)
        order = sorted(tables, key=lambda name: name not in _FIRST_TABLES)
        parts += (_table(name, list(tables[name][0]), tables[name]) for name in order)
        if runs:
            columns = [name for name in _RUN_COLUMNS if name in runs[0]]
            parts.append(html_folded(counted(len(runs), "run"), _table("", columns, runs)))
        return "".join(parts)


def _table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    from pull_logs.snapshot import html_table

    heads = [name.replace("_", " ") for name in columns]
    cells = ([row.get(column) for column in columns] for row in rows)
    return html_table(title.replace("_", " "), heads, cells, total=len(rows))


def sources_of(given: Iterable[Source], named: SourceOptions) -> Sources:
    """Return the sources that were given to a function as arguments and as keywords.

    Raises:
        UsageError: An argument is not a source.
        TypeError: A keyword is not one of `SourceOptions`.
    """
    from pull_logs.snapshot import Bundle, Run

    bundles: list[BundleSource] = []
    opened: list[Run] = []
    for source in given:
        if isinstance(source, Run):
            opened.append(source)
        elif isinstance(source, (Bundle, str)):
            bundles.append(source)
        elif isinstance(source, os.PathLike):
            bundles.append(Path(source))
        else:
            raise UsageError(
                f"{type(source).__name__} is not a source",
                hint="give paths of bundles, open bundles, or runs",
            )
    unknown = named.keys() - SourceOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected keyword: {', '.join(sorted(unknown))}")
    return Sources(
        runs=_several(named.get("runs", ())),
        checkpoints=_several(named.get("checkpoints", ())),
        bundles=tuple(bundles),
        projects=_several(named.get("projects", ())),
        sweeps=_several(named.get("sweeps", ())),
        trackers=tracker_sources(
            {
                "tensorboard": _several(named.get("tensorboard", ())),
                "mlflow": _several(named.get("mlflow", ())),
                "trackio": _several(named.get("trackio", ())),
            }
        ),
        keep=named.get("filter"),
        checkpoint_key=named.get("checkpoint_key"),
        refresh=named.get("refresh", False),
        offline=named.get("offline", False),
        opened=tuple(opened),
    )


def _baseline(against: Source | Iterable[Source]) -> tuple[Source, ...]:
    """Return the sources of a baseline, one or several, as a tuple."""
    from pull_logs.snapshot import Bundle, Run

    if isinstance(against, (str, os.PathLike, Bundle, Run)):
        return (against,)
    return tuple(against)


def _refuse_with_against(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise UsageError(
                f"{name} does not go with against, which tests the metrics of `metrics`",
                hint=f"leave {name} out, or ask that in a second call",
            )


def _several(value: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    if isinstance(value, (str, os.PathLike)):
        return (os.fspath(value),)
    return tuple([os.fspath(item) for item in value])
