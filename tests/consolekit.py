"""Console logs for tests: hypothesis strategies, and a log as a source for a bundle."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from pull_logs.snapshot.format import ConsoleLine, StoredConsole, console_in_memory

texts = st.text(st.characters(codec="utf-8"), max_size=30)
stamps = st.none() | st.sampled_from(
    ["2026-11-23T10:00:00.250000", "2026-11-23T10:00:00Z", "NaN", "Infinity", "yesterday", "1e5"]
)


@st.composite
def console_logs(draw: st.DrawFn) -> list[ConsoleLine]:
    """Lines of any text, with numbers that may have gaps."""
    lines, number = [], -1
    for text in draw(st.lists(texts, max_size=12)):
        number += draw(st.integers(1, 3))
        lines.append(
            ConsoleLine(
                number=number,
                text=text,
                timestamp=draw(stamps),
                level=draw(st.sampled_from(["", "error", "warn"])),
                label=draw(st.sampled_from(["", "rank-1", "\u00e9"])),
            )
        )
    return lines


def printed(count: int, *, start: int = 0, text: str = "epoch {} done") -> list[ConsoleLine]:
    """Lines that a run prints, one a second; each fifth one is an error."""
    return [
        ConsoleLine(
            number=at,
            text=text.format(at),
            timestamp=f"2026-11-23T10:{at // 60 % 60:02d}:{at % 60:02d}.250000",
            level="error" if at % 5 == 4 else "",
        )
        for at in range(start, start + count)
    ]


def console_of(lines: Iterable[ConsoleLine]) -> StoredConsole:
    """The log of these lines, of which there is at least one."""
    console = console_in_memory(lines)
    assert console is not None
    return console
