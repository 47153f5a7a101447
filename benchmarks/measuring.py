"""The processes of a measurement: the server, and one per side and repeat; none outlives its block."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from workloads import Scenario

HERE = Path(__file__).resolve().parent
PEAK = """
import re, sys
from pull_logs.cli.main import run
try:
    run()
finally:
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]), file=sys.stderr)
"""
"""Runs a command and prints its peak memory in bytes; `ru_maxrss` would count its parent too."""

_POLL_SECONDS = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement of one side of a scenario.

    Attributes:
        seconds: The wall time of its process, from start to end.
        inside: The wall time without imports; for `ours`, as its report has it.
        to_first: The wall time from the start of its process to its first request.
        rows: The rows that were read.
        processor: The processor time of its process and its children.
        peak: The peak memory in bytes of its process and its children together.
        bundle_bytes: The size of its bundle; 0 for the SDK.
        requests: The requests to the server.
        graphql: The GraphQL requests.
        refused: The requests that were answered 429.
        received: The bytes of the answers.
        busiest: The most requests in progress at once.
        server_seconds: The processor time of the server.
        operations: The requests by operation.
    """

    seconds: float
    inside: float
    to_first: float
    rows: int
    processor: float
    peak: int
    bundle_bytes: int
    requests: int
    graphql: int
    refused: int
    received: int
    busiest: int
    server_seconds: float
    operations: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Server:
    """The running server of a scenario."""

    url: str
    api_key: str
    process: subprocess.Popen[str]

    def reset(self) -> dict[str, Any]:
        """Return the counts of requests since the last reset."""
        _pipe(self.process.stdin).write("reset\n")
        _pipe(self.process.stdin).flush()
        return _read_line(self.process)


@contextmanager
def serving(scenario: Scenario, bundle: Path) -> Iterator[Server]:
    """Serve a bundle from a process of its own while the block runs."""
    net = scenario.net
    options = {
        "latency": net.latency,
        "quota": net.quota,
        "window": net.window,
        "shard_rows": scenario.shard_rows,
    }
    command = [sys.executable, str(HERE / "serving.py"), str(bundle), json.dumps(options)]
    with _child(command, env=environment({})) as process:
        ready = _read_line(process)
        yield Server(ready["url"], ready["api_key"], process)
        _pipe(process.stdin).close()
        process.wait(timeout=30)


def measure(server: Server, side: str, scenario: Scenario, *, limit: float) -> Measured:
    """Let one side read everything, in a new process with nothing cached.

    Args:
        server: The server to read from.
        side: `bare`, `ours`, or `loop` or `pool` of the SDK.
        scenario: The scenario.
        limit: Seconds after which the process is killed.
    """
    server.reset()
    with tempfile.TemporaryDirectory(prefix="pull-logs-bench-") as folder:
        options = {"out": f"{folder}/out.wandb.zip", "runs": scenario.sdk_runs}
        command = [sys.executable, str(HERE / "contender.py"), side, json.dumps(options)]
        variables = {
            "WANDB_BASE_URL": server.url,
            "WANDB_API_KEY": server.api_key,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "HOME": folder,
            **{f"WANDB_{name}_DIR": f"{folder}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA")},
        }
        began, spent = time.monotonic(), processor_seconds()
        with _child(command, env=environment(variables), cwd=folder) as process:
            timer = threading.Timer(limit, process.kill)
            timer.start()
            try:
                with watching(process.pid) as watch:
                    result = _read_line(process)
                    process.wait(timeout=60)
                seconds = time.monotonic() - began
            finally:
                timer.cancel()
    traffic = server.reset()
    return Measured(
        seconds=seconds,
        inside=result["seconds"],
        to_first=traffic["first"] - began,
        rows=result["rows"],
        processor=processor_seconds() - spent,
        peak=max(result["peak"], watch.peak),
        bundle_bytes=result["bundle_bytes"],
        requests=traffic["requests"],
        graphql=traffic["graphql"],
        refused=traffic["refused"],
        received=traffic["sent"],
        busiest=traffic["busiest"],
        server_seconds=traffic["processor_seconds"],
        operations=traffic["operations"],
    )


def processor_seconds() -> float:
    """Return the processor time of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _child(command: list[str], *, env: dict[str, str], cwd: str | None = None) -> Iterator[Any]:
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in _tree(process.pid):
                _kill(pid)
            process.wait(timeout=30)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process without settings of W&B and without proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "PULL_LOGS_")) and not name.lower().endswith("_proxy")
    }
    return {**kept, "NETRC": os.devnull, **more}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise SystemExit("a process without pipes")
    return pipe


def _read_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = _pipe(process.stdout).readline()
    if not line:
        raise SystemExit(f"{' '.join(map(str, process.args[1:3]))} ended without an answer")  # type: ignore[index]
    answer: dict[str, Any] = json.loads(line)
    return answer


class _Watch:
    """Samples the memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            self.peak = max(self.peak, sum(map(_resident, _tree(self._pid))))

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def watching(pid: int) -> Iterator[_Watch]:
    """Sample the memory of a process and its children while the block runs."""
    watch = _Watch(pid)
    try:
        yield watch
    finally:
        watch.end()


def _tree(pid: int) -> list[int]:
    """Return a process and all its descendants that have not ended yet.

    A child that does not run its own program yet has the memory of its parent, which would be counted twice.
    """
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        try:
            threads = list(Path(f"/proc/{one}/task").iterdir())
            children = [int(child) for task in threads for child in (task / "children").read_text().split()]
        except OSError:
            continue
        program = _program(one)
        waiting += [child for child in children if _program(child) != program]
    return found


def _program(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return
