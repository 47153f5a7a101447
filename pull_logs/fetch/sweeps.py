"""The configs of sweeps: each asked for once in a pull, however many runs belong to the sweep.

W&B keeps a config as the YAML text that somebody wrote (read API facts, section 3.8). What is
kept of it is what the SDK makes of that text, as JSON-like values: dates and times, which
YAML knows and JSON does not, are their text in ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.client import Client
from pull_logs.fetch.faults import KeyRefusedError, UnreachableError
from pull_logs.fetch.plan import Found
from pull_logs.fetch.queries import sweep_config
from pull_logs.runs import RunInfo
from pull_logs.snapshot.canon import canon_record

MOST_TEXT = 256 * 2**10
"""Characters of a config that is read at all."""

MOST_VALUES = 100_000
"""Values of a config, counted where they stand: a few aliases in YAML can stand for any number of them."""

_DEEPEST = 100

_Key = tuple[str, str, str]


class SweepConfigs:
    """Knows the configs of the sweeps that runs of a pull belong to.

    Attributes:
        lost: Why a config could not be had, by `entity/project/sweep`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[_Key, Mapping[str, Any] | None] = {}
        self._asking: dict[_Key, anyio.Lock] = {}
        self.lost: dict[str, str] = {}

    async def complete(self, found: Found, *, earlier: RunInfo | None = None) -> Found:
        """A run with the config of its sweep among its facts.

        Args:
            found: The run as it was found.
            earlier: Its facts as they were pulled earlier: their config stands in where W&B cannot tell it.

        Raises:
            KeyRefusedError: Nothing can be asked any more.
            UnreachableError: As above.
        """
        info, path = found.info, found.path
        if info.sweep is None:
            return found
        key = (path.entity, path.project, info.sweep)
        async with self._asking.setdefault(key, anyio.Lock()):
            if key not in self._known:
                self._known[key] = await self._ask(key)
        config = self._known[key]
        if config is None and earlier is not None and earlier.sweep == info.sweep:
            config = earlier.sweep_config
        return found if config is None else replace(found, info=replace(info, sweep_config=config))

    async def _ask(self, key: _Key) -> Mapping[str, Any] | None:
        try:
            text = await self._text(key)
            return None if text is None else await run_sync(read_sweep_config, text)
        except (KeyRefusedError, UnreachableError):
            raise
        except (AccessError, DataError) as exc:
            self.lost["/".join(key)] = exc.message
            return None

    async def _text(self, key: _Key) -> str | None:
        """The YAML; the older query is tried on any error, as the SDK does."""
        try:
            answer = await self._client.query(sweep_config(*key))
        except (KeyRefusedError, UnreachableError):
            raise
        except AccessError:
            answer = await self._client.query(sweep_config(*key, legacy=True))
        project = answer.data.get("project")
        sweep = project.get("sweep") if isinstance(project, Mapping) else None
        text = sweep.get("config") if isinstance(sweep, Mapping) else None
        return text if isinstance(text, str) and text.strip() else None


def read_sweep_config(text: str) -> dict[str, Any]:
    """A sweep's config from its YAML text, canonical.

    Raises:
        DataError: It is not YAML, no mapping, or too large.
    """
    import yaml

    if len(text) > MOST_TEXT:
        raise DataError(f"a sweep's config has {len(text)} characters, and {MOST_TEXT} are the most")
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise DataError("a sweep's config is not YAML") from exc
    if not isinstance(config, Mapping):
        raise DataError("a sweep's config is not a YAML mapping")
    return canon_record(_Plain().of(config))


class _Plain:
    """JSON-like values out of YAML's, counted."""

    def __init__(self) -> None:
        self._values = 0

    def of(self, value: object, depth: int = 0) -> Any:
        self._values += 1
        if self._values > MOST_VALUES or depth > _DEEPEST:
            raise DataError("a sweep's config has too many values, or they are nested too deeply")
        if isinstance(value, Mapping):
            return {_key(key): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, set):
            return {_key(item): None for item in value}
        if isinstance(value, date):
            return value.isoformat()
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _key(key: object) -> str:
    """A key of a mapping as JSON has it."""
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return key.isoformat() if isinstance(key, date) else str(key)
