"""Values that point to files are counted by key and type, wherever they are in a row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.file_pointers import count_pointers, pointers_text

Row = dict[str, Any]

TABLE = {"_type": "table-file", "path": "media/table/t.json", "ncols": 2, "nrows": 3}
IMAGES = {"_type": "images/separated", "filenames": ["media/a.png", "media/b.png"], "count": 2}
AUDIO = {"_type": "audio-file", "artifact_path": "wandb-client-artifact://x/a.wav"}
HISTOGRAM = {"_type": "histogram", "values": [1, 2], "bins": [0, 1, 2]}

pointers: st.SearchStrategy[Row] = st.sampled_from([TABLE, IMAGES, AUDIO])
others = st.sampled_from(
    [1.5, "media/table/t.json", HISTOGRAM, {"path": "media/x.png"}, {"_type": "table-file"}]
)


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> tuple[Any, list[str]]:
    """Draw a value and the types of the pointers in it."""
    kind = draw(st.sampled_from(["pointer", "other", "dict", "list"] if depth else ["pointer", "other"]))
    if kind == "pointer":
        value = draw(pointers)
        return value, [value["_type"]]
    if kind == "other":
        return draw(others), []
    inside = draw(st.lists(values(depth=depth - 1), min_size=1, max_size=3))
    found = [kind for _, kinds in inside for kind in kinds]
    if kind == "list":
        return [value for value, _ in inside], found
    return {f"k{at}": value for at, (value, _) in enumerate(inside)}, found


@given(st.lists(st.dictionaries(st.sampled_from("abc"), values(), max_size=3), max_size=6), st.integers(1, 3))
def test_every_pointer_is_counted_once(drawn: list[dict[str, tuple[Any, list[str]]]], size: int) -> None:
    rows: list[Row] = [
        {"_step": at, **{key: value for key, (value, _) in row.items()}} for at, row in enumerate(drawn)
    ]
    expected = Counter((key, kind) for row in drawn for key, (_, kinds) in row.items() for kind in kinds)
    batches = [batch_from_rows(rows[at : at + size]) for at in range(0, len(rows), size)]
    assert count_pointers(batches) == expected


def test_a_pointer_to_a_file_that_is_available_is_none() -> None:
    batch = batch_from_rows([{"_step": 0, "t": TABLE, "i": IMAGES}])
    available = {"media/table/t.json", "media/a.png"}
    assert count_pointers([batch], available=available) == {("i", "images/separated"): 1}
    assert count_pointers([batch], available={*available, "media/b.png"}) == {}


def test_the_text_has_the_number_and_the_first_keys() -> None:
    assert pointers_text({("t", "table-file"): 1}) == "1 value of 1 key: t (1 table-file)"
    found = {(f"k{at}", "image-file"): at + 1 for at in range(7)} | {("k0", "table-file"): 3}
    assert pointers_text(found) == (
        "31 values of 7 keys: k0 (1 image-file, 3 table-file), k1 (2 image-file), k2 (3 image-file), "
        "k3 (4 image-file), k4 (5 image-file), ..."
    )
