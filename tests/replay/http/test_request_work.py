"""However a query multiplies what it asks for, its work is bounded; what is within the bounds is answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from replay_support import bundle_run, odd_rows, plain_rows, write_runs
from starlette.applications import Starlette

from pull_logs.replay.data import history
from pull_logs.replay.graphql import resolvers, work
from pull_logs.replay.http.app import build_app
from pull_logs.rows.batches import RESIDUAL, batch_rows
from pull_logs.snapshot.read.bundle import Bundle, open_bundle

KEY = "k" * 40
ROWS = {"plain": 300, "odd": 40, "short": 3}
KEYS = {"plain": 10, "odd": 3, "short": 8}
"""Rows and keys of the runs of the project `big`; `_step` is one of the keys."""
MANY = 120
"""Runs of the project `many`."""

TOO_MANY_VALUES = (
    "this request reads more than {} values besides its largest field; "
    "request fewer runs, keys, samples or aliases at once"
)
TOO_MANY_FIELDS = (
    "this request lists more than {} fields; request fewer objects per page, fewer fields or fewer aliases"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    runs = [
        bundle_run("acme/big/plain", plain_rows(300), state="running"),
        bundle_run("acme/big/odd", odd_rows(40), state="running"),
        bundle_run("acme/big/short", plain_rows(3), state="running"),
        *(bundle_run(f"acme/many/r{at:03}", []) for at in range(MANY)),
    ]
    with open_bundle(write_runs(tmp_path_factory.mktemp("work"), runs)) as bundle:
        yield bundle


def post(app: Starlette, query: str) -> dict[str, Any]:
    async def send() -> dict[str, Any]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", auth=("api", KEY)
        ) as client:
            answer = await client.post("/graphql", json={"query": query}, timeout=60)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    return anyio.run(send)


def aliased(project: str, fields: list[str]) -> str:
    chosen = " ".join(f"a{at}: {field}" for at, field in enumerate(fields))
    return f'{{ project(name: "{project}", entityName: "acme") {{ {chosen} }} }}'


reads = st.tuples(
    st.sampled_from(sorted(ROWS)), st.sampled_from(["history", "sampled"]), st.sampled_from([1, 10, 500])
)


def read_field(name: str, kind: str, samples: int) -> str:
    if kind == "history":
        return f'run(name: "{name}") {{ history(samples: {samples}) }}'
    spec = f'"{{\\"samples\\": {samples}}}"'
    return f'run(name: "{name}") {{ sampledHistory(specs: [{spec}]) }}'


@settings(max_examples=60)
@example(chosen=[("odd", "history", 10), ("odd", "history", 500)], limit=100)
@given(chosen=st.lists(reads, min_size=1, max_size=60), limit=st.integers(100, 30_000))
def test_the_values_that_a_query_reads_are_bounded_whatever_it_repeats(
    bundle: Bundle, chosen: list[tuple[str, str, int]], limit: int
) -> None:
    costs, lookups = [], 0
    for name, kind, samples in chosen:
        costs.append(min(samples, ROWS[name]) * (KEYS[name] + 4))
        lookups += kind == "sampled"
    read = 0

    def spy(rows: Any, *more: Any) -> Iterator[dict[str, Any]]:
        nonlocal read
        # The residual is a column, and not a key: it holds values of the other columns.
        read += rows.num_rows * (len({*rows.column_names} - {RESIDUAL}) + 4)
        return batch_rows(rows, *more)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(history, "batch_rows", spy)
        monkeypatch.setattr(work, "MAX_VALUES", limit)
        answer = post(build_app([bundle], api_key=KEY), aliased("big", [read_field(*one) for one in chosen]))
    assert read <= limit + max(costs)
    if sum(costs) + lookups - max(costs) <= limit:
        assert "errors" not in answer
        for at, (name, kind, samples) in enumerate(chosen):
            found = answer["data"]["project"][f"a{at}"]
            rows = found["history"] if kind == "history" else found["sampledHistory"][0]
            assert len(rows) == min(samples, ROWS[name])
    else:
        assert answer == {"errors": [{"message": TOO_MANY_VALUES.format(limit)}], "data": None}


listings = st.tuples(st.integers(0, 200), st.integers(1, 6))


@settings(max_examples=60)
@given(st.lists(listings, min_size=1, max_size=60), st.integers(50, 4_000))
def test_the_fields_that_a_query_lists_are_bounded_whatever_it_repeats(
    bundle: Bundle, chosen: list[tuple[int, int]], limit: int
) -> None:
    names = ["id", "name", "state", "createdAt", "group", "notes"]
    fields = [
        f"runs(first: {first}) {{ edges {{ node {{ {' '.join(names[:count])} }} }} }}"
        for first, count in chosen
    ]
    # An edge is a field with a field `node`, each of which is counted for every run; and 120 runs are sorted.
    costs = [min(first, MANY) * (count + 2) + 1 + MANY // 16 for first, count in chosen]
    made = 0

    def spy(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return run(*arguments)

    run = resolvers._run
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(resolvers, "_run", spy)
        monkeypatch.setattr(work, "MAX_LISTED", limit)
        answer = post(build_app([bundle], api_key=KEY), aliased("many", fields))
    assert made <= limit + MANY
    if sum(costs) <= limit:
        assert "errors" not in answer
        for at, (first, _) in enumerate(chosen):
            assert len(answer["data"]["project"][f"a{at}"]["edges"]) == min(first, MANY)
    else:
        assert answer == {"errors": [{"message": TOO_MANY_FIELDS.format(limit)}], "data": None}


def test_sixty_aliases_of_a_long_history_are_one_error_and_read_little(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"_step": at, "loss": at / 3, "acc": at / 7, "lr": at / 9} for at in range(20_000)]
    read = 0

    def spy(rows: Any, *more: Any) -> Iterator[dict[str, Any]]:
        nonlocal read
        read += rows.num_rows
        return batch_rows(rows, *more)

    monkeypatch.setattr(history, "batch_rows", spy)
    with open_bundle(write_runs(tmp_path, [bundle_run("acme/big/a", rows, state="running")])) as bundle:
        app = build_app([bundle], api_key=KEY)
        field = 'run(name: "a") { history(samples: 100000) }'
        alone = post(app, aliased("big", [field]))
        assert len(alone["data"]["project"]["a0"]["history"]) == 20_000
        many = post(app, aliased("big", [field] * 60))
    assert many == {"errors": [{"message": TOO_MANY_VALUES.format(1_000_000)}], "data": None}
    assert read == 20_000 * (1 + 7)  # 20,000 rows of 4 keys cost 160,000: one is free, and six are within


def test_a_complete_history_may_be_read_with_the_record_of_its_run(bundle: Bundle) -> None:
    """A field of any size is answered, whatever small fields come before and after it."""
    query = aliased(
        "big", ['run(name: "plain") { config history(samples: 999999) summaryMetrics historyKeys }']
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(work, "MAX_VALUES", 5)
        answer = post(build_app([bundle], api_key=KEY), query)
    assert len(answer["data"]["project"]["a0"]["history"]) == 300


def test_names_near_a_missing_one_are_looked_for_a_few_times_alone(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    fields = [f'run(name: "x{at}") {{ id }}' for at in range(400)]
    answer = post(build_app([bundle], api_key=KEY), aliased("many", fields))
    assert set(answer["data"]["project"].values()) == {None}
    assert len(caplog.records) == 8
