"""Counts the tokens of an answer without a tokenizer, never too few.

Tokenizers differ: some have a token for three digits, some for one; all have tokens for words. A budget has
to hold for a reader of any kind, so digits, punctuation and bytes beyond ASCII count as a token each, letters
as two fifths of one, and a space as a fifth. `tests/cli/render/test_tokens.py` measures open tokenizers of
either kind on every answer over the recorded runs.
"""

from __future__ import annotations

import string

FIFTHS = 5
"""The parts of a token in which text is weighed."""

_LETTERS = string.ascii_letters.encode()


def weigh(text: str) -> int:
    """Return the weight of a text in fifths of a token; the weights of lines add up."""
    data = text.encode()
    letters = len(data) - len(data.translate(None, _LETTERS))
    spaces = data.count(b" ")
    exponents = data.count(b"e+") + data.count(b"e-")  # a letter that is a token of its own
    return FIFTHS * (len(data) - letters - spaces) + 2 * letters + spaces + 3 * exponents


def count_tokens(text: str) -> int:
    """Return the tokens of a text, rounded up."""
    return -(-weigh(text) // FIFTHS)
