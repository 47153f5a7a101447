"""The parts of a run, each compared with what W&B reports, and with what it sent when asked again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pull_logs.fetch import RemoteRun
from pull_logs.frames import plain_key
from pull_logs.proof.artifacts import artifact_parts
from pull_logs.proof.verdicts import PartProof
from pull_logs.rows.canonical import STEP, canon_record, canonical_text
from pull_logs.snapshot import Run, RunDifference, RunFile, diff_runs, record_edits
from pull_logs.snapshot.format import info_fields
from pull_logs.suggestions import MOST_NAMES, counted, joined, listed

QUICK = "were counted and not compared (--quick)"

_DOCUMENTS = {"config": ("config", "config_internal"), "summary": ("summary",)}
_NOT_OF_THE_RUN = frozenset({"sweep_config"})
"""Facts that are not lost with a run: a sweep stays on W&B."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A run in the bundle, and the same run on W&B.

    Attributes:
        run: The run in the bundle.
        remote: What W&B reports of it.
        again: The run as it was downloaded again; None if it was not.
        why_not: Why it was not downloaded again, or not completely; empty if it was.
    """

    run: Run
    remote: RemoteRun
    again: Run | None
    why_not: str


def compare_parts(comparison: Comparison) -> Iterator[PartProof]:
    """Compare the parts of a run, in the order of `PARTS`."""
    difference = None if comparison.again is None else diff_runs(comparison.run, comparison.again)
    yield _facts(comparison)
    for part in _DOCUMENTS:
        yield _document(comparison, part)
    yield _rows(comparison)
    yield _last_step(comparison)
    yield _metrics(comparison)
    yield _values(comparison, difference)
    yield _system(comparison)
    yield _files(comparison)
    yield _media(comparison)
    yield _console(comparison)
    yield from artifact_parts(comparison.run, comparison.remote)


def _facts(comparison: Comparison) -> PartProof:
    """Compare everything that the table of runs says of a run, except its config and summary."""
    documents = {name for names in _DOCUMENTS.values() for name in names} | _NOT_OF_THE_RUN
    here = _plain_facts(info_fields(comparison.run.info), documents)
    found = comparison.remote.found.info
    states = [found] if comparison.again is None else [found, comparison.again.info]
    names: list[str] = []
    for info in states:
        there = _plain_facts(info_fields(info), documents)
        names += [name for name in {**here, **there} if here.get(name) != there.get(name)]
    names = list(dict.fromkeys(names))
    return PartProof(
        part="facts",
        wandb=len(_plain_facts(info_fields(found), documents)),
        bundle=len(here),
        reason=f"these facts differ on W&B: {joined(names)}" if names else "",
        digest=_digest(here),
        wandb_digest=_digest(_plain_facts(info_fields(found), documents)),
        names=tuple(names),
    )


def _plain_facts(fields: Mapping[str, Any], without: set[str]) -> dict[str, Any]:
    plain = {name: value for name, value in fields.items() if name not in without and value is not None}
    return plain | {"tags": sorted(fields["tags"])}


def _digest(value: Any) -> str:
    return f"sha256:{sha256(canonical_text(value).encode()).hexdigest()}"


def _document(comparison: Comparison, part: str) -> PartProof:
    """Compare a config or a summary, in canonical form: NaN is the same however W&B spells it."""
    names = _DOCUMENTS[part]
    here, there = (
        {name: canon_record(getattr(info, name)) for name in names}
        for info in (comparison.run.info, comparison.remote.found.info)
    )
    edits = [".".join(edit.path[1:]) for edit in record_edits(here, there)]
    return PartProof(
        part=part,
        wandb=len(there[part]),
        bundle=len(here[part]),
        reason=f"its {part} differs in {listed(edits)}" if edits else "",
        digest=_digest(here),
        wandb_digest=_digest(there),
        names=tuple(edits[:MOST_NAMES]),
    )


def _rows(comparison: Comparison) -> PartProof:
    """Compare the number of rows, counted as W&B counts them: before rows of one step were merged."""
    promised, received = comparison.remote.found.promise.rows, comparison.run.coverage.received_rows
    reason = ""
    if promised is None:
        reason = "W&B does not report how many rows it has"
    elif promised != received:
        reason = f"W&B has {counted(promised, 'row')} and the bundle has {received:,}"
    return PartProof(part="rows", wandb=promised, bundle=received, reason=reason)


def _last_step(comparison: Comparison) -> PartProof:
    promise, last = comparison.remote.found.promise, comparison.run.last_step
    reason = ""
    if promise.last_step != last:
        shown = "none" if promise.last_step is None else promise.last_step
        reason = f"W&B's last step is {shown} and the bundle's is {'none' if last is None else last}"
    return PartProof(part="last step", wandb=promise.last_step, bundle=last, reason=reason)


def _metrics(comparison: Comparison) -> PartProof:
    """Compare the number of values of each metric, as far as W&B reports it."""
    remote, run = comparison.remote.key_counts, comparison.run
    facts = [fact for fact in run.metric_facts() if fact.name != STEP]
    cells = {plain_key(fact.name): fact.cells for fact in facts}
    missing = [name for name in remote if name != STEP and not _has(cells, name)]
    # Rows of one step are merged, so W&B may count a value that a later one of the same step replaced.
    merged = run.coverage.received_rows - run.rows
    fewer = [
        f"{name!r} ({count:,} on W&B, {cells[name]:,} here)"
        for name, count in remote.items()
        if name in cells and count > cells[name] + merged
    ]
    reasons = [f"W&B names {counted(len(missing), 'metric')} that no row has: {listed(missing)}"] * bool(
        missing
    )
    reasons += [f"W&B has more values of {joined(fewer)}"] * bool(fewer)
    return PartProof(
        part="metrics",
        wandb=len(remote) if remote else None,
        bundle=len(cells),
        reason="; ".join(reasons),
        names=tuple([*missing, *fewer][:MOST_NAMES]),
    )


def _has(cells: Mapping[str, int], name: str) -> bool:
    return name in cells or any(other.startswith(f"{name}.") for other in cells)


def _values(comparison: Comparison, difference: RunDifference | None) -> PartProof:
    """Compare every row with the rows that W&B sent again."""
    run, again = comparison.run, comparison.again
    reason, names = "", tuple[str, ...]()
    if again is None or comparison.why_not:
        reason = comparison.why_not
    elif difference is not None and (rows := difference.rows) is not None:
        counts = {
            "not in the bundle": rows.appended + rows.inserted,
            "not on W&B": rows.gone,
            "with other values": rows.rewritten,
        }
        text = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        example = next(iter(rows.examples), None)
        shown = ""
        if example is not None:
            here, there = (_shown(value) for value in (example.old, example.new))
            shown = f"; step {example.step}, {example.key!r}: {here} here, {there} on W&B"
        reason, names = f"its rows differ: {text}{shown}", tuple(rows.keys)[:MOST_NAMES]
    return PartProof(
        part="values",
        wandb=None if again is None else again.rows,
        bundle=run.rows,
        reason=reason,
        digest=run.rows_hash,
        wandb_digest=None if again is None else again.rows_hash,
        names=names,
    )


def _shown(value: Any) -> str:
    text = "nothing" if value is None else canonical_text(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _system(comparison: Comparison) -> PartProof:
    run, remote, again = comparison.run, comparison.remote, comparison.again
    here = None if run.system_encoded is None else run.system_encoded.rows
    there = None if again is None or again.system_encoded is None else again.system_encoded.rows
    reason = ""
    if remote.system is None:
        reason = _unasked(remote, "system", "whether it has system metrics")
    elif remote.system and not here:
        reason = "its system metrics are not in the bundle"
    elif there is None:
        reason = f"its system metrics {QUICK}" if remote.system else ""
    elif (there or here) and run.system_rows_hash != (again and again.system_rows_hash):
        reason = f"its system metrics differ: {counted(there, 'row')} on W&B and {here or 0:,} here"
    return PartProof(
        part="system metrics",
        wandb=there if there is not None or remote.system else 0,
        bundle=here,
        reason=reason,
        digest=run.system_rows_hash,
        wandb_digest=None if again is None else again.system_rows_hash,
    )


def _unasked(remote: RemoteRun, part: Any, what: str) -> str:
    why = remote.unasked.get(part)
    return f"W&B does not report {what}" if why is None else f"{what} could not be requested: {why}"


def _files(comparison: Comparison) -> PartProof:
    """Compare the files by name, size and MD5."""
    run, remote = comparison.run, comparison.remote
    if remote.files is None:
        reason = _unasked(remote, "files", "which files it has")
        return PartProof(part="files", bundle=len(run.files), reason=reason, digest=run.files_hash)
    there = remote.files.files
    missing = [name for name in there if name not in run.files]
    pairs = [(run.files[name], there[name]) for name in there if name in run.files]
    changed = [file.name for file, listed_ in pairs if _differs(file, listed_.size, listed_.md5)]
    unknown = [file.name for file, listed_ in pairs if listed_.md5 is None and file.name not in changed]
    reasons = []
    if missing:
        reasons.append(
            f"{len(missing):,} of {counted(len(there), 'file')} are not in the bundle: {listed(missing)}"
        )
    if changed:
        reasons.append(f"{counted(len(changed), 'file differs', 'files differ')}: {listed(changed)}")
    if unknown:
        reasons.append(f"W&B reports no MD5 of {counted(len(unknown), 'file')}: {listed(unknown)}")
    if remote.files.unreadable:
        reasons.append(
            f"{counted(remote.files.unreadable, 'entry', 'entries')} of W&B's list of files cannot be read"
        )
    return PartProof(
        part="files",
        wandb=len(there) + remote.files.unreadable,
        bundle=len(run.files),
        reason="; ".join(reasons),
        digest=run.files_hash,
        names=tuple([*missing, *changed, *unknown][:MOST_NAMES]),
    )


def _differs(file: RunFile, size: int | None, md5: str | None) -> bool:
    return size not in (None, file.size) or md5 not in (None, file.md5)


def _media(comparison: Comparison) -> PartProof:
    """Compare the tables, images and other files that rows point to; W&B may not have all of them itself."""
    run, remote = comparison.run, comparison.remote
    here = {item.name: item.file is not None for item in run.media()}
    kept = sum(here.values())
    if remote.files is None:
        reason = _unasked(remote, "files", "which media it has") if here else ""
        return PartProof(part="media", bundle=kept, reason=reason)
    there = [name for name in here if name in remote.files.files]
    missing = [name for name in there if not here[name]]
    reason = ""
    if missing:
        reason = f"{len(missing):,} of {counted(len(there), 'file')} of its media are not in the bundle"
    return PartProof(
        part="media", wandb=len(there), bundle=kept, reason=reason, names=tuple(missing[:MOST_NAMES])
    )


def _console(comparison: Comparison) -> PartProof:
    run, remote, again = comparison.run, comparison.remote, comparison.again
    here, there = 0 if run.console is None else len(run.console), remote.console_lines
    reason = ""
    if there is None:
        reason = _unasked(remote, "console", "how many console lines it has")
    elif here < there:
        reason = f"{there - here:,} of {counted(there, 'console line')} are not in the bundle"
    elif here > there:
        reason = f"W&B has {counted(there, 'console line')} and the bundle has {here:,}"
    elif there and again is None:
        reason = f"its console lines {QUICK}"
    elif there and again is not None and run.console_hash != again.console_hash:
        reason = "its console lines differ"
    return PartProof(
        part="console",
        wandb=there,
        bundle=here,
        reason=reason,
        digest=run.console_hash,
        wandb_digest=None if again is None else again.console_hash,
    )
