"""The answer of `diff`: what changed between two bundles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import (
    ABSENT,
    Column,
    Nouns,
    Section,
    clip,
    columns,
    escape,
    known_exact,
    short_name_cell,
    yes_no,
)
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, BundleDifference, Run, RunDifference

_MOST_ROWS = 50
"""The rows that a section shows; JSON has them all."""

_WIDTH = 120
"""The characters of a value that a section shows."""

_COUNTS = ("appended", "inserted", "gone", "rewritten")


class DiffBundle(TypedDict):
    """One of the two bundles."""

    path: str
    bundle_id: str
    content_id: str


class DiffRun(TypedDict):
    """A run that only one of the bundles has."""

    path: str
    name: str
    state: str
    rows: int


class DiffEdit(TypedDict):
    """A value that was added, removed or changed."""

    key: str
    change: str
    old: Any
    new: Any


class DiffCell(TypedDict):
    """A cell of a row that was rewritten."""

    step: int
    key: str
    old: Any
    new: Any


class DiffRows(TypedDict):
    """How the rows of a run changed."""

    appended: int
    inserted: int
    gone: int
    rewritten: int
    first_step: int | None
    last_step: int | None
    keys: dict[str, int]
    examples: list[DiffCell]


class DiffContent(TypedDict):
    """The content of a file."""

    bytes: int
    sha256: str


class DiffFile(TypedDict):
    """A file that was added, removed or changed; the content is None where it does not exist."""

    name: str
    change: str
    old: DiffContent | None
    new: DiffContent | None


class DiffVersion(TypedDict):
    """A version of an artifact: its digest, its aliases, and the number of files with their bytes."""

    digest: str | None
    aliases: list[str]
    files: int


class DiffArtifact(TypedDict):
    """An artifact that was added, removed or changed; the version is None where it does not exist."""

    relation: str
    artifact: str
    change: str
    old: DiffVersion | None
    new: DiffVersion | None


class DiffLines(TypedDict):
    """The number of lines of a console log that changed."""

    old: int
    new: int


class DiffChange(TypedDict):
    """How one run changed."""

    path: str
    facts: list[DiffEdit]
    config: list[DiffEdit]
    summary: list[DiffEdit]
    rows: DiffRows | None
    files: list[DiffFile]
    system: bool
    console: DiffLines | None
    artifacts: list[DiffArtifact]


class Diff(TypedDict):
    """The JSON object of `diff`; `pull_logs/data/schemas/diff.json` describes it."""

    format: str
    command: str
    old: DiffBundle
    new: DiffBundle
    same_content: bool
    added: list[DiffRun]
    gone: list[DiffRun]
    changed: list[DiffChange]
    unchanged: int


def diff_object(old: Bundle, new: Bundle, difference: BundleDifference) -> Diff:
    """Return how a bundle changed; numbers that are not finite are strings."""
    return {
        "format": FORMAT,
        "command": "diff",
        "old": _bundle(old),
        "new": _bundle(new),
        "same_content": old.content_id == new.content_id,
        "added": [_run(new[str(path)]) for path in difference.added],
        "gone": [_run(old[str(path)]) for path in difference.gone],
        "changed": [_change(run) for run in difference.changed],
        "unchanged": difference.unchanged,
    }


def _bundle(bundle: Bundle) -> DiffBundle:
    return {"path": str(bundle.path), "bundle_id": bundle.bundle_id, "content_id": bundle.content_id}


def _run(run: Run) -> DiffRun:
    return {"path": str(run.path), "name": run.name, "state": run.state, "rows": run.rows}


def _change(run: RunDifference) -> DiffChange:
    return {
        "path": str(run.path),
        "facts": _edits(run.facts),
        "config": _edits(run.config),
        "summary": _edits(run.summary),
        "rows": None if run.rows is None else _rows(run.rows),
        "files": [
            {"name": edit.path[0], "change": edit.change, "old": edit.old, "new": edit.new}
            for edit in run.files
        ],
        "system": run.system,
        "console": None if run.console is None else {"old": run.console[0], "new": run.console[1]},
        "artifacts": [
            {
                "relation": edit.path[0],
                "artifact": edit.path[1],
                "change": edit.change,
                "old": edit.old,
                "new": edit.new,
            }
            for edit in run.artifacts
        ],
    }


def _edits(edits: Iterable[Any]) -> list[DiffEdit]:
    from pull_logs.frames import join_path
    from pull_logs.rows.canonical import spell

    return [
        {
            "key": join_path(edit.path),
            "change": edit.change,
            "old": spell(edit.old),
            "new": spell(edit.new),
        }
        for edit in edits
    ]


def _rows(rows: Any) -> DiffRows:
    from pull_logs.rows.canonical import spell

    return {
        "appended": rows.appended,
        "inserted": rows.inserted,
        "gone": rows.gone,
        "rewritten": rows.rewritten,
        "first_step": rows.first_step,
        "last_step": rows.last_step,
        "keys": dict(rows.keys),
        "examples": [
            {"step": cell.step, "key": cell.key, "old": spell(cell.old), "new": spell(cell.new)}
            for cell in rows.examples
        ],
    }


def diff_sections(diff: Diff) -> list[Section]:
    """Return the sections of `diff` in order; those about runs that changed only where they have rows."""
    changed = diff["changed"]
    return [
        Section(
            name="DIFF",
            facts={
                "old": diff["old"]["path"],
                "new": diff["new"]["path"],
                "same_content": yes_no(diff["same_content"]),
            },
        ),
        _runs(diff),
        *(
            section
            for section in (
                _edits_section("FACT_CHANGES", [(run["path"], run["facts"]) for run in changed]),
                _edits_section("CONFIG_CHANGES", [(run["path"], run["config"]) for run in changed]),
                _edits_section("SUMMARY_CHANGES", [(run["path"], run["summary"]) for run in changed]),
                _rows_section(changed),
                _cells_section(changed),
                _files_section(changed),
                _artifacts_section(changed),
            )
            if section.rows
        ),
    ]


def _runs(diff: Diff) -> Section:
    """Return the runs that were added, are gone or changed, with the number of changes of each kind."""
    names = ("facts", "config", "summary", *_COUNTS, "files")
    rows: list[list[Any]] = []
    for change, runs in (("added", diff["added"]), ("gone", diff["gone"])):
        rows += [[change, run["path"], run["name"], run["rows"], *[None] * (len(names) + 2)] for run in runs]
    for run in diff["changed"]:
        counts: Mapping[str, Any] = run["rows"] or {}
        amounts = [len(run["facts"]), len(run["config"]), len(run["summary"])]
        amounts += [*(counts.get(name, 0) for name in _COUNTS), len(run["files"])]
        system = "changed" if run["system"] else None
        lines = run["console"] and f"{run['console']['old']} -> {run['console']['new']}"
        amounts_shown = [amount or None for amount in amounts]
        rows.append(["changed", run["path"], None, None, *amounts_shown, system, lines])
    facts = {name: len(diff[name]) for name in ("added", "gone", "changed")}
    return _section(
        "CHANGES",
        {**facts, "unchanged": diff["unchanged"]},
        [
            Column("change", str),
            Column("path", short_name_cell),
            Column("name", short_name_cell),
            *columns("rows", *names),
            Column("system_metrics", str),
            Column("console_lines", str),
        ],
        rows,
        layout="legend",
    )


def _edits_section(name: str, edits: Iterable[tuple[str, Sequence[DiffEdit]]]) -> Section:
    rows = [[run, edit["key"], edit["change"], *_sides(edit)] for run, found in edits for edit in found]
    return _section(
        name,
        {"changes": len(rows)},
        columns(
            "run", "key", "change", "old", "new",
            run=short_name_cell, key=short_name_cell, change=str, old=_value, new=_value,
        ),
        rows,
    )  # fmt: skip


def _sides(edit: DiffEdit) -> tuple[Any, Any]:
    """Return the old and the new value; one that did not exist is absent, which is not null."""
    return (
        ABSENT if edit["change"] == "added" else edit["old"],
        ABSENT if edit["change"] == "removed" else edit["new"],
    )


def _rows_section(changed: Sequence[DiffChange]) -> Section:
    found = [(run["path"], run["rows"]) for run in changed if run["rows"]]
    steps = ("first_step", "last_step")
    rows = [
        [
            path,
            *(rows[name] for name in _COUNTS),  # type: ignore[literal-required]
            *(rows[name] if rows["rewritten"] else None for name in steps),  # type: ignore[literal-required]
            _keys(rows["keys"]),
        ]
        for path, rows in found
    ]
    totals = {
        name: sum(rows[name] for _, rows in found)  # type: ignore[literal-required]
        for name in _COUNTS
    }
    return _section(
        "ROW_CHANGES",
        totals,
        columns("run", *_COUNTS, *steps, "keys", run=short_name_cell, keys=str),
        rows,
    )


def _keys(counts: Mapping[str, int]) -> str:
    """Return the keys of the cells that were rewritten, each with the number of cells."""
    shown = [f"{escape(clip(key, _WIDTH))}:{count}" for key, count in counts.items()]
    more = len(shown) - _MOST_ROWS
    return " ".join([*shown[:_MOST_ROWS], *([f"+{more}"] if more > 0 else [])])


def _cells_section(changed: Sequence[DiffChange]) -> Section:
    rows = [
        [run["path"], cell["step"], cell["key"], _missing(cell["old"]), _missing(cell["new"])]
        for run in changed
        for cell in (run["rows"]["examples"] if run["rows"] else ())
    ]
    return _section(
        "CELL_CHANGES",
        {"examples": len(rows)},
        columns(
            "run",
            "step",
            "key",
            "old",
            "new",
            run=short_name_cell,
            key=short_name_cell,
            old=_value,
            new=_value,
        ),
        rows,
    )


def _missing(value: Any) -> Any:
    """Return a cell of a history, where None means a missing one."""
    return ABSENT if value is None else value


def _artifacts_section(changed: Sequence[DiffChange]) -> Section:
    rows = [
        [
            run["path"],
            edit["relation"],
            edit["artifact"],
            edit["change"],
            *(side and side["digest"] for side in (edit["old"], edit["new"])),
        ]
        for run in changed
        for edit in run["artifacts"]
    ]
    return _section(
        "ARTIFACT_CHANGES",
        {"changes": len(rows)},
        columns(
            "run",
            "relation",
            "artifact",
            "change",
            "old_digest",
            "new_digest",
            run=short_name_cell,
            relation=str,
            artifact=short_name_cell,
            change=str,
            old_digest=str,
            new_digest=str,
        ),
        rows,
    )


def _files_section(changed: Sequence[DiffChange]) -> Section:
    rows = [
        [
            run["path"],
            edit["name"],
            edit["change"],
            *(side and side["bytes"] for side in (edit["old"], edit["new"])),
        ]
        for run in changed
        for edit in run["files"]
    ]
    return _section(
        "FILE_CHANGES",
        {"changes": len(rows)},
        columns(
            "run",
            "file",
            "change",
            "old_bytes",
            "new_bytes",
            run=short_name_cell,
            file=short_name_cell,
            change=str,
        ),
        rows,
    )


def _value(value: Any) -> str:
    return known_exact(clip(value, _WIDTH))


def _section(
    name: str,
    facts: Mapping[str, object],
    columns_: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    layout: Any = "table",
) -> Section:
    """Return a section with the first rows, and a note about the others."""
    more = len(rows) - _MOST_ROWS
    return Section(
        name=name,
        facts=facts,
        columns=columns_,
        rows=rows[:_MOST_ROWS],
        notes=[f"{counted(more, 'more row')}: --json has them all"] if more > 0 else [],
        layout=layout,
        kept=len(columns_),
        nouns=Nouns(),
    )
