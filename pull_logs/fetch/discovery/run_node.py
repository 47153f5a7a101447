"""Runs in GraphQL answers, converted to the values of this package.

See docs/protocol.md, "A single run" and docs/protocol.md, "Values and encodings".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pull_logs.errors import DataError, NetworkError
from pull_logs.fetch.api import shard_key
from pull_logs.fetch.discovery.run_plan import ExportedHistory, FoundRun, Promise, Steps
from pull_logs.rows.canonical import canon_record, canon_step, parse_json
from pull_logs.runs import RunInfo, RunParts, RunPath

_INTERNAL = frozenset({"_wandb", "wandb_version"})


def read_node(node: Mapping[str, Any], *, entity: str, project: str, host: str, now: float) -> FoundRun:
    """Return the run in a listing or in the answer to a query by name.

    Args:
        node: The GraphQL object.
        entity: The entity in the request.
        project: The project in the request.
        host: The host that identifies the run.
        now: The time on the clock of the client, for the age of the URLs.

    Raises:
        DataError: The run has no name, or a part of it is not JSON.
    """
    run_id = node.get("name")
    if not isinstance(run_id, str) or not run_id:
        raise DataError(f"W&B listed a run of {entity}/{project} without a name")
    config, internal = _config(_record(node.get("config")))
    user = node.get("user")
    info = RunInfo(
        path=RunPath(entity, project, run_id),
        name=_text(node.get("displayName")) or run_id,
        state=_text(node.get("state")) or "finished",
        tags=tuple(tag for tag in node.get("tags") or () if isinstance(tag, str)),
        group=_text(node.get("group")),
        job_type=_text(node.get("jobType")),
        sweep=_text(node.get("sweepName")),
        notes=_text(node.get("notes")),
        user=_text(user.get("username")) or _text(user.get("name")) if isinstance(user, Mapping) else None,
        commit=_text(node.get("commit")),
        created_at=utc_text(node.get("createdAt")),
        heartbeat_at=utc_text(node.get("heartbeatAt")),
        host=host,
        config=config,
        config_internal=internal,
        summary=_record(node.get("summaryMetrics")),
        system_summary=_record(node.get("systemMetrics")),
        parts=RunParts.from_config(internal, run_id),
    )
    exports = read_exports(node["parquetHistory"], now=now) if "parquetHistory" in node else None
    return FoundRun(info, _promise(node), exports)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _record(value: object) -> dict[str, Any]:
    """Return a config or summary, which is a JSON string, an object or null."""
    value = _parsed(value)
    return canon_record(value) if isinstance(value, Mapping) else {}


def _parsed(value: object) -> object:
    """Return the value of a JSON string, and any other value as it is; None for an empty string."""
    if isinstance(value, str):
        return parse_json(value) if value.strip() else None
    return value


def _config(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the unwrapped config and its internal keys; an entry without "value" is itself the value."""
    plain: dict[str, Any] = {}
    internal: dict[str, Any] = {}
    for key, entry in raw.items():
        value = entry["value"] if isinstance(entry, Mapping) and "value" in entry else entry
        (internal if key in _INTERNAL else plain)[key] = value
    return plain, internal


def _promise(node: Mapping[str, Any]) -> Promise:
    # It describes every metric of the run, so it is not converted for the sake of one number.
    keys = _parsed(node.get("historyKeys"))
    last = keys.get("lastStep") if isinstance(keys, Mapping) else None
    return Promise(rows=_count(node.get("historyLineCount")), last_step=_count(last))


def _count(value: object) -> int | None:
    """Return a count or a step, which may be absent, negative for none, or a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value < math.inf else None


def read_exports(value: object, *, now: float) -> ExportedHistory | None:
    """Return the `parquetHistory` of a run; None where the server sent null.

    Raises:
        DataError: A URL is malformed.
    """
    if not isinstance(value, Mapping):
        return None
    found = [url for url in value.get("parquetUrls") or () if isinstance(url, str) and url]
    try:
        urls = {shard_key(url): url for url in found}
    except NetworkError as exc:
        raise DataError("W&B listed an exported history file at a malformed address") from exc
    return ExportedHistory(urls=urls, live_steps=_live_steps(value.get("liveData")), requested_at=now)


def _live_steps(value: object) -> Steps | None:
    """Return the steps in `liveData`, which may be floats; None where it is not a list of rows."""
    import numpy as np

    if not isinstance(value, list):
        return None
    if not value:
        return np.zeros(0, np.int64)
    steps: set[int] = set()
    for row in value:
        if isinstance(row, Mapping) and row.get("_step") is not None:
            try:
                steps.add(canon_step(row["_step"]))
            except DataError:
                return None
    return np.array(sorted(steps), dtype=np.int64)


def utc_text(value: object) -> str | None:
    """Return a time in UTC with a `Z`, and with a fraction of a second only where it has one.

    W&B omits the time zone where it means UTC.
    """
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return value
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds").rstrip("0").removesuffix(".")
    return f"{text}Z"
