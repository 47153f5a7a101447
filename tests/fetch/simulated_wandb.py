"""A W&B and a network made of one seed: what happens to a request follows from the seed and the request.

Nothing depends on the order in which requests arrive, so that a seed gives the same faults again although
threads decode what arrived.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
from faults import faults_of
from scripted_wandb import FakeRun, Instant, Row, ScriptedWandb, shard_bytes

from pull_logs.fetch.api.clock import Clock
from pull_logs.rows.canonical import canon_row

Versions = dict[int, list[Row]]
"""The rows that a run had for each step, the last one at the end."""

STORM_SECONDS = 20.0
"""How long W&B refuses all requests."""


class JumpingClock:
    """A clock on which waiting takes no time, and whose time of day jumps."""

    def __init__(self, chance: random.Random) -> None:
        self._instant = Instant()
        self._jumps = [chance.uniform(-4e5, 4e5) for _ in range(7)]
        self.clock = Clock(
            now=self._instant.now, wall=self.wall, sleep=self._instant.sleep, chance=chance.random
        )

    def now(self) -> float:
        """Return the seconds since the start."""
        return self._instant.time

    def wall(self) -> float:
        """Return the time of day, which someone sets now and then."""
        return 1.7e9 + self.now() + self._jumps[int(self.now() // 7) % len(self._jumps)]


@dataclass(slots=True)
class SimulatedRun:
    """A run that may change while it is read.

    Attributes:
        run: The run as the server has it.
        rows: All rows that it will have.
        seen: How many of them it had at the start.
        versions: Every row that it ever had, by step, in canonical form.
        grows: Whether rows are added while it is read.
        rewrites: Whether its last rows are logged again with other values.
    """

    run: FakeRun
    rows: list[Row]
    seen: int
    versions: Versions = field(default_factory=dict)
    grows: bool = False
    rewrites: bool = False

    def __post_init__(self) -> None:
        self.note(self.rows[: self.seen])

    def note(self, rows: Sequence[Row]) -> None:
        """Remember rows that the server has from now on."""
        for row in rows:
            self.versions.setdefault(row["_step"], []).append(canon_row(row))

    def truth(self) -> dict[int, Row]:
        """Return the last version of each row that the server has."""
        return {step: rows[-1] for step, rows in self.versions.items()}


class SimulatedWandb(ScriptedWandb):
    """The W&B of a seed.

    Attributes:
        share: The share of requests that a fault meets.
        calm: Whether nothing changes any more.
        simulated: Its runs.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.share, self.calm = seed, 0.0, False
        chance = random.Random(f"{seed} runs")
        self.simulated = [_simulated(chance, f"run{number}") for number in range(chance.randint(3, 6))]
        super().__init__(*(one.run for one in self.simulated))
        self.page_limit = chance.choice([2, 3, 50])
        self.time = JumpingClock(random.Random(f"{seed} clock"))
        self._storms = sorted(chance.uniform(0, 600) for _ in range(chance.randint(0, 3)))
        self._attempts: Counter[str] = Counter()
        self._left: int | None = None
        self._stop: Callable[[], None] = lambda: None

    def stop_after(self, requests: int | None, stop: Callable[[], None] = lambda: None) -> None:
        """Call `stop` at a request, counted from now; None for none."""
        self._left, self._stop = requests, stop

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or let a fault meet it."""
        key = request.content.decode() or request.url.path
        self._attempts[key] += 1
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._stop()
        chance = random.Random(f"{self.seed} {self.share} {key} {self._attempts[key]}")
        if self.share and self._in_storm():
            return self._refused(chance)
        before = chance.random() < self.share / 2
        if before:
            return self._fault(request, chance)
        answer = super().handle(request)
        if not self.calm:
            self._happen(random.Random(f"{self.seed} {key} {self._attempts[key]}"))
        if chance.random() < self.share / 2:  # the request arrived, and its answer does not
            return self._fault(request, chance)
        return answer

    def _in_storm(self) -> bool:
        now = self.time.now()
        return any(start <= now < start + STORM_SECONDS for start in self._storms)

    def _refused(self, chance: random.Random) -> httpx.Response:
        seconds = chance.choice(["2", "0.5", formatdate(self.time.wall() + 3, usegmt=True), "soon", ""])
        return httpx.Response(429, headers={"Retry-After": seconds} if seconds else {})

    @staticmethod
    def _fault(request: httpx.Request, chance: random.Random) -> httpx.Response:
        kinds = faults_of(request)
        answer = kinds[chance.choice(sorted(kinds))]()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _happen(self, chance: random.Random) -> None:
        """Let runs grow, log rows again and be exported, as happens to a training."""
        for one in self.simulated:
            if one.grows and chance.random() < 0.2:
                _grow(one, chance.randrange(1, 30))
            if one.rewrites and one.run.live and chance.random() < 0.2:
                _rewrite(one, chance)
            if one.run.shards and chance.random() < 0.05:
                again = f"{one.run.run_id}-again{self.signed}"
                one.run.shards = {f"{again}-{at}": data for at, data in enumerate(one.run.shards.values())}

    def listing(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page of runs; some runs come twice."""
        page = super().listing(query, variables)
        chance = random.Random(f"{self.seed} {variables['cursor']}")
        if not self.calm and page["runs"]["edges"] and chance.random() < 0.5:
            name = chance.choice(sorted(self.runs))
            page["runs"]["edges"].insert(0, {"node": self.node(name, query), "cursor": "0"})
        return page

    def sign(self, run: FakeRun) -> list[str]:
        """Return the links of a run's files; some come twice."""
        links = super().sign(run)
        return links + links[:1] if self.seed % 3 == 0 else links


def _simulated(chance: random.Random, run_id: str) -> SimulatedRun:
    rows = _rows(chance)
    kind = chance.choice(["exported", "live", "both", "growing", "rewriting"])
    if kind == "exported":
        return SimulatedRun(FakeRun.exported(run_id, rows, shards=chance.randint(1, 5)), rows, len(rows))
    if kind == "live":
        return SimulatedRun(FakeRun.logging(run_id, rows), rows, len(rows))
    seen = len(rows) if kind == "rewriting" else chance.randint(1, len(rows))
    first = chance.randint(0, seen) if kind == "both" else 0
    live = rows[max(0, first - chance.randint(0, 9)) : seen]
    run = FakeRun.logging(run_id, live, lines=seen, last_step=rows[seen - 1]["_step"])
    if first:
        run.shards = {f"{run_id}-old": shard_bytes(rows[:first])}
    return SimulatedRun(run, rows, seen, grows=kind != "rewriting", rewrites=kind == "rewriting")


def _rows(chance: random.Random) -> list[Row]:
    """Return rows with gaps; a metric has one kind of number, since an exported column has one type."""
    stride, names = chance.choice([1, 1, 3, 1_000]), [f"m{n}" for n in range(chance.randint(1, 4))]
    rows: list[Row] = []
    step = chance.randint(0, 5)
    for _ in range(chance.randint(60, 400)):
        row: Row = {"_step": step, "_timestamp": 1.7e9 + step}
        row |= {name: _number(chance) for name in names if chance.random() < 0.8}
        if chance.random() < 0.3:
            row["note"] = chance.choice(["", "a", "é\u2028", "9007199254740993"])
        rows.append(row)
        step += chance.randint(1, stride)
    return rows


def _number(chance: random.Random) -> float:
    return chance.choice([chance.gauss(0, 1), 0.1, -0.0, 1e-300, math.pi * 1e200, float(2**53)])


def _grow(one: SimulatedRun, count: int) -> None:
    added = one.rows[one.seen : one.seen + count]
    if added:
        one.note(added)
        one.seen += len(added)
        one.run.live = [*one.run.live, *added]
        one.run.lines, one.run.last_step = one.seen, added[-1]["_step"]


def _rewrite(one: SimulatedRun, chance: random.Random) -> None:
    """Log the last rows again: each gets another value."""
    for number in range(max(0, len(one.run.live) - chance.randint(1, 5)), len(one.run.live)):
        row = {**one.run.live[number], "m0": chance.gauss(0, 1)}
        one.run.live = [*one.run.live[:number], row, *one.run.live[number + 1 :]]
        one.note([row])


def summary_of(report: Any) -> str:
    """Return what a pull reported, to be shown with a failing seed."""
    return json.dumps({outcome.path.run_id: outcome.reason or outcome.rows for outcome in report.runs})
