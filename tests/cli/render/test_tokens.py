"""The count of tokens is never below that of open tokenizers, whatever a table of numbers looks like."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest
import quicktok
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.render.tokens import FIFTHS, count_tokens, weigh

GOLDEN = Path(__file__).resolve().parent / "golden"
ANSWERS = sorted(file.name for file in GOLDEN.iterdir())
TOKENIZERS = [quicktok.get_encoding(name) for name in ("o200k_base", "qwen3")]
"""One with a token for three digits, and one with a token for each."""


def real_tokens(text: str) -> int:
    counts: list[int] = [tokenizer.count(text) for tokenizer in TOKENIZERS]
    return max(counts)


@pytest.mark.parametrize("name", ANSWERS)
def test_no_tokenizer_makes_more_tokens_of_an_answer(name: str) -> None:
    text = (GOLDEN / name).read_text()
    if name.endswith(".json"):
        text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    counted = count_tokens(text)
    assert real_tokens(text) <= counted
    assert counted <= 2 * real_tokens(text)  # nor is half of a budget left unused


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), min_size=1, max_size=9),
        min_size=4,
        max_size=30,
    )
)
def test_no_tokenizer_makes_more_tokens_of_a_table_of_numbers(rows: list[list[float]]) -> None:
    for show in (repr, lambda value: f"{value:.6g}"):
        text = "".join(",".join(map(show, row)) + "\n" for row in rows)
        assert real_tokens(text) <= count_tokens(text)


def test_nor_of_a_table_of_ids_and_names() -> None:
    rng = random.Random(3)
    ids = ["".join(rng.choices(string.ascii_lowercase + string.digits, k=8)) for _ in range(200)]
    text = "".join(f"{name},finished,{rng.random():.6g},train/layer_{n}/norm\n" for n, name in enumerate(ids))
    assert real_tokens(text) <= count_tokens(text)


@given(st.text(), st.text())
def test_the_weights_of_lines_add_up(first: str, second: str) -> None:
    first, second = (text.encode("utf-8", "replace").decode() + "\n" for text in (first, second))
    assert weigh(first) + weigh(second) == weigh(first + second)
    assert count_tokens(first) == -(-weigh(first) // FIFTHS)
