"""Every fault alone and mixed at random: complete runs equal the truth, and incomplete ones are named."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from faults import ANYWHERE, AT_STORAGE, AT_THE_API, faults_of
from pulling import pull_from, reasons, rows_in
from scripted_wandb import FakeRun, Fault, Row, ScriptedWandb, rows_of, shard_bytes, to_storage

from pull_logs.errors import IncompleteError, NetworkError
from pull_logs.rows.canonical import canon_row, same
from pull_logs.snapshot import open_bundle

pytestmark = pytest.mark.anyio

MEDIA: dict[str, bytes] = {
    "media/table/pred.table.json": b'{"columns":["id","x"],"data":[[9007199254740993,NaN],[2,0.5]]}',
    "media/images/a.png": bytes(range(256)) * 300,
    "media/audio/beep.wav": b"RIFF" * 50,
    "media/html/page.html": b"<p>hi",
    "media/html/empty.html": b"",
}
"""The media of the run `pictures`."""

PICTURES: list[Row] = [
    {"_step": 0, "pred": {"_type": "table-file", "path": "media/table/pred.table.json"}},
    {"_step": 1, "a": {"_type": "image-file", "path": "media/images/a.png"}, "loss": 0.5},
    {"_step": 2, "val": {"beep": {"_type": "audio-file", "path": "media/audio/beep.wav"}}},
    {"_step": 3, "page": {"_type": "html-file", "path": "media/html/page.html"}},
]


def project() -> tuple[ScriptedWandb, dict[str, list[Row]]]:
    """Runs with every trap of the protocol."""
    truth: dict[str, list[Row]] = {
        "exported": rows_of(range(90)),
        "sparse": rows_of(range(61_010, 3_000_000, 9_000)),
        "both": rows_of(range(0, 200, 2)),
        "unlisted": rows_of(range(2500)),
        "odd": [
            {"_step": 1, "a": 0.5},
            {"_step": 2, "a": 7},
            {"_step": 9, "a": "NaN", "b": {"c": [1, None]}},
        ],
        "none": [],
        "pictures": PICTURES,
    }
    both = {"both-x": shard_bytes(truth["both"][:60]), "both-y": shard_bytes(truth["both"][40:80])}
    odd = {
        "odd-x": shard_bytes(pa.table({"a": [0.5], "_step": [1.0]})),
        "odd-y": shard_bytes(pa.table({"_step": pa.array([2, None], pa.int64()), "a": pa.array([7, 8])})),
        "odd-empty": shard_bytes(pa.table({})),
        "odd-stepless": shard_bytes(pa.table({"a": [1.0]})),
    }
    return ScriptedWandb(
        FakeRun.exported("exported", truth["exported"], shards=4),
        FakeRun.logging("sparse", truth["sparse"]),
        FakeRun("both", both, live=truth["both"][70:], lines=100, last_step=198, state="running"),
        FakeRun.logging("unlisted", truth["unlisted"], live_data=None),
        FakeRun("odd", odd, live=truth["odd"][2:], lines=3, last_step=9),
        FakeRun("none", lines=0),
        FakeRun.logging("pictures", PICTURES, files=dict(MEDIA)),
    ), truth


def assert_true(out: Path, truth: dict[str, list[Row]], whole: set[str]) -> None:
    """Complete runs equal the truth; rows of the others are true, and there once."""
    for run_id, rows in rows_in(out).items():
        wanted = {row["_step"]: canon_row(row) for row in truth[run_id]}
        assert len({row["_step"] for row in rows}) == len(rows)
        assert all(same(row, wanted[row["_step"]]) for row in rows), run_id
        assert run_id not in whole or len(rows) == len(wanted), run_id
    with open_bundle(out) as bundle:
        media = {file.name: file.read() for run in bundle.runs() for file in run.files.values()}
        assert media.items() <= MEDIA.items()
        if "pictures" in whole:
            assert media == MEDIA
            assert [item.key for run in bundle.runs() for item in run.media() if item.file is None] == []
            assert bundle["pictures"].table("pred")["id"].tolist() == [2**53 + 1, 2]


@pytest.mark.parametrize("fault", [*ANYWHERE, *AT_THE_API, *AT_STORAGE])
async def test_each_fault_alone_is_survived(tmp_path: Path, fault: str) -> None:
    server, truth = project()
    seen: dict[str, int] = {}

    def twice(request: httpx.Request) -> httpx.Response | Exception | None:
        """Each thing that is asked for fails the first two times."""
        if (fault in AT_STORAGE and not to_storage(request)) or (fault in AT_THE_API and to_storage(request)):
            return None
        what = request.content.decode() or request.url.path
        seen[what] = seen.get(what, 0) + 1
        return (ANYWHERE | AT_THE_API | AT_STORAGE)[fault]() if seen[what] <= 2 else None

    server.faults = [twice]
    report = await pull_from(server, tmp_path / "b.zip", media=["*"])
    assert reasons(report) == {}
    assert_true(tmp_path / "b.zip", truth, set(truth))


def at_random(chance: random.Random, share: float) -> Fault:
    def fault(request: httpx.Request) -> httpx.Response | Exception | None:
        if chance.random() >= share:
            return None
        kinds = faults_of(request)
        return kinds[chance.choice(sorted(kinds))]()

    return fault


@pytest.mark.parametrize("seed", range(8))
async def test_faults_mixed_at_random_lose_nothing_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    server, truth = project()
    await pull_from(server, tmp_path / "undisturbed.zip", media=["*"])
    chance = random.Random(seed)
    for share in (0.2, 0.4, 0.6):
        server.faults = [at_random(chance, share)]
        try:
            report = await pull_from(
                server, tmp_path / "b.zip", media=["*"], concurrency=chance.choice([1, 3, 32])
            )
        except (NetworkError, IncompleteError):
            continue
        assert {str(outcome.path.run_id) for outcome in report.runs} == set(truth)
        assert all(outcome.complete or outcome.reason for outcome in report.runs)
        assert_true(tmp_path / "b.zip", truth, set(truth) - set(reasons(report)))
    server.faults = []
    await pull_from(server, tmp_path / "b.zip", media=["*"])
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "undisturbed.zip").read_bytes()


class Restless(ScriptedWandb):
    """A W&B where things happen while it is read, at random.

    Listing pages are short and repeat runs, a run grows, one is deleted, and files are replaced by others.
    """

    def __init__(self, *runs: FakeRun, chance: random.Random) -> None:
        super().__init__(*runs)
        self.chance = chance
        self.page_limit = 3
        self.calm = False

    def handle(self, request: httpx.Request) -> httpx.Response:
        if not self.calm:
            self.happen()
        return super().handle(request)

    def happen(self) -> None:
        growing = self.runs["growing"]
        if self.chance.random() < 0.3 and len(growing.live) < len(GROWN):
            growing.live = GROWN[: len(growing.live) + self.chance.randrange(40)]
            growing.lines, growing.last_step = len(growing.live), growing.live[-1]["_step"]
        if self.chance.random() < 0.05:
            self.runs.pop("doomed", None)
        if self.chance.random() < 0.1:
            self.runs["exported"].shards = {
                f"again-{self.chance.random()}": data for data in self.runs["exported"].shards.values()
            }

    def listing(self, query: str, variables: Any) -> dict[str, Any]:
        page = super().listing(query, variables)
        if not self.calm and page["runs"]["edges"] and self.chance.random() < 0.5:
            name = self.chance.choice(sorted(self.runs))
            page["runs"]["edges"].insert(0, {"node": self.node(name, query), "cursor": "0"})
        return page


GROWN = rows_of(range(0, 3000, 3))
DOOMED = rows_of(range(0, 9000, 2))


@pytest.mark.parametrize("seed", range(4))
async def test_a_w_and_b_that_changes_while_it_is_read_mixed_with_faults(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    calm, truth = project()
    truth |= {"growing": GROWN, "doomed": DOOMED}
    growing, doomed = FakeRun.logging("growing", GROWN[:100]), FakeRun.logging("doomed", DOOMED)
    server = Restless(*calm.runs.values(), growing, doomed, chance=chance)
    for share in (0.0, 0.1, 0.3):
        server.faults = [at_random(chance, share)]
        try:
            report = await pull_from(
                server, tmp_path / "b.zip", media=["*"], concurrency=chance.choice([1, 3, 32])
            )
        except (NetworkError, IncompleteError):
            continue
        paths = [outcome.path.run_id for outcome in report.runs]
        assert sorted(paths) == sorted({*paths, *truth.keys() - {"doomed"}})
        assert all(outcome.complete or outcome.reason for outcome in report.runs)
        found = rows_in(tmp_path / "b.zip")
        assert set(found) == {outcome.path.run_id for outcome in report.runs if outcome.sealed}
        whole = {outcome.path.run_id: outcome.rows for outcome in report.runs if outcome.complete}
        assert_true(tmp_path / "b.zip", truth, whole.keys() - {"growing"})
        if "growing" in whole:
            # Complete as planned: no gap before its last row.
            assert len(found["growing"]) == whole["growing"] >= 100
            assert found["growing"][-1]["_step"] == GROWN[whole["growing"] - 1]["_step"]
    server.calm, server.faults = True, []
    report = await pull_from(server, tmp_path / "b.zip", media=["*"], fresh=True)
    # A run that was sealed before it was deleted is kept, until it is pruned.
    assert {outcome.path.run_id for outcome in report.runs if outcome.how == "gone"} <= {"doomed"}
    assert {outcome.how for outcome in report.runs} <= {"complete", "gone"}
    await pull_from(server, tmp_path / "b.zip", media=["*"], fresh=True, prune=True)
    await pull_from(server, tmp_path / "undisturbed.zip", media=["*"])
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "undisturbed.zip").read_bytes()
