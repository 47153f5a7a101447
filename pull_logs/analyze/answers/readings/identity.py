"""What an answer about a run depends on, by which it is remembered from one look to the next."""

from __future__ import annotations

from typing import NamedTuple


class Identity(NamedTuple):
    """All that the findings or the statistics of a run depend on.

    Attributes:
        facts: The version of the definitions, the rows, and what else is known of the run.
        names: The metrics that were judged or described.
    """

    facts: tuple[str | None, ...]
    names: tuple[str, ...]
