"""What W&B's server is asked for never loses a run that an expression keeps, whatever its config holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from pull_logs.analyze.expressions.parser import parse
from pull_logs.analyze.questions.run_filter import RunCondition
from pull_logs.analyze.questions.server_filter import prefilter
from pull_logs.errors import ExpressionError
from pull_logs.replay.data.filters import compile_filter
from pull_logs.runs import RunInfo, RunPath

KEYS = st.sampled_from(["lr", "lr.value", "value", "x/y", "x", "a.b", "a", "b\\c", "é", "flag", "n"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 - 1, 2**53 + 1, -(2**53), 2**70, 10**400]),
    st.floats(width=16),
    st.sampled_from([0.1, 1e-3, -0.0, 1e300, 5e-324]),
    st.sampled_from(["", "a", "b", "NaN", "1", "true", "2026-01-31", "é", "A"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)
MOMENTS = st.none() | st.builds(
    "{}T{}{}Z".format,
    st.sampled_from(["2026-01-30", "2026-01-31", "2026-02-01", "2025-12-31"]),
    st.sampled_from(["00:00:00", "23:59:59", "12:00:00"]),
    st.sampled_from(["", ".5", ".000001"]),
)
TEXTS = st.none() | st.sampled_from(["", "a", "b", "finished", "r1"])


def info_of(config: dict[str, Any], summary: dict[str, Any], **fields: Any) -> RunInfo:
    run_id = fields.pop("run_id", "r1")
    return RunInfo(path=RunPath("acme", "nano", run_id), config=config, summary=summary, **fields)


INFOS = st.builds(
    info_of,
    st.dictionaries(KEYS, VALUES, max_size=5),
    st.dictionaries(KEYS, VALUES, max_size=5),
    run_id=st.sampled_from(["r1", "a"]),
    name=st.sampled_from(["", "a", "é"]),
    state=st.sampled_from(["finished", "running"]),
    group=TEXTS,
    job_type=TEXTS,
    sweep=TEXTS,
    user=TEXTS,
    created_at=MOMENTS,
)
NAMES = st.one_of(
    st.builds(
        "`{}.{}`".format,
        st.sampled_from(["config", "summary"]),
        st.sampled_from(["lr", "x/y", "a.b", "a", "lr.value", "é", "b\\c", "flag", "n", "value"]),
    ),
    st.sampled_from(
        ["config.lr", "config.x/y", "config.x/config.n", "summary.n", "config.n/2", "config.lr.value"]
    ),
    st.sampled_from(["state", "group", "job_type", "name", "run_id", "sweep", "user", "created_at", "tags"]),
)
LITERALS = st.one_of(
    st.sampled_from(["0", "1", "-2", "0.1", "1e-3", "9007199254740991", "9007199254740992", "-9007199254740992"]),  # noqa: E501
    st.sampled_from(["1e300", "5e-324", "true", "false", "null"]),
    st.sampled_from(['"a"', '""', '"NaN"', '"1"', '"finished"', '"2026-01-31"', '"2026-02-30"', '"2026-01-31T12"', '"é"']),  # noqa: E501
)  # fmt: skip
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
ITEMS = st.lists(LITERALS.filter(lambda text: text != "null"), min_size=1, max_size=3).map(", ".join)
ATOMS = st.one_of(
    st.builds("{} {} {}".format, NAMES, OPERATORS, LITERALS),
    st.builds("{} {} {}".format, LITERALS, OPERATORS, NAMES),
    st.builds("{} {} {} {} {}".format, LITERALS, OPERATORS, NAMES, OPERATORS, LITERALS),
    st.builds("{} {} {}".format, NAMES, OPERATORS, NAMES),
    st.builds("{} {} [{}]".format, NAMES, st.sampled_from(["in", "not in"]), ITEMS),
    st.builds("{} {}".format, NAMES, st.sampled_from(["is missing", "is not missing"])),
    NAMES,
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=6,
)


@given(CONDITIONS, INFOS)
@settings(max_examples=100, deadline=None)
@example("config.lr == 0.1", info_of({"lr": 0.1, "lr.value": 3}, {}, name="", state="finished"))
@example(
    'created_at > "2026-01-31"',
    info_of({}, {}, name="", state="finished", created_at="2026-01-31T00:00:00Z"),
)
@example("not (config.lr == 1 or config.n is missing)", info_of({"n": 2}, {}, name="", state="running"))
def test_the_server_is_never_asked_to_leave_out_a_run_that_is_kept(text: str, info: RunInfo) -> None:
    condition = RunCondition(text)
    try:
        kept = condition.holds(info)
    except ExpressionError:
        event("kinds do not fit")
        return
    event(f"kept {kept}, asked {bool(condition.prefilter)}")
    if kept:
        assert compile_filter(condition.prefilter)(info)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("config.amp", {"config.amp.value": {"$eq": True}}),
        ("not config.amp", {}),
        ("not not config.amp", {"config.amp.value": {"$eq": True}}),
        ("config.lr is not missing", {"config.lr.value": {"$exists": True}}),
        ("not (summary.acc is missing)", {"summary_metrics.acc": {"$exists": True}}),
        ("config.lr is missing", {}),
        ("group is not missing", {}),
        (
            "not (config.lr is missing or config.wd is missing)",
            {"$and": [{"config.lr.value": {"$exists": True}}, {"config.wd.value": {"$exists": True}}]},
        ),
        (
            "not (config.lr is missing and config.wd is missing)",
            {"$or": [{"config.lr.value": {"$exists": True}}, {"config.wd.value": {"$exists": True}}]},
        ),
        ("not (config.lr is missing and config.wd == 1)", {}),
        ('created_at >= "2026-01-31"', {"createdAt": {"$gte": "2026-01-31"}}),
        ('created_at > "2026-01-31"', {"createdAt": {"$gte": "2026-01-31"}}),
        ('"2026-02-01" > created_at', {"createdAt": {"$lt": "2026-02-01"}}),
        ('created_at >= "2026-02-30"', {}),
        ('created_at >= "2026-01-31T12:00:00"', {}),
        ('created_at == "2026-01-31"', {}),
        ('run_id in ["a", "b"]', {"name": {"$in": ["a", "b"]}}),
    ],
)
def test_what_is_asked_of_the_server(text: str, document: dict[str, Any]) -> None:
    assert prefilter(parse(text)) == document
