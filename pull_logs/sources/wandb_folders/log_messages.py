"""The messages of a `.wandb` log that a run is rebuilt from, and no others.

W&B's own classes come at the price of importing `wandb` (0.4 s, and a version
of it that still ships them). A log needs some thirty messages whose field
numbers are fixed for ever by the format, so they are declared here and built
in a pool of their own: nothing is shared with `wandb`, when that is loaded too.
Fields and record types that are not declared are skipped, as protobuf does
with those of a later version. Numbers and JSON names are those of W&B's
`wandb_internal.proto` (read API facts, section 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from pull_logs.errors import PullLogsError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.descriptor_pb2 import DescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

_PACKAGE = "pull_logs_log"
_ONEOF = "record_type"


class Timestamp(Protocol):
    """A moment in UTC."""

    seconds: int
    nanos: int


class Item(Protocol):
    """A key, in one piece or split at its levels, and a value as JSON text."""

    key: str
    nested_key: Sequence[str]
    value_json: str


class Items(Protocol):
    """A change of a config or a summary."""

    update: Sequence[Item]
    remove: Sequence[Item]


class Step(Protocol):
    """The step of a row."""

    num: int


class History(Protocol):
    """A row."""

    item: Sequence[Item]
    step: Step

    def HasField(self, name: str, /) -> bool:  # noqa: N802 - protobuf's name
        """Whether a message field is there."""


class Stats(Protocol):
    """A row of system metrics."""

    timestamp: Timestamp
    item: Sequence[Item]


class MetricControl(Protocol):
    """How a definition of a metric meets a former one."""

    overwrite: bool


class Flags(Protocol):
    """A message of nothing but booleans."""

    def ListFields(self) -> Sequence[tuple[FieldDescriptor, Any]]:  # noqa: N802 - protobuf's name
        """The fields that are set, with their values."""


class Metric(Protocol):
    """What `define_metric` said of a metric, or of all that a glob matches."""

    name: str
    glob_name: str
    step_metric: str
    options: Flags
    summary: Flags
    goal: int
    control: MetricControl

    def HasField(self, name: str, /) -> bool:  # noqa: N802 - protobuf's name
        """Whether a message field is there."""


class Git(Protocol):
    """Where the code came from."""

    remote_url: str
    commit: str


class RunHeader(Protocol):
    """What is known of a run when it starts."""

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

    def HasField(self, name: str, /) -> bool:  # noqa: N802 - protobuf's name
        """Whether a message field is there."""


class Exit(Protocol):
    """How a run ended."""

    exit_code: int
    runtime: int


class Environment(Protocol):
    """A part of what `wandb-metadata.json` holds."""

    def MergeFrom(self, other: Environment, /) -> None:  # noqa: N802 - protobuf's name
        """Take over what `other` holds."""


class Record(Protocol):
    """One record: the message that `WhichOneof` names, the others are empty."""

    history: History
    summary: Items
    config: Items
    stats: Stats
    metric: Metric
    run: RunHeader
    exit: Exit
    environment: Environment

    def WhichOneof(self, group: str, /) -> str | None:  # noqa: N802 - protobuf's name
        """The name of the message that the record holds."""


_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Record": {
        "history": (2, "HistoryRecord"),
        "summary": (3, "SummaryRecord"),
        "config": (5, "ConfigRecord"),
        "stats": (7, "StatsRecord"),
        "metric": (12, "MetricRecord"),
        "run": (17, "RunRecord"),
        "exit": (18, "RunExitRecord"),
        "preempting": (23, "RunPreemptingRecord"),
        "environment": (26, "EnvironmentRecord"),
    },
    "Item": {"key": (1, "string"), "nested_key": (2, "string*"), "value_json": (16, "string")},
    "HistoryRecord": {"item": (1, "Item*"), "step": (2, "HistoryStep")},
    "HistoryStep": {"num": (1, "int64")},
    "SummaryRecord": {"update": (1, "Item*"), "remove": (2, "Item*")},
    "ConfigRecord": {"update": (1, "Item*"), "remove": (2, "Item*")},
    "StatsRecord": {"timestamp": (2, "Timestamp"), "item": (3, "Item*")},
    "MetricRecord": {
        "name": (1, "string"),
        "glob_name": (2, "string"),
        "step_metric": (4, "string"),
        "options": (6, "MetricOptions"),
        "summary": (7, "MetricSummary"),
        "goal": (8, "int32"),
        "control": (9, "MetricControl"),
    },
    "MetricOptions": {"step_sync": (1, "bool"), "hidden": (2, "bool"), "defined": (3, "bool")},
    "MetricSummary": {
        "min": (1, "bool"),
        "max": (2, "bool"),
        "mean": (3, "bool"),
        "best": (4, "bool"),
        "last": (5, "bool"),
        "none": (6, "bool"),
        "copy": (7, "bool"),
        "first": (8, "bool"),
    },
    "MetricControl": {"overwrite": (1, "bool")},
    "Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "RunRecord": {
        "run_id": (1, "string"),
        "entity": (2, "string"),
        "project": (3, "string"),
        "config": (4, "ConfigRecord"),
        "summary": (5, "SummaryRecord"),
        "run_group": (6, "string"),
        "job_type": (7, "string"),
        "display_name": (8, "string"),
        "notes": (9, "string"),
        "tags": (10, "string*"),
        "sweep_id": (12, "string"),
        "start_time": (17, "Timestamp"),
        "git": (21, "GitRepoRecord"),
    },
    "RunExitRecord": {"exit_code": (1, "int32"), "runtime": (2, "int32")},
    "RunPreemptingRecord": {},
    "GitRepoRecord": {"remote_url/remote": (1, "string"), "commit": (2, "string")},
    "EnvironmentRecord": {
        "os": (1, "string"),
        "python": (2, "string"),
        "started_at/startedAt": (3, "Timestamp"),
        "docker": (4, "string"),
        "args": (5, "string*"),
        "program": (6, "string"),
        "code_path/codePath": (7, "string"),
        "code_path_local/codePathLocal": (8, "string"),
        "git": (9, "GitRepoRecord"),
        "email": (10, "string"),
        "root": (11, "string"),
        "host": (12, "string"),
        "username": (13, "string"),
        "executable": (14, "string"),
        "colab": (15, "string"),
        "cpu_count": (16, "uint32"),
        "cpu_count_logical": (17, "uint32"),
        "gpu_type/gpu": (18, "string"),
        "gpu_count": (19, "uint32"),
        "disk": (20, "DiskEntry*"),
        "memory": (21, "MemoryInfo"),
        "cpu": (22, "CpuInfo"),
        "apple": (23, "AppleInfo"),
        "gpu_nvidia": (24, "GpuNvidiaInfo*"),
        "cuda_version/cudaVersion": (25, "string"),
        "slurm": (27, "SlurmEntry*"),
        "trainium": (28, "TrainiumInfo"),
        "tpu": (29, "TpuInfo"),
        "coreweave": (30, "CoreWeaveInfo"),
        "writer_id/writerId": (199, "string"),
    },
    "DiskEntry": {"key": (1, "string"), "value": (2, "DiskInfo")},
    "DiskInfo": {"total": (1, "uint64"), "used": (2, "uint64")},
    "MemoryInfo": {"total": (1, "uint64")},
    "CpuInfo": {"count": (1, "uint32"), "count_logical/countLogical": (2, "uint32"), "model": (3, "string")},
    "AppleInfo": {
        "name": (1, "string"),
        "ecpu_cores/ecpuCores": (2, "uint32"),
        "pcpu_cores/pcpuCores": (3, "uint32"),
        "gpu_cores/gpuCores": (4, "uint32"),
        "memory_gb/memoryGb": (5, "uint32"),
        "swap_total_bytes/swapTotalBytes": (6, "uint64"),
        "ram_total_bytes/ramTotalBytes": (7, "uint64"),
        "mac_model/macModel": (8, "string"),
    },
    "GpuNvidiaInfo": {
        "name": (1, "string"),
        "memory_total/memoryTotal": (2, "uint64"),
        "cuda_cores/cudaCores": (3, "uint32"),
        "architecture": (4, "string"),
        "uuid": (5, "string"),
        "pci_bus_id/pciBusId": (6, "string"),
    },
    "SlurmEntry": {"key": (1, "string"), "value": (2, "string")},
    "TrainiumInfo": {
        "name": (1, "string"),
        "vendor": (2, "string"),
        "neuron_device_count/neuronDeviceCount": (3, "uint32"),
        "neuroncore_per_device_count/neuroncorePerDeviceCount": (4, "uint32"),
    },
    "TpuInfo": {
        "name": (1, "string"),
        "hbm_gib/hbmGib": (2, "uint32"),
        "devices_per_chip/devicesPerChip": (3, "uint32"),
        "count": (4, "uint32"),
    },
    "CoreWeaveInfo": {
        "cluster_name/clusterName": (1, "string"),
        "org_id/orgId": (2, "string"),
        "region": (3, "string"),
    },
}
"""Per message: `field` or `field/jsonName`, its number and its type; `*` marks a repeated field.

An item of a config, a summary, a history and the system metrics (which use no
nested key) has the same fields at the same numbers; a repeated `...Entry` is a
map, which has the same bytes; the goal of a metric is an enum, which has those of a number.
"""

_SCALARS = {"string": 9, "int64": 3, "int32": 5, "uint32": 13, "uint64": 4, "bool": 8}
_MESSAGE_TYPE = 11
_OPTIONAL, _REPEATED = 1, 3


def _declare(message: DescriptorProto, fields: Mapping[str, tuple[int, str]], *, oneof: bool) -> None:
    if oneof:
        message.oneof_decl.add(name=_ONEOF)
    for names, (number, kind) in fields.items():
        name, _, json_name = names.partition("/")
        field = message.field.add(name=name, json_name=json_name or name, number=number)
        field.label = _REPEATED if kind.endswith("*") else _OPTIONAL
        field.type = _SCALARS.get(kind.rstrip("*"), _MESSAGE_TYPE)
        if field.type == _MESSAGE_TYPE:
            field.type_name = f".{_PACKAGE}.{kind.rstrip('*')}"
        if oneof:
            field.oneof_index = 0


@cache
def _pool() -> DescriptorPool:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        _declare(file.message_type.add(name=name), fields, oneof=name == "Record")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def message_class(name: str) -> Any:
    """The protobuf class of one of the declared messages.

    Raises:
        PullLogsError: protobuf is not installed, or too old.
    """
    try:
        from google.protobuf.message_factory import GetMessageClass

        return GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))
    except ImportError as exc:
        raise PullLogsError(
            f"a W&B log cannot be read without protobuf 4.22 or later: {exc}",
            hint="install it with: pip install 'protobuf>=4.22'",
        ) from exc


def record_parser() -> Callable[[bytes], Record | None]:
    """A function that reads one record; it gives None for bytes that are no record.

    Raises:
        PullLogsError: protobuf is not installed, or too old.
    """
    parse = cast("Callable[[bytes], Record]", message_class("Record").FromString)
    from google.protobuf.message import DecodeError

    def parse_or_none(data: bytes) -> Record | None:
        try:
            return parse(data)
        except DecodeError:
            return None

    return parse_or_none


def kind_of(record: Record) -> str | None:
    """Which of the declared messages the record holds; None for all others."""
    return record.WhichOneof(_ONEOF)


def utc_text(seconds: int, nanos: int = 0) -> str | None:
    """A moment since 1970 as `2026-11-23T10:00:00.25Z`; None when it is not set, or no date of the calendar."""
    if not seconds:
        return None
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds, microseconds=nanos // 1000)  # noqa: DTZ001
    except OverflowError:
        return None
    text = moment.isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


def environment_dict(environment: Environment) -> dict[str, Any]:
    """The environment as W&B writes it to `wandb-metadata.json`: unset fields absent, 64-bit numbers as text."""
    return cast("dict[str, Any]", _plain(environment))


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int)):
        return value
    if value.DESCRIPTOR.name == "Timestamp":
        return utc_text(value.seconds, value.nanos)
    return {field.json_name: _plain_field(field, inner) for field, inner in value.ListFields()}


def _plain_field(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is None:
        if isinstance(value, (str, int)):
            return str(value) if field.type == _SCALARS["uint64"] else value
        return list(value)
    if not isinstance(value, Sequence):
        return _plain(value)
    if field.message_type.name.endswith("Entry"):
        return {entry.key: _plain(entry.value) for entry in value}
    return [_plain(item) for item in value]
