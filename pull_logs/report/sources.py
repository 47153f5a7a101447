"""Where a report comes from and where it goes: the bundles of its runs, and the file to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pull_logs.errors import UsageError
from pull_logs.interface import Sources, find_bundles
from pull_logs.snapshot import Bundle, open_bundle

_MARK = b'<meta name="generator" content="pull-logs report">'
_HEAD = 500


@contextmanager
def bundles_of(sources: Sources) -> Iterator[tuple[Sequence[Bundle], Sources]]:
    """Open the bundles that sources name, and yield them with sources that use the open ones.

    Raises:
        FileMissingError: A bundle does not exist.
        DamageError: A bundle is damaged or unsafe.
    """
    with ExitStack() as stack:
        bundles: list[Bundle] = []
        for item in sources.bundles:
            if isinstance(item, Bundle):
                bundles.append(item)
            else:
                bundles += [stack.enter_context(open_bundle(found)) for found in find_bundles([item])]
        yield bundles, replace(sources, bundles=tuple(bundles))


def check_report_output(out: Path, *, force: bool = False) -> Path:
    """Check that a report can be written, and return its path with symbolic links followed.

    Args:
        out: The file to write.
        force: Whether to replace a file that is not a report.

    Raises:
        UsageError: It is not a path that a file can have; or the file exists and is not a report.
        PullLogsError: The folder that contains it does not exist, or cannot be written.
    """
    from pull_logs.snapshot.write import check_output_file

    target = check_output_file(out)
    if force or not target.exists():
        return target
    with target.open("rb") as file:
        if _MARK not in file.read(_HEAD):
            raise UsageError(
                f"{str(out)!r} exists and is not a report",
                hint="pass --force to replace it, or name another file",
            )
    return target
