"""Tasks on a Dask cluster: the only module that knows Dask, whose errors end here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from pull_logs.errors import MachineLimitError, NetworkError, PullLogsError, UsageError
from pull_logs.executors.engine import Engine

SCHEME = "dask://"

_SECONDS = 10
"""How long to wait for a scheduler, and then for the first worker."""


@contextmanager
def dask_engine(address: str) -> Iterator[Engine]:
    """Connect to a scheduler and yield an engine whose tasks run on its workers.

    Args:
        address: `dask://HOST:PORT`.

    Raises:
        UsageError: Dask is not installed, or the address is not valid.
        NetworkError: The scheduler cannot be reached, or has no workers.
    """
    host, colon, port = address.removeprefix(SCHEME).rstrip("/").rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise UsageError(f"{address!r} is not the address of a scheduler", hint=f"write {SCHEME}HOST:PORT")
    try:
        from distributed import Client
    except ImportError as exc:
        raise UsageError(
            "Dask is not installed", hint="install it with: pip install 'wandb-pull-logs[dask]'"
        ) from exc
    try:
        client = Client(f"tcp://{host}:{port}", timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError) as exc:  # a TimeoutError is an OSError
        raise NetworkError(
            f"the Dask scheduler at {address!r} did not answer within {_SECONDS} seconds",
            hint="start it with: dask scheduler",
        ) from exc
    with client:
        try:
            client.wait_for_workers(1, timeout=_SECONDS)
        except TimeoutError as exc:
            raise NetworkError(
                f"the Dask scheduler at {address!r} has no workers",
                hint=f"start some with: dask worker tcp://{host}:{port}",
            ) from exc
        workers = sum(client.nthreads().values())
        with client.get_executor(pure=False) as executor:
            yield Engine(executor, workers, shares_memory=False, failure=DaskFailures(address).failure)


class DaskFailures:
    """What errors of Dask mean.

    Args:
        address: The scheduler.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def failure(self, error: BaseException) -> PullLogsError | None:
        """Return the error of this package for one of Dask; None for an error of the task itself."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        if isinstance(error, KilledWorker):
            return MachineLimitError(
                f"workers of {self._address!r} ended again and again while they worked on one task",
                hint="their logs say why; workers with more memory, or one thread each, may do it",
            )
        if isinstance(error, (CancelledError, CommClosedError)):
            return NetworkError(
                f"the connection to the Dask scheduler at {self._address!r} was lost",
                hint="start the scheduler again, then this command",
            )
        if isinstance(error, ImportError) or "deserializ" in str(error):
            return UsageError(
                f"a worker of {self._address!r} cannot run this package: {error}",
                hint="install the same version of wandb-pull-logs on the workers",
            )
        return None
