"""The worked example of docs/archives.md: two nights to S3, SQL over them, and a comparison on Dask."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundlekit import ROWS, bundle_run, make_bundle
from checkout import ROOT
from objectserver import ObjectServer, lab_server
from page_examples import agrees, blocks_of, steps_of

from pull_logs.cli.main import main
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_store
from pull_logs.snapshot.workers import close_located

PAGE = ROOT / "docs" / "archives.md"
ADDRESS = "dask://127.0.0.1:8786"


@pytest.fixture
def storage() -> Iterator[ObjectServer]:
    with lab_server() as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp"
    ) as started:
        yield started.scheduler_address.replace("tcp://", "dask://")
    close_located()


def written(path: Path, *runs: str, grown: str = "") -> Path:
    """W&B with these runs; `grown` has one more row."""
    made = [
        bundle_run(
            run,
            (*ROWS, {"_step": 9, "loss": 0.1}) if run == grown else ROWS,
            heartbeat_at=f"2026-11-2{2 if run == grown else 0}T08:00:00Z",
            created_at="2026-11-19T10:00:00Z",
        )
        for run in runs
    ]
    return make_bundle(path, made)


def uploaded(storage: ObjectServer) -> list[str]:
    """The endings of the objects that were written since the last night."""
    written = [path.partition("?")[0] for method, path in storage.requests if method in ("PUT", "POST")]
    return [Path(path).suffix for path in written]


@pytest.mark.timeout(300)
def test_the_worked_example_shows_what_happens(
    storage: ObjectServer,
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    nano, grown, digits, vision = "acme/nano/a", "acme/nano/b", "acme/digits/c", "lab/vision/d"
    nights = (
        written(tmp_path / "one.zip", nano, grown, digits, vision),
        written(tmp_path / "two.zip", grown, digits, vision, grown=grown),
    )
    steps = [step for block in blocks_of(PAGE) if block.language == "console-s3" for step in steps_of(block)]
    answers = []
    uploads: list[list[str]] = []
    versions: list[int] = []

    def ask(command: str) -> str:
        code = main(shlex.split(command)[1:])
        done = capsys.readouterr()
        assert code == 0, done.err
        return done.out

    port = 0
    for bundle, step in zip((*nights, nights[1]), steps, strict=False):
        storage.requests.clear()
        with serve_bundle(bundle, port=port) as server, monkeypatch.context() as patch:
            port = int(server.url.rpartition(":")[2])
            for name, value in server.environment().items():
                patch.setenv(name, value)
            answers.append(ask(step.command))
        uploads.append(uploaded(storage))
        versions.append(max(open_store("s3://lab/archive/").versions()))
    assert uploads == [[".zip", ".parquet"] * 3, [".zip", ".parquet"], []]
    assert versions == [3, 4, 4]
    answers += [ask(step.command.replace(ADDRESS, cluster)) for step in steps[3:]]
    for step, answer in zip(steps, answers, strict=True):
        assert agrees(step.output, answer), answer
    assert answers[-1] == ask(steps[-1].command.replace(f"--engine {ADDRESS}", ""))
