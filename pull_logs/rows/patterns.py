"""Regular expressions from users and from requests, which match any text in linear time.

The syntax is RE2's: no look-arounds and no back-references. Python's `re` backtracks: a pattern such as
`(a+)+$` takes time that doubles with each character of the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_PATTERN: Final = 1000
"""The most characters of a pattern."""


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A regular expression that is searched for in texts.

    Attributes:
        pattern: The regular expression.
    """

    pattern: str

    def __post_init__(self) -> None:
        import pyarrow as pa

        if len(self.pattern) > MAX_PATTERN:
            raise ValueError(f"has {len(self.pattern)} characters, and {MAX_PATTERN} are the most")
        try:
            self.search_all([""])
        except pa.ArrowException as exc:
            reason = str(exc).removeprefix("Invalid regular expression: ")
            raise ValueError(f"is not a valid regular expression (RE2): {reason}") from None
        except UnicodeEncodeError:
            raise ValueError("is not a valid regular expression (RE2): it is not valid Unicode") from None

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in a text."""
        return self.search_all([text])[0]

    def search_all(self, texts: Iterable[str]) -> list[bool]:
        """Return for each text whether it matches anywhere in it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.large_string())
        found: list[bool] = pc.match_substring_regex(column, pattern=self.pattern).to_pylist()
        return found
