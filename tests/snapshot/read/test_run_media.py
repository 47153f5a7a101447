"""What rows point to is listed with step, key, caption and file, and tables are read without rounding."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import example, given
from hypothesis import strategies as st

from pull_logs.errors import DataError, FileMissingError, MetricNotFoundError
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.file_pointers import count_pointers, find_pointers
from pull_logs.snapshot import MediaItem, open_bundle
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.read.logged import media as run_media

Row = dict[str, Any]


def pointer(kind: str, name: str, **more: Any) -> Row:
    return {"_type": kind, "path": name, **more}


def table_json(columns: Any, data: Any) -> bytes:
    return json.dumps({"columns": columns, "data": data, "ncols": 1}).encode()


TABLE = table_json(
    ["id", "label", "score", 4],
    [[9007199254740993, "cat", 0.5, True], [2, None, float("nan"), False], [3, "dog", 7, True]],
)
FILES = {
    "media/table/pred_1.table.json": TABLE,
    "media/table/pred_3.table.json": table_json(["a"], []),
    "media/table/odd.table.json": b"[1]",
    "media/table/ragged.table.json": table_json(["a", "b"], [[1]]),
    "media/images/a.png": b"png",
}
ROWS: list[Row] = [
    {"_step": 0, "loss": 1.0},
    {"_step": 1, "pred": pointer("table-file", "media/table/pred_1.table.json"), "note": "x"},
    {
        "_step": 3,
        "pred": pointer("table-file", "media/table/pred_3.table.json"),
        "val": {"pics": {
            "_type": "images/separated",
            "filenames": ["media/images/a.png", "media/images/b.png"],
            "captions": ["one", None],
        }, "a.b": [pointer("audio-file", "media/audio/x.wav", caption="beep")]},
        "odd": pointer("table-file", "media/table/odd.table.json"),
        "ragged": pointer("table-file", "media/table/ragged.table.json"),
        "gone": pointer("table-file", "media/table/gone.table.json"),
        "hist": {"_type": "histogram", "values": [1], "bins": [0, 1]},
    },
]  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = [TextFile(record_of(name, [data]), data) for name, data in FILES.items()]
    return make_bundle(tmp_path / "a.zip", [dataclasses.replace(bundle_run(rows=ROWS), files=files)])


def test_every_file_is_listed_with_its_step_key_and_caption(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        items = list(opened["3fk2a"].media())
    assert [(item.step, item.key, item.kind, item.name, item.caption) for item in items] == [
        (1, "pred", "table-file", "media/table/pred_1.table.json", None),
        (3, "gone", "table-file", "media/table/gone.table.json", None),
        (3, "odd", "table-file", "media/table/odd.table.json", None),
        (3, "pred", "table-file", "media/table/pred_3.table.json", None),
        (3, "ragged", "table-file", "media/table/ragged.table.json", None),
        (3, "val.a\\.b", "audio-file", "media/audio/x.wav", "beep"),
        (3, "val.pics", "images/separated", "media/images/a.png", "one"),
        (3, "val.pics", "images/separated", "media/images/b.png", None),
    ]
    assert {item.name for item in items if item.file is not None} == FILES.keys()


def test_a_file_that_is_listed_can_be_read(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        held = [item.file for item in opened["3fk2a"].media() if item.key == "val.pics"]
        assert held[0] is not None
        assert (held[0].read(), held[1]) == (b"png", None)


VALUES = [1.5, "text", pointer("table-file", "t"), [pointer("x", "y"), {"z": pointer("x", "z")}]]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.sampled_from(VALUES),
        ),
        max_size=5,
    )
)
def test_as_many_values_are_listed_as_are_counted(drawn: list[Row]) -> None:
    batch = batch_from_rows([{"_step": step, **row} for step, row in enumerate(drawn)])
    found = list(find_pointers(batch))
    assert Counter((one.path[0], one.kind) for one in found) == count_pointers([batch])
    for one in found:
        assert one.path[0] in drawn[one.row]


def test_a_table_is_read_with_its_types_and_without_rounding(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        run = opened["3fk2a"]
        table, last = run.table("pred", 1), run.table("pred")
    assert table.dtypes.astype(str).to_dict() == {
        "id": "int64", "label": "object", "score": "float64", "4": "bool",
    }  # fmt: skip
    assert table["id"].tolist() == [9007199254740993, 2, 3]
    assert table["label"].tolist() == ["cat", None, "dog"]
    assert table["score"].tolist()[::2] == [0.5, 7.0]
    assert pd.isna(table["score"][1])
    assert (list(last.columns), len(last)) == (["a"], 0)


cells = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=6))
@example([[None, 0], [2**53 + 1, 0]])
def test_every_cell_of_a_table_keeps_its_value(rows: list[list[Any]]) -> None:
    for at in (0, 1):
        logged = [row[at] for row in rows]
        read = run_media._column(logged).tolist()
        for before, after in zip(logged, read, strict=True):
            missing = before is None and pd.isna(after)
            assert missing or (before == after and isinstance(before, bool) == isinstance(after, bool))


RUN = "run 'acme/nano/3fk2a'"


@pytest.mark.parametrize(
    ("key", "step", "error", "message"),
    [
        ("perd", None, MetricNotFoundError, f"{RUN} has no table 'perd'; the nearest are 'pred', 'ragged'"),
        (
            "pred",
            2,
            MetricNotFoundError,
            f"{RUN} logged no table 'pred' at step 2; it logged those of steps 1, 3",
        ),
        ("val.pics", None, MetricNotFoundError, f"{RUN} has no table 'val.pics'"),
        (
            "gone",
            None,
            FileMissingError,
            (
                "the bundle does not have file 'media/table/gone.table.json' of table 'gone';"
                " `pull-logs fetch --media` and `pull-logs import --media` add tables and media"
            ),
        ),
        ("odd", None, DataError, "file 'media/table/odd.table.json' is not a table of W&B"),
        ("ragged", 3, DataError, "file 'media/table/ragged.table.json' is not a table of W&B"),
    ],
)
def test_a_table_that_cannot_be_read_is_said(
    bundle: Path, key: str, step: int | None, error: type[Exception], message: str
) -> None:
    with open_bundle(bundle) as opened, pytest.raises(error) as caught:
        opened["3fk2a"].table(key, step)
    assert str(caught.value).startswith(message)


def test_a_table_that_is_too_large_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_media, "MAX_TABLE", 10)
    with open_bundle(bundle) as opened, pytest.raises(DataError) as caught:
        opened["3fk2a"].table("pred", 1)
    name = "media/table/pred_1.table.json"
    assert caught.value.message == f"table {name!r} has {len(TABLE)} bytes, and 10 are the most"


def test_a_run_without_media_has_none(tmp_path: Path) -> None:
    found: list[MediaItem] = []
    with open_bundle(make_bundle(tmp_path / "a.zip")) as opened:
        found = [item for run in opened.runs() for item in run.media() if item.name]
    assert found == []
