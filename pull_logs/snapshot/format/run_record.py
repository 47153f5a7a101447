"""The columns of `runs.parquet`, and a run as their values and back.

See docs/bundle-format.md, "The table of runs".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_record, canon_text, canonical_text, parse_record
from pull_logs.rows.limits import check_document
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath

DOCUMENTS = tuple(field.name for field in RUN_FIELDS if field.kind == "document" and field.required)
"""The columns of JSON text."""

_REQUIRED = tuple(field.name for field in RUN_FIELDS if field.kind == "text" and field.required)

_TEXTS = tuple(
    field.name
    for field in RUN_FIELDS
    if field.kind in ("text", "time") and not (field.required or field.optional) and field.name != "host"
)

_COUNTS = ("promised_rows", "promised_last_step", "received_rows", "received_last_step")

COVERAGE = (*_COUNTS, "complete", "incomplete_reason")
"""The columns of a run's coverage."""

_NUMBERS = ("rows", "first_step", "last_step", *_COUNTS)

SCHEMA = pa.schema(
    [
        pa.field("host", pa.string()),
        *(pa.field(name, pa.string(), nullable=False) for name in _REQUIRED),
        pa.field("tags", pa.list_(pa.field("element", pa.string()))),
        *(pa.field(name, pa.string()) for name in _TEXTS),
        *(pa.field(name, pa.int64()) for name in _NUMBERS),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field("incomplete_reason", pa.string(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in DOCUMENTS),
    ]
)

SWEEP_CONFIG = "sweep_config"
"""The JSON text of the config of a run's sweep."""

LAST_SEEN = "last_seen"
"""The last day on which W&B saw a run that it no longer has."""

VIA = "via"
"""What read a run from W&B where that was not this package."""

PARTS = "parts"
"""The JSON text of the parts that a run was logged in."""

OPTIONAL = tuple(field.name for field in RUN_FIELDS if field.optional)
"""The columns of text at the end, each of which a table has only if one of its runs has a value."""


def table_schema(optional: Collection[str]) -> pa.Schema:
    """Return the schema of a table of runs with some of the `OPTIONAL` columns."""
    return pa.schema([*SCHEMA, *(pa.field(name, pa.string()) for name in OPTIONAL if name in optional)])


def info_fields(info: RunInfo) -> dict[str, Any]:
    """Return the columns that describe a run, by name; those of `OPTIONAL` only where there is a value.

    Raises:
        DataError: A document is not JSON-like.
    """
    path = info.path
    fields: dict[str, Any] = {
        "host": _text(info.host),
        "entity": canon_text(path.entity),
        "project": canon_text(path.project),
        "run_id": canon_text(path.run_id),
        "name": canon_text(info.name),
        "state": canon_text(info.state),
        "tags": [canon_text(tag) for tag in info.tags],
    }
    for name in _TEXTS:
        fields[name] = _text(getattr(info, name))
    for name in DOCUMENTS:
        fields[name] = _document_text(getattr(info, name), name, path)
    if info.sweep_config is not None:
        fields[SWEEP_CONFIG] = _document_text(info.sweep_config, "sweep config", path)
    if info.last_seen is not None:
        fields[LAST_SEEN] = canon_text(info.last_seen)
    if info.parts is not None:
        fields[PARTS] = _document_text(info.parts.as_object(), PARTS, path)
    if info.via is not None:
        fields[VIA] = canon_text(info.via)
    return fields


def info_from_fields(fields: Mapping[str, Any]) -> RunInfo:
    """Return the run described by these columns: the inverse of `info_fields`.

    Raises:
        DataError: A document is not a JSON object.
    """
    rest: dict[str, Any] = {name: fields[name] for name in _TEXTS}
    rest |= {name: document_from_text(fields[name]) for name in DOCUMENTS}
    swept = fields.get(SWEEP_CONFIG)
    return RunInfo(
        path=RunPath(fields["entity"], fields["project"], fields["run_id"]),
        name=fields["name"],
        state=fields["state"],
        tags=tuple(fields["tags"] or ()),
        host=fields["host"],
        sweep_config=None if swept is None else document_from_text(swept),
        last_seen=fields.get(LAST_SEEN),
        parts=parts_from_text(fields.get(PARTS)),
        via=fields.get(VIA),
        **rest,
    )


def document_from_text(text: str) -> dict[str, Any]:
    """Parse the JSON text of a config, summary or the like into a new dict.

    Raises:
        DataError: It is not a JSON object, or is larger than a document may be.
    """
    check_document(text)
    if text == "{}":
        return {}
    value = parse_record(text)
    if not isinstance(value, dict):
        raise DataError("a document of a run is not a JSON object")
    return value


def parts_from_text(text: str | None) -> RunParts | None:
    """Return the parts of a run in this JSON text; None without a text.

    Raises:
        DataError: It is not a JSON object of parts.
    """
    return None if text is None else RunParts.from_object(document_from_text(text))


def _text(value: str | None) -> str | None:
    return None if value is None else canon_text(value)


def _document_text(value: Mapping[str, Any], name: str, path: RunPath) -> str:
    try:
        text = canonical_text(canon_record(value))
        check_document(text)
    except DataError as exc:
        raise DataError(f"the {name} of run {str(path)!r} cannot be kept: {exc.message}") from exc
    except ValueError as exc:
        raise DataError(f"the {name} of run {str(path)!r} cannot be kept: {exc}") from exc
    return text


def coverage_fields(coverage: Coverage) -> dict[str, Any]:
    """Return the columns of a run's coverage, by name."""
    fields: dict[str, Any] = {name: getattr(coverage, name) for name in _COUNTS}
    return fields | {"complete": coverage.complete, "incomplete_reason": canon_text(coverage.reason)}


def coverage_from_fields(fields: Mapping[str, Any]) -> Coverage:
    """Return the coverage in these columns: the inverse of `coverage_fields`."""
    return Coverage(
        promised_rows=fields["promised_rows"],
        promised_last_step=fields["promised_last_step"],
        received_rows=fields["received_rows"] or 0,
        received_last_step=fields["received_last_step"],
        complete=fields["complete"],
        reason=fields["incomplete_reason"],
    )
