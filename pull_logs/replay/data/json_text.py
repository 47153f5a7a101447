"""The JSON that W&B's GraphQL answers carry inside strings (read API facts, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.rows.canonical import canon_record, canonical_text
from pull_logs.rows.yaml_values import write_yaml
from pull_logs.snapshot import Run


def config_text(run: Run) -> str:
    """A config with its internal keys, each value wrapped: `{"lr":{"desc":null,"value":0.1}}`."""
    entries = {**run.config, **run.config_internal}
    return record_text({key: {"value": value, "desc": None} for key, value in entries.items()})


def record_text(record: Mapping[str, Any]) -> str:
    """A summary or the like, nested as it is, with NaN and the infinities as strings."""
    return canonical_text(canon_record(record))


def sweep_text(config: Mapping[str, Any] | None) -> str:
    """The config of a sweep in YAML, as W&B keeps it; an empty one where it is not known."""
    return write_yaml(config or {})


def metadata_bytes(run: Run) -> bytes:
    """The content of `wandb-metadata.json`."""
    return record_text(run.metadata).encode()
