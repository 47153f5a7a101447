"""The records of a `.wandb` log, read with W&B's own protobuf classes.

The classes are those of the installed `wandb` package, which is imported when the first log is read.
The protocols below are typed views of the messages that a run is rebuilt from; wandb ships no types for
its classes. Records of other types are skipped, and so are fields that a later release of wandb writes.
See docs/protocol.md, "Local run logs".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast

from pull_logs.errors import PullLogsError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

_ONEOF = "record_type"
_INTEGERS_OF_64_BITS = (2, 4)
"""`CPPTYPE_INT64` and `CPPTYPE_UINT64`: JSON has them as text."""


class Timestamp(Protocol):
    """A time in UTC."""

    seconds: int
    nanos: int


class FlatItem(Protocol):
    """A key and a value as JSON text."""

    key: str
    value_json: str


class Item(FlatItem, Protocol):
    """An item whose key is given as a string, or as the levels of a nested key."""

    nested_key: Sequence[str]


class Items(Protocol):
    """A change of a config or a summary."""

    update: Sequence[Item]
    remove: Sequence[Item]


class HistoryStep(Protocol):
    """The step of a row."""

    num: int


class History(Protocol):
    """A row."""

    item: Sequence[Item]
    step: HistoryStep

    def HasField(self, name: str, /) -> bool:  # noqa: N802 - protobuf's name
        """Return whether a message field is set."""


class Stats(Protocol):
    """A row of system metrics."""

    timestamp: Timestamp
    item: Sequence[FlatItem]


class MetricControl(Protocol):
    """How a definition of a metric changes an earlier one."""

    overwrite: bool


class Flags(Protocol):
    """A message of nothing but booleans."""

    def ListFields(self) -> Sequence[tuple[FieldDescriptor, Any]]:  # noqa: N802 - protobuf's name
        """Return the fields that are set, with their values."""


class Metric(Protocol):
    """A call of `define_metric`, for one metric or for all that match a glob."""

    name: str
    glob_name: str
    step_metric: str
    options: Flags
    summary: Flags
    goal: int
    _control: MetricControl

    def HasField(self, name: str, /) -> bool:  # noqa: N802 - protobuf's name
        """Return whether a message field is set."""


class Git(Protocol):
    """The repository and commit of the code."""

    remote_url: str
    commit: str


class Branch(Protocol):
    """A point in the history of a run."""

    run: str
    metric: str
    value: float


class RunHeader(Protocol):
    """The record that a run starts with."""

    run_id: str
    entity: str
    project: str
    config: Items
    summary: Items
    run_group: str
    job_type: str
    display_name: str
    notes: str
    tags: Sequence[str]
    sweep_id: str
    start_time: Timestamp
    git: Git
    branch_point: Branch

    def HasField(self, name: str, /) -> bool:  # noqa: N802 - protobuf's name
        """Return whether a message field is set."""


class Output(Protocol):
    """Text that the run printed."""

    output_type: int
    timestamp: Timestamp
    line: str


class Exit(Protocol):
    """How a run ended."""

    exit_code: int
    runtime: int


class Environment(Protocol):
    """A part of `wandb-metadata.json`."""

    def MergeFrom(self, other: Environment, /) -> None:  # noqa: N802 - protobuf's name
        """Add the values of `other`."""


class Record(Protocol):
    """One record; only the message that `WhichOneof` names is set."""

    history: History
    summary: Items
    config: Items
    stats: Stats
    output: Output
    output_raw: Output
    metric: Metric
    run: RunHeader
    exit: Exit
    environment: Environment
    artifact: Any

    def WhichOneof(self, group: str, /) -> str | None:  # noqa: N802 - protobuf's name
        """Return the name of the message that is set."""


def record_class(name: str) -> Any:
    """Return one of W&B's protobuf classes: `Record` or the class of a message in it.

    Raises:
        PullLogsError: wandb is not installed, or its release no longer has the class.
    """
    try:
        from wandb.proto import wandb_internal_pb2

        return getattr(wandb_internal_pb2, name)
    except (ImportError, AttributeError) as exc:
        raise PullLogsError(
            f"a W&B log cannot be read without the record classes of wandb: {exc}",
            hint="install a release that has them with: pip install 'wandb>=0.28'",
        ) from exc


def record_parser() -> Callable[[bytes], Record | None]:
    """Return a function that parses one record, or gives None for bytes that are not a record.

    Raises:
        PullLogsError: wandb is not installed, or its release no longer has the class.
    """
    parse = cast("Callable[[bytes], Record]", record_class("Record").FromString)
    from google.protobuf.message import DecodeError

    def parse_or_none(data: bytes) -> Record | None:
        try:
            return parse(data)
        except DecodeError:
            return None

    return parse_or_none


def kind_of(record: Record) -> str | None:
    """Return the name of the message that the record holds, if it holds one."""
    return record.WhichOneof(_ONEOF)


def utc_text(seconds: int, nanos: int = 0) -> str | None:
    """Format a time since 1970 as `2026-11-23T10:00:00.25Z`; None for 0 and for years above 9999."""
    if not seconds:
        return None
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds, microseconds=nanos // 1000)  # noqa: DTZ001
    except OverflowError:
        return None
    text = moment.isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


def printed_at(output: Output) -> str | None:
    """Return when text was printed as W&B stores it, in UTC: `2026-11-23T10:00:00.250000`; None for 0."""
    text = utc_text(output.timestamp.seconds, output.timestamp.nanos)
    if text is None:
        return None
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<6}"


def environment_dict(environment: Environment) -> dict[str, Any]:
    """Return the environment as in `wandb-metadata.json`: without unset fields, 64-bit integers as text."""
    return cast("dict[str, Any]", _plain(environment))


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        return value
    if value.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
        return utc_text(value.seconds, value.nanos)
    # Fields whose names begin with an underscore describe the record, not the environment.
    return {
        field.json_name: _plain_field(field, inner)
        for field, inner in value.ListFields()
        if not field.name.startswith("_")
    }


def _plain_field(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return str(value) if field.cpp_type in _INTEGERS_OF_64_BITS else _plain(value)
