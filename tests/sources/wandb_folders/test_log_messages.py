"""The typed views of W&B's record classes: they match the installed release of wandb."""

from __future__ import annotations

import math
import sys

import pytest
from logwriting import item, record

from pull_logs.errors import PullLogsError
from pull_logs.sources.wandb_folders import log_messages as views
from pull_logs.sources.wandb_folders.log_items import flat_values
from pull_logs.sources.wandb_folders.log_messages import environment_dict, record_class, record_parser

VIEWS: dict[str, type] = {
    "Record": views.Record,
    "HistoryRecord": views.History,
    "HistoryItem": views.Item,
    "HistoryStep": views.HistoryStep,
    "SummaryRecord": views.Items,
    "SummaryItem": views.Item,
    "ConfigRecord": views.Items,
    "ConfigItem": views.Item,
    "StatsRecord": views.Stats,
    "StatsItem": views.FlatItem,
    "MetricRecord": views.Metric,
    "MetricControl": views.MetricControl,
    "RunRecord": views.RunHeader,
    "GitRepoRecord": views.Git,
    "RunExitRecord": views.Exit,
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_names_fields_that_the_class_has(name: str) -> None:
    descriptor = record_class(name).DESCRIPTOR
    expected = {field for view in VIEWS[name].__mro__ for field in getattr(view, "__annotations__", {})}
    assert expected - {"_is_protocol"} <= {field.name for field in descriptor.fields}
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.name in VIEWS and field.name in expected:
            view = VIEWS[name].__annotations__[field.name]
            assert VIEWS[field.message_type.name].__name__ in view


def test_a_record_keeps_the_numbers_that_logs_are_written_with() -> None:
    numbers = {field.name: field.number for field in record_class("Record").DESCRIPTOR.fields}
    expected = {"history": 2, "summary": 3, "config": 5, "stats": 7, "metric": 12, "run": 17, "exit": 18}
    expected |= {"preempting": 23, "environment": 26}
    assert expected.items() <= numbers.items()


def test_metric_flags_keep_the_numbers_that_w_and_b_lists_definitions_by() -> None:
    def numbers(name: str) -> dict[str, int]:
        return {field.name: field.number for field in record_class(name).DESCRIPTOR.fields}

    assert numbers("MetricOptions").items() >= {"step_sync": 1, "hidden": 2, "defined": 3}.items()
    summary = ["min", "max", "mean", "best", "last", "none", "copy", "first"]
    assert numbers("MetricSummary").items() >= {name: at for at, name in enumerate(summary, 1)}.items()


def test_an_environment_is_given_as_in_the_metadata_file() -> None:
    environment = record_class("EnvironmentRecord")(
        os="Linux",
        started_at={"seconds": 1_700_000_000, "nanos": 250_000_000},
        args=["--lr", "0.1"],
        cpu_count=4,
        gpu_type="NVIDIA",
        disk={"/": {"total": 2**40, "used": 5}},
        memory={"total": 2**36},
        slurm={"job_id": "7"},
        git={"remote_url": "https://git.example/x", "commit": "abc"},
        gpu_nvidia=[{"name": "H100", "memory_total": 2**33, "cuda_cores": 9}],
        _info={"stream_id": "s"},
    )
    assert environment_dict(environment) == {
        "os": "Linux",
        "startedAt": "2023-11-14T22:13:20.25Z",
        "args": ["--lr", "0.1"],
        "cpu_count": 4,
        "gpu": "NVIDIA",
        "disk": {"/": {"total": str(2**40), "used": "5"}},
        "memory": {"total": str(2**36)},
        "slurm": {"job_id": "7"},
        "git": {"remote": "https://git.example/x", "commit": "abc"},
        "gpu_nvidia": [{"name": "H100", "memoryTotal": str(2**33), "cudaCores": 9}],
    }


def test_system_metrics_are_read_item_by_item() -> None:
    items = [item("cpu", "1.5"), item("cpu", "2"), item("gpu", "{"), item("gpu.0", "NaN")]
    read = record_parser()(record(stats={"item": items}))
    assert read is not None
    values, unread = flat_values(read.stats.item)
    assert math.isnan(values.pop("gpu.0"))
    assert (values, unread) == ({"cpu": 2}, 1)


def test_bytes_that_are_not_a_record_are_none() -> None:
    assert record_parser()(b"\xff\xff\xff") is None


def test_a_log_without_wandb_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb.proto", None)
    with pytest.raises(PullLogsError) as caught:
        record_parser()
    assert caught.value.message == (
        "a W&B log cannot be read without the record classes of wandb: "
        "import of wandb.proto halted; None in sys.modules"
    )
    assert caught.value.hint == "install a release that has them with: pip install 'wandb>=0.28'"


def test_a_release_without_a_class_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delattr(wandb_internal_pb2, "Record")
    with pytest.raises(PullLogsError, match="has no attribute 'Record'"):
        record_parser()
