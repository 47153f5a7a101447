"""What the server turned out to support, remembered for the rest of a pull."""

from __future__ import annotations

from dataclasses import dataclass

MOST_FUTILE_REREADS = 3
"""Finished runs in a row whose missing rows were requested again without success, before that stops."""


@dataclass(slots=True)
class Capabilities:
    """What the server supports, as far as its answers showed.

    Attributes:
        several_runs: Whether it accepts several runs in one query.
        exports_in_listings: Whether it accepts `parquetHistory` next to the other fields of a run.
        prefilter: Whether it accepts the filter of the selection.
        histories_in_a_query: The most runs whose live rows it is asked for at once.
        accepts_groups: Whether it answered a query for the live rows of several runs.
        exported_rows_in_pages: Whether its history pages include rows that are in exported files.
    """

    several_runs: bool = True
    exports_in_listings: bool = True
    prefilter: bool = True
    histories_in_a_query: int = 10
    accepts_groups: bool = False
    exported_rows_in_pages: bool = True
    _futile_rereads: int = 0

    @property
    def rereads_help(self) -> bool:
        """Whether a request for missing rows of a finished run is worth another try."""
        return self._futile_rereads < MOST_FUTILE_REREADS

    def refuse_group(self, runs: int) -> None:
        """Record that a query for the live rows of that many runs was refused, or too slow."""
        self.histories_in_a_query = min(self.histories_in_a_query, runs // 2)

    def record_reread(self, *, found_rows: bool) -> None:
        """Record whether a request for missing rows of a finished run found some."""
        self._futile_rereads = 0 if found_rows else self._futile_rereads + 1
