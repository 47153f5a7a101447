"""A tracking server of MLflow, read over its REST API, page by page.

The values of a metric come from `metrics/get-history`, which has all of them. A key in the environment
(`MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`) is sent to this server
alone, and no redirect is followed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pull_logs.errors import NetworkError, ServerError, SignInError
from pull_logs.snapshot.format import CHUNK
from pull_logs.sources.local_files import CopiedFiles
from pull_logs.sources.mlflow import artifacts
from pull_logs.sources.mlflow.artifacts import is_below, served_artifacts
from pull_logs.sources.mlflow.stores import Artifact, StoredRun, Value

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from pull_logs.snapshot import FileSelection

_PAGE = 1000
_VALUES_PER_PAGE = 25_000
_TIMEOUT = 60.0


@dataclass(slots=True)
class ServerStore:
    """A tracking server; see `Store`.

    Attributes:
        url: Its URL.
    """

    url: str
    _keys: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    _lost: dict[str, list[str]] = field(default_factory=dict)

    @property
    def version(self) -> str | None:
        """The version of the server."""
        with self._client() as client:
            found = client.get("version")
            return found.text.strip()[:40] if found.status_code == 200 else None

    def runs(self) -> tuple[list[StoredRun], int]:
        """Return the runs that are not deleted; a server does not say how many are."""
        found: list[StoredRun] = []
        with self._client() as client:
            experiments = {
                item["experiment_id"]: item["name"]
                for item in self._pages(client, "experiments/search", {}, "experiments")
            }
            query = {"experiment_ids": list(experiments), "run_view_type": "ACTIVE_ONLY"}
            for item in self._pages(client, "runs/search", query, "runs") if experiments else ():
                info, data = item["info"], item.get("data", {})
                latest = data.get("metrics", ())
                self._keys[info["run_id"]] = [
                    (metric["key"], int(metric.get("step", 0))) for metric in latest
                ]
                found.append(_stored_run(info, data, experiments[info["experiment_id"]]))
        return sorted(found, key=lambda run: (run.started or 0, run.run_id)), 0

    def values(self, run: StoredRun) -> Iterator[Value]:
        """Yield all values of a run, by step."""
        found: list[Value] = []
        lost = self._lost[run.run_id] = []
        with self._client() as client:
            for key, last in self._keys.get(run.run_id, ()):
                values = list(self._history(client, run.run_id, key))
                found += values
                if last not in {value.step for value in values}:
                    lost.append(f"the server has step {last} of {key!r}, and its history did not arrive")
        yield from sorted(found, key=lambda value: (value.step, value.time, value.key))

    def promised(self, run: StoredRun) -> None:  # noqa: ARG002 - see Store
        """Return nothing: a server does not say how many values it has."""
        return

    def lost(self, run: StoredRun) -> list[str]:
        """Return the metrics whose last step did not arrive."""
        return self._lost.get(run.run_id, [])

    def artifacts(self, run: StoredRun, selection: FileSelection, scratch: Path) -> CopiedFiles:
        """Download the selected artifacts of a run, wherever the server keeps them."""
        return served_artifacts(run, self, selection, scratch)

    def list_artifacts(self, run_id: str) -> Iterator[Artifact]:
        """Yield the artifacts of a run, folder by folder; see `ArtifactServer`."""
        folders, seen = [""], 0
        with self._client() as client:
            while folders:
                folder = folders.pop()
                for item in self._artifact_items(client, run_id, folder):
                    seen += 1
                    if seen > artifacts.MOST_ARTIFACTS:
                        raise ServerError(
                            f"the run has more than {artifacts.MOST_ARTIFACTS:,} artifacts", status=200
                        )
                    path, size = str(item.get("path", "")), item.get("file_size")
                    if item.get("is_dir") and is_below(path, folder):
                        folders.append(path)
                    else:
                        yield Artifact(path, int(size) if isinstance(size, (int, str)) and size else None)

    def _artifact_items(self, client: httpx.Client, run_id: str, folder: str) -> Iterator[dict[str, Any]]:
        query = {"run_id": run_id, **({"path": folder} if folder else {})}
        while True:
            page = self._answer(client, "GET", "artifacts/list", query)
            yield from page.get("files", ())
            if not page.get("next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    @contextmanager
    def open_artifact(self, run_id: str, path: str) -> Iterator[Iterator[bytes]]:
        """Open an artifact; see `ArtifactServer`."""
        import httpx

        host = urlsplit(self.url).netloc.rpartition("@")[2]
        query = {"run_uuid": run_id, "path": path}
        try:
            with self._client() as client, client.stream("GET", "get-artifact", params=query) as answer:
                if answer.status_code != 200:
                    raise ServerError(
                        f"the MLflow server {host} answered {answer.status_code}", status=answer.status_code
                    )
                yield answer.iter_bytes(CHUNK)
        except httpx.HTTPError as exc:
            raise NetworkError(
                f"the artifact {path!r} did not arrive from {host}: {exc}", hint="run the same command again"
            ) from exc

    def _client(self) -> httpx.Client:
        import httpx

        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        return httpx.Client(
            base_url=self.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user and not token else None,
            timeout=_TIMEOUT,
        )

    def _history(self, client: httpx.Client, run_id: str, key: str) -> Iterator[Value]:
        query: dict[str, Any] = {"run_id": run_id, "metric_key": key, "max_results": _VALUES_PER_PAGE}
        while True:
            page = self._answer(client, "GET", "metrics/get-history", query)
            for item in page.get("metrics", ()):
                yield Value(
                    key, int(item.get("step", 0)), int(item["timestamp"]), _number(item.get("value", 0))
                )
            if not page.get("next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    def _pages(
        self, client: httpx.Client, what: str, query: Mapping[str, Any], key: str
    ) -> Iterator[dict[str, Any]]:
        body = {**query, "max_results": _PAGE}
        while True:
            page = self._answer(client, "POST", what, body)
            yield from page.get(key, ())
            if not page.get("next_page_token"):
                return
            body["page_token"] = page["next_page_token"]

    def _answer(
        self, client: httpx.Client, method: str, what: str, query: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the answer to one request.

        Raises:
            SignInError: The server refuses the key, or wants one.
            ServerError: It answered with an error.
            NetworkError: It did not answer, or not with JSON.
        """
        import httpx

        given: Any = {"params": query} if method == "GET" else {"json": query}
        host = urlsplit(self.url).netloc.rpartition("@")[2]
        try:
            answer = client.request(method, f"api/2.0/mlflow/{what}", **given)
            if answer.status_code in (401, 403):
                raise SignInError(
                    f"the MLflow server {host} refused access ({answer.status_code})",
                    hint="set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD",
                )
            if answer.status_code != 200:
                raise ServerError(
                    f"the MLflow server {host} answered {what} with {answer.status_code}",
                    hint="check that the URL is that of a tracking server",
                    status=answer.status_code,
                )
            found = answer.json()
        except (httpx.HTTPError, ValueError) as exc:
            raise NetworkError(
                f"the MLflow server {host} could not be reached: {exc}", hint="check the URL and the network"
            ) from exc
        return found if isinstance(found, dict) else {}


def _stored_run(info: Mapping[str, Any], data: Mapping[str, Any], experiment: str) -> StoredRun:
    tags = {item["key"]: item.get("value", "") for item in data.get("tags", ())}
    return StoredRun(
        run_id=info["run_id"],
        name=info.get("run_name") or tags.get("mlflow.runName") or info["run_id"],
        experiment=experiment,
        status=info.get("status", "RUNNING"),
        started=_time(info.get("start_time")),
        ended=_time(info.get("end_time")),
        user=info.get("user_id") or tags.get("mlflow.user") or None,
        params={item["key"]: item.get("value", "") for item in data.get("params", ())},
        tags=tags,
        artifacts=info.get("artifact_uri") or "",
    )


def _time(value: object) -> int | None:
    return int(value) if isinstance(value, (int, str)) and value else None


def _number(value: object) -> float:
    """Return a number of JSON, in which NaN and infinities are texts."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
