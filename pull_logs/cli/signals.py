"""Signals that end a process let it clean up: SIGTERM (Slurm, Docker, `kill`) and SIGHUP act as Ctrl-C."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")


@dataclass(slots=True)
class StopSignals:
    """The signal that stopped this process.

    Attributes:
        received: The first signal that arrived; None if there was none.
    """

    received: int | None = None

    def install(self) -> None:
        """Handle the signals, except those that are ignored, as with `nohup`."""
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
            raise KeyboardInterrupt
        # Event loops and servers have handlers of their own for Ctrl-C, with which they end in order.
        signal.raise_signal(signal.SIGINT)

    def exit_code(self, code: int) -> int:
        """Return the exit code of the process: 128 + N if signal N stopped it, else `code`."""
        return code if self.received is None else 128 + self.received
