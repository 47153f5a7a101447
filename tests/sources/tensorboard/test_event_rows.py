"""Rows of event files: the fast way against a plain one, restarts, names, and values of every kind."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eventkit import (
    T0,
    column,
    event_file,
    frame,
    read_all,
    restart,
    rows_of,
    scalars,
    version,
    write_events,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto

from pull_logs.errors import FileMissingError
from pull_logs.sources.tensorboard import TensorBoard
from pull_logs.sources.tensorboard.events import read_event
from pull_logs.sources.tensorboard.record_framing import RecordReader
from pull_logs.sources.tensorboard.scalar_blocks import ScalarDecoder
from pull_logs.sources.tracked_runs import TrackedRun

FLOATS = st.floats(width=32)


def _scalar(tag: str, step: int, time: float, value: float, form: str) -> Any:
    event = Event(wall_time=time, step=step)
    if form == "simple":
        event.summary.value.add(tag=tag, simple_value=value)
        return event
    double = "double" in form
    tensor = TensorProto(dtype=2 if double else 1)
    if "raw" in form:
        tensor.tensor_content = np.array([value], dtype="<f8" if double else "<f4").tobytes()
    else:
        (tensor.double_val if double else tensor.float_val).append(value)
    plugin = SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = SummaryMetadata(plugin_data=plugin) if "plugin" in form else None
    event.summary.value.add(tag=tag, tensor=tensor, metadata=metadata)
    return event


SCALARS = st.builds(
    _scalar,
    # Names of one length, with bytes that could be taken for a number, and others.
    st.sampled_from(["aa", "ab", "a\0", "\0\0", "loss", "l\0\0\0", "train/metric_1", "ü"]),
    st.one_of(st.integers(0, 5), st.integers(0, 2**21), st.sampled_from([-1, 2**63 - 1, -(2**63)])),
    st.floats(1e9, 2e9),
    FLOATS,
    st.sampled_from(["simple", "simple", "float", "double", "raw", "raw double", "plugin", "plugin raw"]),
)
OTHERS = st.one_of(
    st.builds(version),
    st.binary(max_size=60),
    st.builds(
        lambda first, second: Event(step=3, summary={"value": [first, second]}),
        st.just({"tag": "x", "simple_value": 1.5}),
        st.just({"tag": "y", "simple_value": 2.5}),
    ),
)


@settings(deadline=None)
@given(st.lists(st.one_of(SCALARS, OTHERS), max_size=60))
def test_the_fast_decoder_gives_what_the_protobuf_runtime_gives(events: Sequence[Any]) -> None:
    records = [event if isinstance(event, bytes) else event.SerializeToString() for event in events]
    (block,) = RecordReader(io.BytesIO(b"".join(map(frame, records)))) if records else (None,)
    if block is None:
        return
    decoder = ScalarDecoder()
    points, others = decoder.decode(block)
    names = list(decoder.tags)
    fast = sorted(
        zip(
            [names[tag] for tag in points.tags.tolist()],
            points.steps.tolist(),
            points.times.tolist(),
            map(repr, points.values.tolist()),
            strict=True,
        )
    )
    left = set(others.tolist())
    plain = sorted(
        (event.summary.value[0].tag, event.step, event.wall_time, repr(_number(event.summary.value[0])))
        for index, event in enumerate(events)
        if index not in left
    )
    assert fast == plain
    assert {index for index, event in enumerate(events) if not _is_scalar(event)} <= left


def _is_scalar(event: Any) -> bool:
    return not isinstance(event, bytes) and len(event.summary.value) == 1


def _number(value: Any) -> float:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor
    if tensor.tensor_content:
        return float(np.frombuffer(tensor.tensor_content, "<f8" if tensor.dtype == 2 else "<f4")[0])
    return float([*tensor.double_val, *tensor.float_val][0])


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes on the wire."""
    return bytes([number << 3 | 2, len(data)]) + data


UNKNOWN = st.sampled_from([b"\x78\x05", b"\x7a\x03abc", b"\x7d\0\0\x80\x3f", b"\x79" + bytes(8)])
"""Fields with the number 15, which no message of an event has."""

VALUES = st.tuples(
    st.permutations(
        [Summary.Value(tag="loss").SerializeToString(), Summary.Value(simple_value=2.5).SerializeToString()]
    ),
    st.lists(UNKNOWN, max_size=1),
    st.lists(st.sampled_from([Summary.Value(tag="b").SerializeToString()]), max_size=1),
).map(lambda parts: _field(5, _field(1, b"".join([*parts[0], *parts[1], *parts[2]]))))
"""Summaries of one value: fields in any order, unknown ones, and a tag that is given twice."""

RECORDS = st.tuples(
    st.lists(st.floats(1e9, 2e9).map(lambda time: Event(wall_time=time).SerializeToString()), max_size=2),
    st.lists(st.integers(0, 300).map(lambda step: Event(step=step).SerializeToString()), max_size=2),
    st.lists(VALUES, max_size=2),
    st.lists(UNKNOWN, max_size=1),
).flatmap(lambda parts: st.permutations([field for some in parts for field in some]).map(b"".join))


@settings(deadline=None)
@given(st.lists(st.one_of(RECORDS, SCALARS.map(Event.SerializeToString)), min_size=1, max_size=40))
def test_fields_in_any_order_unknown_and_repeated_ones_are_read_as_by_protobuf(records: list[bytes]) -> None:
    # Each record is repeated, as some forms are only decoded together.
    (block,) = RecordReader(io.BytesIO(b"".join(map(frame, records * 5))))
    decoder = ScalarDecoder()
    points, others = decoder.decode(block)
    names = list(decoder.tags)
    found = [(names[tag], step) for tag, step in zip(points.tags, points.steps.tolist(), strict=True)]
    times = points.times.tolist()
    for index in others.tolist():
        event = read_event(block.data[block.starts[index] : block.ends[index]])
        found += [(value.tag, event.step) for value in event.values]
        times += [event.wall_time for _ in event.values]
    expected = [Event.FromString(record) for record in records * 5]
    values = [(value.tag, event.step) for event in expected for value in event.summary.value]
    assert sorted(found) == sorted(values)
    assert sorted(times) == sorted(event.wall_time for event in expected for _ in event.summary.value)


@given(SCALARS)
def test_the_reader_of_one_event_gives_what_the_protobuf_runtime_gives(event: Any) -> None:
    found = read_event(event.SerializeToString())
    assert (found.wall_time, found.step, [value.tag for value in found.values]) == (
        event.wall_time,
        event.step,
        [value.tag for value in event.summary.value],
    )


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), FLOATS), max_size=40),
    st.integers(20, 400),
)
def test_rows_have_the_latest_value_of_each_tag_and_step(
    tmp_path_factory: pytest.TempPathFactory, logged: list[tuple[str, int, float]], block_bytes: int
) -> None:
    from pull_logs.rows.batches import batch_rows
    from pull_logs.rows.canonical import canon_row, same
    from pull_logs.sources.tensorboard.event_files import MergedRows, RunReader
    from pull_logs.sources.tensorboard.media_files import MediaWriter

    folder = tmp_path_factory.mktemp("run")
    events = [scalars(step, {tag: value}, time=T0 + index) for index, (tag, step, value) in enumerate(logged)]
    file = write_events(event_file(folder), [version(), *events])
    scratch = folder / "scratch"
    scratch.mkdir()
    reader = RunReader(scratch, MediaWriter(folder / "media", None), block_bytes=block_bytes)
    content = reader.read([file])
    expected: dict[int, dict[str, Any]] = {}
    for index, (tag, step, value) in enumerate(logged):
        row = expected.setdefault(step, {"_step": step})
        row |= {tag: value, "_timestamp": T0 + index, "_runtime": float(index)}
    rows = [row for batch in MergedRows(content.segments).batches() for row in batch_rows(batch)]
    assert same(rows, [canon_row(row) for _, row in sorted(expected.items())])
    assert content.points == len(logged)


def _restarted(tmp_path: Path, *files: Sequence[Any]) -> TrackedRun:
    for number, events in enumerate(files):
        write_events(event_file(tmp_path / "runs" / "exp", number), [version(T0 + number), *events])
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    return run


def _logged(steps: Sequence[int], part: int, tag: str = "loss") -> list[Any]:
    return [scalars(step, {tag: part + step / 8}, time=T0 + 100 * part + step) for step in steps]


def test_a_session_log_makes_later_steps_of_earlier_files_obsolete(tmp_path: Path) -> None:
    run = _restarted(
        tmp_path,
        [*_logged(range(6), 0), *_logged([9], 0, "other")],
        [restart(3), *_logged(range(3, 5), 1)],
    )
    assert column(run, "loss") == [(0, 0.0), (1, 0.125), (2, 0.25), (3, 1.375), (4, 1.5)]
    assert column(run, "other") == []
    (note,) = run.notes
    assert note == (
        "local/runs/exp: 4 values of 9 were logged before the run was started again from an earlier step, and"
        " were left out"
    )


def test_a_session_log_in_the_middle_of_a_file_counts_as_well(tmp_path: Path) -> None:
    run = _restarted(
        tmp_path, [*_logged(range(6), 0), restart(2), *_logged([2], 1), restart(5), *_logged([5], 2)]
    )
    assert column(run, "loss") == [(0, 0.0), (1, 0.125), (2, 1.25), (5, 2.625)]


def test_a_record_after_two_session_logs_that_cannot_be_read_is_counted_once(tmp_path: Path) -> None:
    from pull_logs.sources.tensorboard.event_files import RunReader
    from pull_logs.sources.tensorboard.media_files import MediaWriter

    records = [*(event.SerializeToString() for event in (version(), restart(1), restart(2))), b"no event"]
    (tmp_path / "segments").mkdir()
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(b"".join(map(frame, records)))
    content = RunReader(tmp_path / "segments", MediaWriter(tmp_path / "media", None)).read([file])
    assert (content.records, content.unread) == (4, 1)


def test_a_later_file_replaces_its_tags_from_its_first_step_on(tmp_path: Path) -> None:
    run = _restarted(tmp_path, [*_logged(range(6), 0), *_logged(range(6), 0, "lr")], _logged(range(2, 4), 1))
    assert column(run, "loss") == [(0, 0.0), (1, 0.125), (2, 1.25), (3, 1.375)]
    assert [step for step, _ in column(run, "lr")] == [0, 1, 2, 3, 4, 5]


def test_files_that_go_on_are_put_together(tmp_path: Path) -> None:
    run = _restarted(tmp_path, _logged(range(3), 0), _logged(range(3, 6), 1))
    assert [step for step, _ in column(run, "loss")] == [0, 1, 2, 3, 4, 5]
    assert run.notes == ()


def test_a_value_that_is_logged_again_at_its_step_is_counted(tmp_path: Path) -> None:
    run = _restarted(tmp_path, [*_logged([0, 1], 0), *_logged([1], 1)])
    assert column(run, "loss") == [(0, 0.0), (1, 1.125)]
    assert run.notes == (
        "local/runs/exp: 1 value of 3 have a later value of the same tag and step, which is kept",
    )


def test_folders_are_runs_named_by_their_paths(tmp_path: Path) -> None:
    top = tmp_path / "logs"
    for name in ("exp1/train", "exp1/validation", "exp 2#x", "exp1"):
        write_events(event_file(top / name), [version(), *_logged([1], 0)])
    found = read_all(top, tmp_path / "scratch")
    assert {name: str(run.run.info.path) for name, run in found.items()} == {
        "exp 2#x": "local/logs/exp 2~x",
        "exp1": "local/logs/exp1",
        "exp1/train": "local/logs/exp1~train",
        "exp1/validation": "local/logs/exp1~validation",
    }
    assert found["exp1/train"].run.info.group == "exp1"
    # The same names from the folder of one run, and from its file.
    inner = read_all(top / "exp1", tmp_path / "inner")
    assert {name: str(run.run.info.path) for name, run in inner.items()} == {
        name: str(run.run.info.path) for name, run in found.items() if name.startswith("exp1")
    }
    (alone,) = read_all(event_file(top / "exp1"), tmp_path / "alone").values()
    assert alone.run.info == found["exp1"].run.info


def test_tags_that_are_names_of_own_columns_are_renamed(tmp_path: Path) -> None:
    run = _restarted(tmp_path, [scalars(4, {"_step": 7.0, "_runtime": 8.0})])
    assert rows_of(run) == [
        {"_step": 4, "_timestamp": T0 + 4, "_runtime": 4, "tensorboard/_step": 7, "tensorboard/_runtime": 8}
    ]
    (note,) = run.notes
    assert note == (
        "local/runs/exp: the metrics _runtime, _step are named tensorboard/NAME, because all runs have"
        " columns of these names"
    )


def test_records_that_are_not_events_are_counted(tmp_path: Path) -> None:
    file = event_file(tmp_path / "runs" / "exp")
    write_events(file, [version(), *_logged(range(9), 0)])
    with file.open("ab") as out:
        out.write(frame(b"\xff\xff\xff"))
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert len(rows_of(run)) == 9
    assert run.run.coverage.reason == "1 record or values are not valid and were left out"


def test_a_folder_without_event_files_is_refused(tmp_path: Path) -> None:
    assert not TensorBoard().recognizes(str(tmp_path))
    with pytest.raises(FileMissingError) as caught:
        TensorBoard().find(str(tmp_path))
    assert str(caught.value) == (
        f"no event file of TensorBoard in {str(tmp_path)!r}; name a folder with files events.out.tfevents.*,"
        " or a folder above one"
    )
