"""`archive`: many projects, what failed, the end of the window, and what is reported."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bundlekit import ROWS, bundle_run, make_bundle

from pull_logs.cli.commands.archives import archive as archive_module
from pull_logs.cli.commands.archives import results
from pull_logs.cli.commands.archives import window as window_module
from pull_logs.cli.commands.archives.results import ProjectResult, prometheus_text
from pull_logs.cli.commands.archives.window import Window
from pull_logs.cli.main import main
from pull_logs.errors import UsageError
from pull_logs.interface import archive_project
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle, open_bundle_set
from pull_logs.snapshot.sets import SetSize

Call = Callable[..., tuple[int, list[str], str]]

MORE = (*ROWS, {"_step": 9, "loss": 0.1})
NANO, DIGITS, VISION = "acme/nano", "acme/digits", "lab/vision"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*words: str) -> tuple[int, list[str], str]:
        code = main(("archive", *words))
        done = capsys.readouterr()
        return code, done.out.splitlines(), done.err

    return run_command


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, port: int, *runs: str, grown: str = "") -> Iterator[int]:
    """W&B with these runs; `grown` has more rows and a later heartbeat."""
    made = [
        bundle_run(
            run,
            MORE if run == grown else ROWS,
            heartbeat_at=f"2026-11-2{2 if run == grown else 0}T08:00:00Z",
            created_at="2026-11-19T10:00:00Z",
        )
        for run in runs
    ]
    make_bundle(Path("server.zip"), made)
    with serve_bundle("server.zip", port=port) as server, monkeypatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield int(server.url.rpartition(":")[2])


RUNS = (f"{NANO}/a", f"{NANO}/b", f"{DIGITS}/c", f"{VISION}/d")


def held(folder: str = "archive") -> dict[str, int]:
    """The runs of an archive with their rows."""
    if not any(Path(folder).iterdir()):
        return {}
    with open_bundle_set(folder) as opened:
        return {str(run.path): len(list(run.scan_history())) for run in opened.runs()}


def members(folder: str = "archive") -> dict[str, list[str]]:
    """The runs of each bundle in an archive."""
    found = {}
    for file in sorted(Path(folder).glob("*.wandb.zip")):
        with open_bundle(file) as bundle:
            found[file.name] = list(bundle.run_paths)
    return found


def test_a_second_night_downloads_what_changed_and_keeps_what_is_gone(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (NANO, DIGITS, VISION, "-o", "archive", "-q")
    with serving(monkeypatch, 0, *RUNS) as port:
        code, out, err = call(*words, "--report-json", "report.json", "--metrics-file", "archive.prom")
    assert (code, err) == (0, "")
    assert [line.split(", ")[:3] for line in out[:3]] == [
        ["acme/nano: 2 runs", "2 new or changed", "6 new rows"],
        ["acme/digits: 1 run", "1 new or changed", "3 new rows"],
        ["lab/vision: 1 run", "1 new or changed", "3 new rows"],
    ]
    assert out[3:] == ["3 of 3 projects up to date; 4 runs"]
    report = json.loads(Path("report.json").read_text())
    assert [(one["project"], one["state"]) for one in report["projects"]] == [
        (NANO, "done"),
        (DIGITS, "done"),
        (VISION, "done"),
    ]
    before = members()
    assert sorted(before.values()) == [[RUNS[2]], [RUNS[0], RUNS[1]], [RUNS[3]]]
    with serving(monkeypatch, port, *RUNS[1:], grown=RUNS[1]):
        code, out, err = call(*words, "--report-json", "report.json", "--metrics-file", "archive.prom")
    assert (code, err) == (0, "")
    assert out[0].split(", ")[:3] == ["acme/nano: 2 runs", "1 new or changed", "1 new row"]
    assert out[0].endswith(", 1 no longer on W&B")
    assert out[1].startswith("acme/digits: 1 run, 0 new or changed, 0 new rows, ")
    assert held() == dict(zip(RUNS, (3, 4, 3, 3), strict=True)) | {RUNS[2]: 3, RUNS[0]: 3}
    (new,) = members().keys() - before.keys()
    assert (new.startswith("acme--nano-"), members()[new]) == (True, [RUNS[0], RUNS[1]])
    report = json.loads(Path("report.json").read_text())
    assert [(one["version"], one["members"]) for one in report["projects"]] == [
        (4, [new]),
        (None, []),
        (None, []),
    ]
    assert not Path("archive/.archive").exists()
    metrics = Path("archive.prom").read_text().splitlines()
    assert 'pull_logs_archive_changed_runs{project="acme/nano"} 1' in metrics
    assert 'pull_logs_archive_gone_runs{project="acme/nano"} 1' in metrics
    assert 'pull_logs_archive_up_to_date{project="lab/vision"} 1' in metrics


def test_a_project_that_fails_does_not_stop_the_others(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, 0, *RUNS):
        code, out, _ = call("acme/nothing", "nano", DIGITS, "-o", "archive", "-q", "--metrics-file", "a.prom")
    assert code == 3
    assert out[0].startswith("acme/nothing: failed: ")
    assert out[1] == "nano: failed: 'nano' is not a project; write ENTITY/PROJECT"
    assert out[3] == "1 of 3 projects up to date, 2 failed; 1 run"
    assert held() == {RUNS[2]: 3}
    assert 'pull_logs_archive_up_to_date{project="acme/nothing"} 0' in Path("a.prom").read_text().splitlines()


def test_a_window_that_has_ended_begins_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, 0, *RUNS):
        assert call(NANO, DIGITS, "-o", "archive", "--for", "0s") == (
            9,
            [
                "acme/nano: not begun before the end of the window",
                "acme/digits: not begun before the end of the window",
                "0 of 2 projects up to date, 2 waiting; 0 runs",
            ],
            "",
        )
    assert held() == {}


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["usual", "in the background"])
def ctrl_c(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What Ctrl-C does: nothing, in a process that a shell started in the background."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


def test_the_end_of_the_window_stops_a_download_and_the_next_one_begins_there(
    call: Call, monkeypatch: pytest.MonkeyPatch, ctrl_c: Any
) -> None:
    words = (NANO, DIGITS, VISION, "-o", "archive", "-q", "--for", "1h", "--report-json", "report.json")
    ends: list[Callable[[], None]] = []

    class Clock:
        """A timer that a test ends."""

        daemon = False

        def __init__(self, _seconds: float, end: Callable[[], None]) -> None:
            ends.append(end)

        def start(self) -> None:
            pass

        def cancel(self) -> None:
            pass

    def download(store: Any, project: str, **options: Any) -> Any:
        if project == DIGITS and len(ends) == 1:
            ends[0]()
            signal.pause()
        return archive_project(store, project, **options)

    monkeypatch.setattr(window_module, "Timer", Clock)
    monkeypatch.setattr(archive_module, "archive_project", download)
    with serving(monkeypatch, 0, *RUNS):
        code, out, err = call(*words)
        assert (code, err) == (9, "")
        assert signal.getsignal(signal.SIGINT) is ctrl_c
        assert out[1:] == [
            "acme/digits: stopped by the end of the window, and goes on there next time",
            "lab/vision: not begun before the end of the window",
            "1 of 3 projects up to date, 1 stopped, 1 waiting; 2 runs",
        ]
        code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert [line.partition(":")[0] for line in out] == [
        DIGITS,
        VISION,
        NANO,
        "3 of 3 projects up to date; 4 runs",
    ]


def test_ctrl_c_in_a_window_is_ctrl_c(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive_module, "archive_project", download)
    code, out, err = call(NANO, "-o", "archive", "--for", "1h")
    assert (code, out) == (130, [])
    assert err == "pull-logs: stopped: interrupted; the same command continues where it stopped\n"


def test_shards_are_parts_of_one_archive(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part looks at its own runs alone: a run of the other one is not taken for a deleted one."""
    words = (NANO, "-o", "archive", "-q", "--shard")
    with serving(monkeypatch, 0, *RUNS):
        outs = [call(*words, f"{index}/2") for index in (1, 2)]
        again = [call(*words, f"{index}/2") for index in (1, 2)]
    assert [code for code, _, _ in (*outs, *again)] == [0, 0, 0, 0]
    assert held() == {RUNS[0]: 3, RUNS[1]: 3}
    assert {name.split(".")[1][:6] for name in members()} <= {"1-of-2", "2-of-2"}
    assert not any("no longer" in line for _, out, _ in again for line in out)


def test_the_bundles_of_an_earlier_release_become_a_set_by_the_command_that_is_printed(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay where they are, and the night goes on from them."""
    Path("archive").mkdir()
    with serving(monkeypatch, 0, *RUNS[:2]) as port:
        assert main(("sync", "-p", NANO, "-o", "archive/acme--nano.wandb.zip", "-q")) == 0
        code, out, err = call(NANO, "-o", "archive", "-q")
    assert (code, out) == (2, [])
    command = "set add archive archive/acme--nano.wandb.zip"
    assert err == (
        "pull-logs: error: 'archive' has a bundle per project, as archives of earlier releases, and no"
        f" catalog; write: pull-logs {command}\n"
    )
    assert main(command.split()) == 0
    assert list(members()) == ["acme--nano.wandb.zip"]
    with serving(monkeypatch, port, *RUNS[:2], grown=RUNS[1]):
        code, out, _ = call(NANO, "-o", "archive", "-q")
    assert (code, out[-2].split(", ")[:3]) == (0, ["acme/nano: 2 runs", "1 new or changed", "1 new row"])
    assert held() == {RUNS[0]: 3, RUNS[1]: 4}


def test_the_summary_says_when_much_of_the_set_was_replaced(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line after the total names the command, which ends it; the report has the bytes."""
    words = (NANO, "-o", "archive", "-q", "--report-json", "report.json")
    with serving(monkeypatch, 0, *RUNS[:2]) as port:
        call(*words)
    monkeypatch.setattr(results, "DEAD_PARTS", 10)
    with serving(monkeypatch, port, *RUNS[:2], grown=RUNS[0]):
        _, out, _ = call(*words)
        report = json.loads(Path("report.json").read_text())
        sizes = f"{report['dead_bytes'] / 1e6:.1f} of {report['bytes'] / 1e6:.1f} MB"
        command = "pull-logs set compact archive"
        assert out[-1] == f"{sizes} are of runs that were replaced; remove them with: {command}"
        assert main(("set", "compact", "archive", "--grace", "0")) == 0
        _, out, _ = call(*words)
    assert out[-1] == "1 of 1 project up to date; 2 runs"
    assert json.loads(Path("report.json").read_text())["bytes"] is None


@pytest.mark.parametrize(("dead", "said"), [(100, False), (101, True)])
def test_more_than_a_third_is_much(dead: int, said: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert bool(results.dead_line(SetSize(bytes=300, dead=dead), out="archive")) is said


NOW = datetime(2026, 11, 28, 23, 15, 30)  # noqa: DTZ001 - the local clock


@pytest.mark.parametrize(
    ("until", "duration", "seconds"),
    [
        (None, None, None),
        ("23:16", None, 30),
        ("06:30", None, 7 * 3600 + 14 * 60 + 30),
        ("23:15", None, 24 * 3600 - 30),
        (None, "6h", 6 * 3600),
        (None, "1h30m", 5400),
        (None, "90m5s", 5405),
    ],
)
def test_how_long_a_window_is(until: str | None, duration: str | None, seconds: float | None) -> None:
    assert Window.parse(until, duration, now=NOW).seconds == seconds


@pytest.mark.parametrize(
    ("until", "duration", "message"),
    [
        ("25:00", None, "--until '25:00' is not a time of the day; write it as 06:30"),
        (None, "six", "--for 'six' is not a duration; write it as 6h, 90m or 1h30m"),
        (None, "", "--for '' is not a duration; write it as 6h, 90m or 1h30m"),
        ("06:30", "6h", "--until and --for both end the window; leave one of the two out"),
    ],
)
def test_a_window_that_is_not_valid_is_refused(until: str | None, duration: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Window.parse(until, duration, now=NOW)
    assert str(caught.value) == message


def test_a_file_of_other_metrics_is_not_replaced(call: Call) -> None:
    Path("node.prom").write_text("node_load1 0.5\n")
    code, out, err = call(NANO, "-o", "archive", "--metrics-file", "node.prom")
    assert (code, out) == (2, [])
    assert err == (
        "pull-logs: error: 'node.prom' exists and does not have these metrics; name another file\n"
    )
    assert Path("node.prom").read_text() == "node_load1 0.5\n"


def test_a_file_is_not_the_folder_of_an_archive(call: Call) -> None:
    Path("archive").write_text("")
    assert call(NANO, "-o", "archive")[2] == (
        "pull-logs: error: 'archive' is a file; name the folder of the archive\n"
    )


def test_no_name_of_a_project_breaks_the_format_of_the_metrics() -> None:
    text = prometheus_text([ProjectResult('a/"\n\\', "failed")], finished=1.0)
    assert sum("{" in line for line in text.splitlines()) == 1
    assert 'pull_logs_archive_up_to_date{project="a/\\"\\n\\\\"} 0' in text.splitlines()
