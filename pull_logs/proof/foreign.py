"""Whether a run of a bundle is one of the W&B that is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.fetch import Settings
    from pull_logs.snapshot import Run


def foreign(run: Run, settings: Settings) -> str:
    """Return why a run is not one of this W&B; empty if it is."""
    if run.host is None:
        return "it was imported from a local folder and not downloaded from W&B"
    if settings.is_other_host(run.host):
        return f"it was downloaded from {run.host}, and {settings.host} was asked"
    return ""
