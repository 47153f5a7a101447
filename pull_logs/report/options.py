"""The options of a report."""

from __future__ import annotations

from dataclasses import dataclass

from pull_logs.errors import UsageError

LEAST_POINTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a report shows.

    Attributes:
        select: A regular expression that is searched for in the names of the metrics.
        group_by: Config keys or fields by which runs are grouped, as for `compare`; found out by default.
        best: The metric by which runs are ranked, `METRIC`, `METRIC:min` or `METRIC:max`; found out by
            default.
        points: The most points of one curve that the file has; 0 for as many as the size of the file allows.
            Minima, maxima and values that are not finite are always among them.
        title: The title of the page; the projects of the runs by default.
    """

    select: str | None = None
    group_by: tuple[str, ...] = ()
    best: str | None = None
    points: int = 0
    title: str | None = None

    def check(self) -> None:
        """Refuse a number of points that no curve can be drawn with.

        Raises:
            UsageError: There are too few points.
        """
        if self.points and self.points < LEAST_POINTS:
            raise UsageError(
                f"--points {self.points} is too few for a curve",
                hint=f"use {LEAST_POINTS} or more, or 0 for as many as fit",
            )
