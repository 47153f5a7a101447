"""The configs of sweeps: each is requested once in a pull, for all runs of the sweep.

W&B stores a config as the YAML text that a user wrote (docs/protocol.md, "Sweeps"). A bundle stores
the values that the SDK reads from that text, as JSON-like values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.api import Client, affects_all_runs, sweep_config
from pull_logs.fetch.discovery.run_plan import FoundRun
from pull_logs.rows.canonical import canon_record
from pull_logs.rows.yaml_values import read_yaml
from pull_logs.runs import RunInfo

SweepKey = tuple[str, str, str]


class SweepConfigs:
    """The configs of the sweeps that runs of a pull belong to.

    Attributes:
        lost: Why a config could not be downloaded, by `entity/project/sweep`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[SweepKey, Mapping[str, Any] | None] = {}
        self._locks: dict[SweepKey, anyio.Lock] = {}
        self.lost: dict[str, str] = {}

    async def complete(self, found: FoundRun, *, earlier: RunInfo | None = None) -> FoundRun:
        """Return a run with the config of its sweep in its facts.

        Args:
            found: The run.
            earlier: The facts of an earlier pull; their config is used where it cannot be downloaded.

        Raises:
            AccessError: The key was refused, or the API cannot be reached.
        """
        info, path = found.info, found.path
        if info.sweep is None:
            return found
        key = (path.entity, path.project, info.sweep)
        async with self._locks.setdefault(key, anyio.Lock()):
            if key not in self._known:
                self._known[key] = await self.request(key)
        config = self._known[key]
        if config is None and earlier is not None and earlier.sweep == info.sweep:
            config = earlier.sweep_config
        return found if config is None else replace(found, info=replace(info, sweep_config=config))

    async def request(self, key: SweepKey) -> Mapping[str, Any] | None:
        """Return the config of a sweep; None if it has none or it cannot be downloaded, which is recorded.

        Raises:
            AccessError: The key was refused, or the API cannot be reached.
        """
        try:
            text = await self._text(key)
            return None if text is None else await run_sync(read_sweep_config, text)
        except (AccessError, DataError) as exc:
            if affects_all_runs(exc, api_host=self._client.host):
                raise
            self.lost["/".join(key)] = exc.message
            return None

    async def _text(self, key: SweepKey) -> str | None:
        """Request the YAML; after any error the older query is tried, as the SDK does."""
        try:
            answer = await self._client.query(sweep_config(*key))
        except AccessError as exc:
            if affects_all_runs(exc, api_host=self._client.host):
                raise
            answer = await self._client.query(sweep_config(*key, legacy=True))
        project = answer.data.get("project")
        sweep = project.get("sweep") if isinstance(project, Mapping) else None
        text = sweep.get("config") if isinstance(sweep, Mapping) else None
        return text if isinstance(text, str) and text.strip() else None


def read_sweep_config(text: str) -> dict[str, Any]:
    """Return the config in the YAML text of a sweep, as canonical values.

    Raises:
        DataError: The text is not YAML, not a mapping, or too large.
    """
    return canon_record(read_yaml(text, what="a sweep's config"))
