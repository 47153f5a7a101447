"""`fetch --shard I/N`: the parts are disjoint, and merged they are one pull, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.cli.main import main
from pull_logs.errors import UsageError
from pull_logs.fetch import Shard
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.runs import RunPath
from pull_logs.snapshot import open_bundle

names = st.text(min_size=1, max_size=8).filter(lambda text: "/" not in text)


@settings(max_examples=40)
@given(path=st.builds(RunPath, names, names, names), count=st.integers(1, 9))
def test_a_run_is_in_exactly_one_part(path: RunPath, count: int) -> None:
    assert [Shard(number, count).has(path) for number in range(1, count + 1)].count(True) == 1


def test_the_part_of_a_run_never_changes() -> None:
    parts = [
        next(n for n in range(1, 9) if Shard(n, 8).has(RunPath("acme", "nano", f"r{i}"))) for i in range(8)
    ]
    assert parts == PARTS


PARTS = [6, 2, 1, 7, 6, 5, 7, 5]
"""The parts of eight runs, so that machines with different releases agree."""


@pytest.mark.parametrize("text", ["", "0/8", "9/8", "1", "1/0", "a/b", "1/8/2", "-1/8", "1/10001"])
def test_what_is_not_a_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shard; write it as 3/8, the third of eight"):
        Shard.parse(text)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayServer]:
    runs = [
        bundle_run(
            f"acme/nano/r{number}", [{"_step": step, "loss": number / (step + 1)} for step in range(9)]
        )
        for number in range(12)
    ]
    with serve_bundle(make_bundle(tmp_path_factory.mktemp("shards") / "all.wandb.zip", runs)) as running:
        yield running


@pytest.fixture(scope="module")
def at_once(server: ReplayServer, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bundle of one pull."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in server.environment().items():
            patch.setenv(variable, value)
        out = tmp_path_factory.mktemp("once") / "once.wandb.zip"
        assert main(["fetch", "-p", "acme/nano", "-o", str(out)]) == 0
    return out.read_bytes()


@pytest.fixture
def account(server: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in server.environment().items():
        monkeypatch.setenv(variable, value)


def pulled(folder: Path, *shards: str) -> list[str]:
    for shard in shards:
        out = folder / f"part-{shard.replace('/', '-of-')}.wandb.zip"
        assert main(["fetch", "-p", "acme/nano", "--shard", shard, "-o", str(out)]) == 0
    return sorted(map(str, folder.glob("part-*.wandb.zip")))


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_parts_merged_are_one_pull_byte_for_byte(count: int, at_once: bytes, tmp_path: Path) -> None:
    parts = pulled(tmp_path, *(f"{number}/{count}" for number in range(1, count + 1)))
    merged = tmp_path / "merged.wandb.zip"
    assert main(["merge", *parts, "-o", str(merged)]) == 0
    assert merged.read_bytes() == at_once


@pytest.mark.usefixtures("account")
def test_a_part_without_runs_is_no_error_and_a_selection_without_runs_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RunPath("acme", "nano", "r0")
    empty = next(number for number in range(1, 51) if not Shard(number, 50).has(path))
    out = tmp_path / "part.wandb.zip"
    words = [
        "fetch",
        "-p",
        "acme/nano",
        "--filter",
        'run_id == "r0"',
        "--shard",
        f"{empty}/50",
        "-o",
        str(out),
    ]
    assert main(words) == 0
    assert capsys.readouterr().err.endswith(
        f"pull-logs: note: shard {empty}/50 has no runs, and nothing was written; the other shards have"
        " them\n"
    )
    assert not out.exists()
    words[4] = 'run_id == "none"'
    assert main(words) == 3


@pytest.mark.usefixtures("account")
def test_a_part_is_brought_up_to_date_by_the_same_command_and_not_by_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (part,) = pulled(tmp_path, "1/2")
    before = Path(part).read_bytes()
    assert pulled(tmp_path, "1/2") == [part]
    assert Path(part).read_bytes() == before
    with open_bundle(part) as bundle:
        assert 0 < len(bundle) < 12
    capsys.readouterr()
    assert main(["fetch", "-p", "acme/nano", "--shard", "2/2", "-o", part]) == 2
    assert "is a bundle of another selection" in capsys.readouterr().err
