"""What changed between two bundles, as text sections and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pull_logs._version import FORMAT
from pull_logs.cli.render.escape import escape, json_text

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, BundleDifference, RunDifference

_LINES = 50
"""Lines that a text section shows; JSON has them all."""

_WIDTH = 120
"""Characters of a value that a text section shows."""


def diff_object(old: Bundle, new: Bundle, difference: BundleDifference) -> dict[str, Any]:
    """The JSON object of a difference; numbers that are not finite are strings."""
    return {
        "format": FORMAT,
        "command": "diff",
        "old": _identity(old),
        "new": _identity(new),
        "same_content": old.content_id == new.content_id,
        "added": [_listed(new, path) for path in map(str, difference.added)],
        "gone": [_listed(old, path) for path in map(str, difference.gone)],
        "changed": [_changed(run) for run in difference.changed],
        "unchanged": difference.unchanged,
    }


def _identity(bundle: Bundle) -> dict[str, Any]:
    return {"path": str(bundle.path), "bundle_id": bundle.bundle_id, "content_id": bundle.content_id}


def _listed(bundle: Bundle, path: str) -> dict[str, Any]:
    run = bundle[path]
    return {"path": path, "name": run.name, "state": run.state, "rows": run.rows}


def _changed(run: RunDifference) -> dict[str, Any]:
    from pull_logs.analyze.frames import join_path
    from pull_logs.rows.canonical import spell

    told: dict[str, Any] = {"path": str(run.path)}
    for name in ("facts", "config", "summary"):
        told[name] = [
            {
                "key": join_path(edit.path),
                "change": edit.change,
                "old": spell(edit.old),
                "new": spell(edit.new),
            }
            for edit in getattr(run, name)
        ]
    told["rows"] = None
    if run.rows is not None:
        counts = ("appended", "inserted", "gone", "rewritten", "first_step", "last_step")
        told["rows"] = {name: getattr(run.rows, name) for name in counts}
        told["rows"]["keys"] = dict(run.rows.keys)
        told["rows"]["examples"] = [
            {"step": cell.step, "key": cell.key, "old": spell(cell.old), "new": spell(cell.new)}
            for cell in run.rows.examples
        ]
    told["files"] = [
        {"name": edit.path[0], "change": edit.change, "old": edit.old, "new": edit.new} for edit in run.files
    ]
    return told | {"system": run.system}


def diff_text(told: dict[str, Any]) -> str:
    """The text sections of what `diff_object` gives; those without content are left out."""
    same = "yes" if told["same_content"] else "no"
    paths = (escape(told[side]["path"]) for side in ("old", "new"))
    lines = ["[DIFF] old={} new={} same_content={}".format(*paths, same)]
    counts = (f"{name}={len(told[name])}" for name in ("added", "gone", "changed"))
    lines.append(f"[RUNS] {' '.join(counts)} unchanged={told['unchanged']}")
    lines += _cut(list(_run_lines(told)))
    for name in ("facts", "config", "summary"):
        edits = [_edit_line(run["path"], edit) for run in told["changed"] for edit in run[name]]
        if edits:
            lines += [f"[{name.upper()}] edits={len(edits)}", *_cut(edits)]
    rows = [(run["path"], run["rows"]) for run in told["changed"] if run["rows"]]
    if rows:
        sums = {name: sum(counts[name] for _, counts in rows) for name in _COUNTS}
        lines.append(f"[ROWS] {' '.join(f'{name}={count}' for name, count in sums.items())}")
        lines += _cut([line for path, counts in rows for line in _row_lines(path, counts)])
    files = [_file_line(run["path"], edit) for run in told["changed"] for edit in run["files"]]
    if files:
        lines += [f"[FILES] edits={len(files)}", *_cut(files)]
    return "".join(f"{line}\n" for line in lines)


_COUNTS = ("appended", "inserted", "gone", "rewritten")


def _cut(lines: Sequence[str]) -> Sequence[str]:
    if len(lines) <= _LINES:
        return lines
    return [*lines[:_LINES], f"# {len(lines) - _LINES} more lines: --json has them all"]


def _run_lines(told: dict[str, Any]) -> Iterator[str]:
    for name in ("added", "gone"):
        for run in told[name]:
            yield f"{name} {escape(run['path'])} name={escape(run['name'])} rows={run['rows']}"
    for run in told["changed"]:
        parts = [f"{name}={len(run[name])}" for name in ("facts", "config", "summary") if run[name]]
        parts += [f"{name}={run['rows'][name]}" for name in _COUNTS if run["rows"] and run["rows"][name]]
        parts += ["system_metrics"] if run["system"] else []
        parts += [f"files={len(run['files'])}"] if run["files"] else []
        yield f"changed {escape(run['path'])} {' '.join(parts)}"


def _edit_line(path: str, edit: dict[str, Any]) -> str:
    place = f"{escape(path)} {escape(edit['key'])}"
    if edit["change"] == "added":
        return f"{place}: added {_value(edit['new'])}"
    if edit["change"] == "removed":
        return f"{place}: removed {_value(edit['old'])}"
    return f"{place}: {_value(edit['old'])} -> {_value(edit['new'])}"


def _file_line(path: str, edit: dict[str, Any]) -> str:
    sizes = [f"{edit[side]['bytes']} bytes" for side in ("old", "new") if edit[side] is not None]
    return f"{escape(path)} {escape(edit['name'])}: {edit['change']} {' -> '.join(sizes)}"


def _row_lines(path: str, rows: dict[str, Any]) -> Iterator[str]:
    told = [f"{name}={rows[name]}" for name in _COUNTS if rows[name]]
    if rows["rewritten"]:
        told.append(f"steps={rows['first_step']}..{rows['last_step']}")
        told.append(f"keys={_keys(rows['keys'].items())}")
    yield f"{escape(path)} {' '.join(told)}"
    for cell in rows["examples"]:
        old, new = (_value(cell[side]) if cell[side] is not None else "missing" for side in ("old", "new"))
        yield f"{escape(path)} step {cell['step']} {escape(cell['key'])}: {old} -> {new}"


def _keys(counts: Iterable[tuple[str, int]]) -> str:
    told = [f"{escape(key)}:{count}" for key, count in counts]
    more = f",and {len(told) - _LINES} more" if len(told) > _LINES else ""
    return ",".join(told[:_LINES]) + more


def _value(value: Any) -> str:
    text = json_text(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
