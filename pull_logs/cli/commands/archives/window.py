"""The time that an archive may take: until a time of the day, or for a while."""

from __future__ import annotations

import _thread
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Timer

from pull_logs.errors import UsageError

_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,6})s)?")


@dataclass(slots=True)
class Window:
    """A time that ends.

    Attributes:
        seconds: How long it is from now; None if it does not end.
        ended: Whether it has ended.
    """

    seconds: float | None = None
    ended: bool = field(default=False, init=False)

    @classmethod
    def parse(cls, until: str | None, duration: str | None, *, now: datetime) -> Window:
        """Read `--until HH:MM`, the next time that a clock shows it, or `--for 6h30m`.

        Raises:
            UsageError: A text is not valid, or both are given.
        """
        if until is not None and duration is not None:
            raise UsageError("--until and --for both end the window", hint="leave one of the two out")
        if until is not None:
            return cls(_seconds_until(until, now))
        return cls(None if duration is None else _seconds_of(duration))

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Interrupt the block, as Ctrl-C does, when the time has ended; it then ends as if it were done.

        What a shell starts in the background ignores Ctrl-C, which the block then does not.
        """
        if self.seconds is None:
            yield
            return
        if self.seconds <= 0:
            self.ended = True
        timer = Timer(self.seconds, self._end)
        timer.daemon = True
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if ignored:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if not self.ended:
                timer.start()
            yield
        except KeyboardInterrupt:
            if not self.ended:
                raise
        finally:
            timer.cancel()
            if ignored:
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _end(self) -> None:
        self.ended = True
        main = threading.main_thread().ident
        if main is not None and hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, signal.SIGINT)  # wakes it up where it waits
        else:
            _thread.interrupt_main()


def _seconds_until(text: str, now: datetime) -> float:
    try:
        moment = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - a time of the local day
    except ValueError as exc:
        raise UsageError(f"--until {text!r} is not a time of the day", hint="write it as 06:30") from exc
    end = now.replace(hour=moment.hour, minute=moment.minute, second=0, microsecond=0)
    return ((end if end > now else end + timedelta(days=1)) - now).total_seconds()


def _seconds_of(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise UsageError(f"--for {text!r} is not a duration", hint="write it as 6h, 90m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds
