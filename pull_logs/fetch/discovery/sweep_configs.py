"""The configs of sweeps: each asked for once in a pull, however many runs belong to the sweep.

W&B keeps a config as the YAML text that somebody wrote (read API facts, section 3.8). What is
kept of it is what the SDK makes of that text, as JSON-like values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.api import Client, KeyRefusedError, UnreachableError, sweep_config
from pull_logs.fetch.discovery.found import Found
from pull_logs.rows.canonical import canon_record
from pull_logs.rows.yaml_values import read_yaml
from pull_logs.runs import RunInfo

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
    return canon_record(read_yaml(text, what="a sweep's config"))
