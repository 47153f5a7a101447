"""The command as a user runs it: a process, its two streams, its exit code."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import RECORDED, ROOT

from pull_logs.replay import ReplayServer, serve_bundle

BUNDLE = RECORDED
CHECKPOINTS = ROOT / "fixtures" / "digits" / "checkpoints"
RUN = "acme/digits/cnn1e2s0"


def pull_logs(
    *words: str | Path,
    environment: dict[str, str] | None = None,
    script: bool = False,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "pull_logs.py")] if script else ["-m", "pull_logs"]
    return subprocess.run(
        [sys.executable, *command, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with serve_bundle(BUNDLE) as serving:
        yield serving


def headings(text: str) -> list[str]:
    return [line[1 : line.index("]")] for line in text.splitlines() if line.startswith("[")]


def test_the_bare_view_of_a_bundle_shows_runs_config_summary_and_history() -> None:
    done = pull_logs("-b", BUNDLE, "-r", RUN)
    assert done.returncode == 0, done.stderr
    assert headings(done.stdout) == ["RUNS", "CONFIG", "SUMMARY", "HISTORY"]


@pytest.mark.parametrize(
    ("words", "sections"),
    [
        (["--schema"], ["RUNS", "SCHEMA"]),
        (["--stats"], ["RUNS", "STATS"]),
        (["-H"], ["RUNS", "CONFIG", "SUMMARY"]),
        (["--select", "^val/"], ["RUNS", "HISTORY"]),
        (["--where", "`train/loss` > 1"], ["RUNS", "HISTORY"]),
        (["--eval", "gap=val/loss - train/loss", "--select", "gap"], ["RUNS", "HISTORY"]),
    ],
)
def test_each_flag_of_the_seed_skill_has_its_sections(words: list[str], sections: list[str]) -> None:
    done = pull_logs("-b", BUNDLE, "-r", "cnn1e2s0", *words, script=True)
    assert done.returncode == 0, done.stderr
    assert headings(done.stdout) == sections


def test_two_runs_are_compared() -> None:
    done = pull_logs("-b", BUNDLE, "-r", "cnn1e1s0", "-r", "cnn1e2s0", "-H")
    assert done.returncode == 0, done.stderr
    assert headings(done.stdout)[-3:] == ["COMPARISON", "CONFIG_DIFF", "SUMMARY_COMPARISON"]


def test_json_is_one_object_with_the_asked_for_sections() -> None:
    done = pull_logs("-b", BUNDLE, "-r", RUN, "--schema", "--json")
    answer = json.loads(done.stdout)
    assert (answer["format"], answer["command"]) == ("pull-logs/2", "show")
    assert answer["runs"][0]["path"] == RUN
    assert {"history", "config", "stats"}.isdisjoint(answer)
    assert "train/loss" in [column["name"] for column in answer["schema"][answer["runs"][0]["label"]]]


def test_a_checkpoint_is_looked_up_in_a_bundle() -> None:
    done = pull_logs("-b", BUNDLE, "-c", CHECKPOINTS / "cnn-lr0.01-s0.pt", "--schema", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    assert run["path"] == RUN
    assert run["checkpoint"].endswith("cnn-lr0.01-s0.pt")


def test_every_checkpoint_of_a_folder_is_read_without_torch() -> None:
    block = "import sys; sys.modules['torch'] = None; from pull_logs.cli.main import run; run()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            block,
            "-b",
            str(BUNDLE),
            "-c",
            str(CHECKPOINTS),
            "-H",
            "--json",
            "--max-tokens",
            "0",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert len(reported["checkpoints"]) == len(list(CHECKPOINTS.rglob("*.pt")))
    assert {entry["run"] for entry in reported["checkpoints"]} == {run["label"] for run in reported["runs"]}


def test_online_views_ask_the_server_and_then_the_cache(server: ReplayServer) -> None:
    online = pull_logs("-r", RUN, "--stats", environment=server.environment())
    offline = pull_logs("-r", RUN, "--stats", "--offline", environment=server.environment())
    bundled = pull_logs("-b", BUNDLE, "-r", RUN, "--stats")
    assert online.returncode == offline.returncode == 0, online.stderr + offline.stderr
    body = [text.stdout.partition("[STATS]")[2] for text in (online, offline, bundled)]
    assert body[0] == body[1] == body[2] != ""


def test_refresh_asks_again(server: ReplayServer) -> None:
    environment = server.environment()
    for words in (["-r", RUN], ["-r", RUN, "--refresh"]):
        done = pull_logs(*words, "--schema", environment=environment)
        assert done.returncode == 0, done.stderr


def test_a_checkpoint_names_the_run_to_ask_for(server: ReplayServer) -> None:
    done = pull_logs("-c", CHECKPOINTS / "mlp-baseline.pt", "--schema", environment=server.environment())
    assert done.returncode == 0, done.stderr
    assert "[RUNS] runs=1 project=acme/digits " in done.stdout
    assert "\nmlp5e2s0 name=" in done.stdout


def test_fetch_pulls_a_project_and_info_and_verify_read_it(server: ReplayServer, tmp_path: Path) -> None:
    out = tmp_path / "out.wandb.zip"
    fetched = pull_logs("fetch", "-p", "acme/digits", "-o", out, environment=server.environment())
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stdout == ""
    assert "16 of 16 runs complete" in fetched.stderr
    reported = pull_logs("info", out, "--json")
    kept = pull_logs("info", BUNDLE, "--json")
    assert json.loads(reported.stdout)["content_id"] == json.loads(kept.stdout)["content_id"]
    checked = pull_logs("verify", out)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith(f"[VERIFY] path={out} ok=yes members=")


def test_fetch_keeps_the_runs_that_its_filters_name(server: ReplayServer, tmp_path: Path) -> None:
    out, report = tmp_path / "out.wandb.zip", tmp_path / "report.json"
    words = [
        "--filter",
        "config.lr == 0.1 or summary.val/acc > 0.96",
        "--state",
        "finished",
        "--since",
        "2026-01-01",
    ]
    done = pull_logs(
        "fetch",
        "-p",
        "acme/digits",
        "-o",
        out,
        *words,
        "--report-json",
        report,
        environment=server.environment(),
    )
    assert done.returncode == 0, done.stderr
    kept = [run["path"].rpartition("/")[2] for run in json.loads(report.read_text())["runs"]]
    assert kept == ["cnn1e1s0", "cnn1e1s1", "cnn1e1s2", "cnn1e1s3", "mlp5e2s0"]


def test_a_fetch_of_runs_by_one_tag_says_contains_and_then_downloads_them(
    server: ReplayServer, tmp_path: Path
) -> None:
    words = ["fetch", "-p", "acme/digits", "-o", str(tmp_path / "x.wandb.zip"), "--filter"]
    done = pull_logs(*words, 'tags == "lr:0.1"', environment=server.environment())
    assert done.returncode == 3
    assert done.stderr == (
        "pull-logs: error: there is no run to pull; "
        "tags is compared as a complete list; write 'tags contains \"lr:0.1\"' for one item\n"
    )
    text = 'tags contains "lr:0.1" and name starts_with "cnn"'
    done = pull_logs(*words, text, environment=server.environment())
    assert done.returncode == 0, done.stderr


def test_a_filter_that_names_nothing_says_so(server: ReplayServer, tmp_path: Path) -> None:
    words = ["fetch", "-p", "acme/digits", "-o", str(tmp_path / "x.wandb.zip"), "--filter", "config.lrr > 0"]
    done = pull_logs(*words, environment=server.environment())
    assert done.returncode == 3
    assert done.stderr == (
        "pull-logs: error: there is no run to pull; no run has 'config.lrr', which the filter uses\n"
    )


def test_a_dry_run_estimates_a_pull_and_writes_nothing(server: ReplayServer, tmp_path: Path) -> None:
    done = pull_logs(
        "fetch", "-p", "acme/digits", "--dry-run", environment=server.environment(), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    facts = dict(line.split() for line in done.stdout.splitlines())
    assert (facts["runs"], facts["rows"]) == ("16", "4090")
    assert list(tmp_path.iterdir()) == []


def test_a_refresh_copies_what_did_not_change(server: ReplayServer, tmp_path: Path) -> None:
    out, report = tmp_path / "out.wandb.zip", tmp_path / "report.json"
    words = ["-p", "acme/digits", "-o", str(out), "--system"]
    assert pull_logs("fetch", *words, environment=server.environment()).returncode == 0
    before = out.read_bytes()
    done = pull_logs("refresh", out, "--report-json", report, environment=server.environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["requests"] == 1
    assert out.read_bytes() == before


def test_import_makes_the_bundle_of_the_fixtures_again(tmp_path: Path) -> None:
    out = tmp_path / "again.wandb.zip"
    done = pull_logs("import", ROOT / "fixtures" / "digits" / "wandb", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "16 runs" in done.stderr


def test_a_local_run_folder_is_a_source() -> None:
    folder = next((ROOT / "fixtures" / "digits" / "wandb").glob("*-cnn1e2s0"))
    done = pull_logs("-r", folder, "--schema")
    assert done.returncode == 0, done.stderr
    assert "\ncnn1e2s0 name=" in done.stdout


def test_the_demo_serves_pulls_verifies_compares_and_names_the_next_steps(tmp_path: Path) -> None:
    done = pull_logs("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo.wandb.zip").is_file()
    assert (tmp_path / "demo-report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "\ndemo-report.html: 16 runs, 20 metrics, " in done.stderr
    assert done.stderr.endswith(" MB; open it in a browser\n")
    assert "[COMPARISON]" in done.stdout
    commands = done.stdout.partition("Next:\n")[2].splitlines()
    assert len(commands) == 3
    first = commands[0].split()
    assert first[0] == "pull-logs"
    assert pull_logs(*first[1:], cwd=tmp_path).returncode == 0


def malicious() -> bytes:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch harmed",)

    return pickle.dumps({"wandb_run_path": RUN, "x": Harm()})


BAD_INPUT: list[tuple[str, list[str], int, str]] = [
    (
        "unknown run",
        ["-b", "{bundle}", "-r", "acme/digits/cnn1e2s9"],
        3,
        "the nearest are 'acme/digits/cnn1e2s",
    ),
    ("unknown run online", ["-r", "acme/digits/nobody"], 3, "acme/digits/nobody"),
    ("unknown project online", ["fetch", "-p", "acme/nothing", "-o", "{tmp}/x.wandb.zip"], 3, "acme/nothing"),
    ("unknown metric", ["-b", "{bundle}", "-r", "cnn1e2s0", "--select", "^val/los_"], 3, "val/loss"),
    (
        "unknown metric in where",
        ["-b", "{bundle}", "-r", "cnn1e2s0", "--where", "val/los > 1"],
        3,
        "val/loss",
    ),
    ("bad regex", ["-b", "{bundle}", "-r", "cnn1e2s0", "--select", "val/("], 2, "val/("),
    ("bad expression", ["-b", "{bundle}", "-r", "cnn1e2s0", "--where", "loss >"], 2, "^"),
    ("eval without a name", ["-b", "{bundle}", "-r", "cnn1e2s0", "--eval", "loss * 2"], 2, "NAME=EXPR"),
    ("no file", ["-b", "{tmp}/none.wandb.zip"], 3, "none.wandb.zip"),
    ("no bundle", ["-b", "{root}/README.md"], 6, "README.md"),
    ("no checkpoint", ["-b", "{bundle}", "-c", "{tmp}/none.pt"], 3, "none.pt"),
    ("checkpoint without a run", ["-b", "{bundle}", "-c", "{tmp}/plain.pt"], 3, "-r"),
    ("malicious pickle", ["-b", "{bundle}", "-c", "{tmp}/harm.pt"], 6, "nothing was run"),
    ("refresh of a bundle", ["-b", "{bundle}", "--refresh"], 2, "--refresh"),
    ("refresh offline", ["-r", "acme/digits/cnn1e2s0", "--refresh", "--offline"], 2, "--refresh"),
    ("not in the cache", ["-r", "acme/digits/cnn1e2s1", "--offline"], 3, "cnn1e2s1"),
    ("view without a source", ["--schema"], 2, "-b BUNDLE"),
    ("unknown command", ["frobnicate"], 2, "fetch"),
    ("option before its command", ["-p", "acme/digits", "fetch"], 2, "pull-logs fetch -p acme/digits"),
    ("fetch of a bundle", ["fetch", "-b", "{bundle}", "-o", "{tmp}/x.wandb.zip"], 2, "-b"),
]


@pytest.mark.parametrize(
    ("words", "code", "says"), [case[1:] for case in BAD_INPUT], ids=[case[0] for case in BAD_INPUT]
)
def test_bad_input_is_one_line_with_the_next_step(
    server: ReplayServer, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"weights": [1.0], "epoch": 3}))
    (tmp_path / "harm.pt").write_bytes(malicious())
    places = {"bundle": BUNDLE, "tmp": tmp_path, "root": ROOT}
    done = pull_logs(
        *(word.format(**places) for word in words), environment=server.environment(), cwd=tmp_path
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.startswith("pull-logs: error: ")
    assert done.stderr.count("\n") == (3 if done.stderr.rstrip().endswith("^") else 1)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "harmed").exists()


def test_a_wrong_key_exits_5() -> None:
    with serve_bundle(BUNDLE, any_key=False) as server:
        wrong = {**server.environment(), "WANDB_API_KEY": "0" * 40}
        done = pull_logs("-r", RUN, environment=wrong)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "0" * 40 not in done.stderr
    assert "key" in done.stderr


def test_no_key_exits_5_and_says_how_to_sign_in(server: ReplayServer) -> None:
    none = {**server.environment(), "WANDB_API_KEY": ""}
    done = pull_logs("-r", RUN, environment=none)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "wandb login" in done.stderr


def test_no_network_exits_5_and_names_the_host() -> None:
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "k" * 40}
    done = pull_logs("-r", RUN, environment=nowhere)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:9" in done.stderr


def test_a_closed_pipe_ends_quietly() -> None:
    command = f'"{sys.executable}" -m pull_logs -b "{BUNDLE}" --max-tokens 0 --max-rows 0 | head -n 1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert all(line.startswith("pull-logs: next: ") for line in done.stderr.splitlines())
    assert done.stdout.startswith("[RUNS]")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",), ("compare", "--help"), ("--version",), ("info", str(BUNDLE)), ("verify", str(BUNDLE)),
        ("audit", str(BUNDLE)), ("diff", str(BUNDLE), str(BUNDLE)), ("overview", "-b", str(BUNDLE)),
        ("compare", "-b", str(BUNDLE)), ("-b", str(BUNDLE), "--json"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_reader_that_was_never_there_is_no_error(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pull_logs", *words],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [(), ("compare",), ("overview",)])
def test_a_budget_that_is_too_small_is_refused_before_anything_is_read(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = pull_logs(*command, "-b", tmp_path / "none.wandb.zip", "--max-tokens", "9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "pull-logs: error: --max-tokens 9 is too small for any answer; give at least 300, or 0 for no limit\n"
    )


@pytest.mark.parametrize("command", [(), ("compare",), ("overview",)])
def test_a_broken_assertion_is_reported_even_if_the_pipe_is_closed(command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [
            sys.executable, "-m", "pull_logs", *command, "-b", str(BUNDLE), "-r", "cnn1e3s3",
            "--assert", "val/acc > 0.5",
        ],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 7
    assert done.stderr.startswith(
        "pull-logs: error: --assert 'val/acc > 0.5' does not hold for acme/digits/cnn1e3s3"
    )


def test_a_folder_that_was_unzipped_reads_like_the_bundle(tmp_path: Path) -> None:
    shutil.unpack_archive(BUNDLE, tmp_path / "unzipped", "zip")
    done = pull_logs("-b", tmp_path / "unzipped", "-r", RUN, "--stats")
    kept = pull_logs("-b", BUNDLE, "-r", RUN, "--stats")
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("[STATS]")[2] == kept.stdout.partition("[STATS]")[2]


def test_the_version_is_shown() -> None:
    done = pull_logs("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("pull-logs, version ")


def test_an_assertion_that_holds_changes_nothing_and_one_that_does_not_exits_7_after_the_answer() -> None:
    plain = pull_logs("-b", BUNDLE, "-r", RUN, "--stats", "--json")
    held = pull_logs("-b", BUNDLE, "-r", RUN, "--stats", "--json", "--assert", "val/acc > 0.9")
    broken = pull_logs("-b", BUNDLE, "--stats", "--json", "--max-tokens", "0", "--assert", "val/acc > 0.96")
    assert (held.returncode, broken.returncode) == (0, 7)
    assert json.loads(held.stdout)["stats"] == json.loads(plain.stdout)["stats"]
    answer = json.loads(broken.stdout)
    assert [len(answer["runs"]), answer["assertions"][0]["holds"]] == [16, False]
    error = broken.stderr.splitlines()[-1]
    assert error.startswith(
        "pull-logs: error: --assert 'val/acc > 0.96' does not hold for "
        "acme/digits/cnn1e2s0 (val/acc = 0.947222), "
    )
    assert error.endswith(" more runs; --json lists every run and value under assertions")


def test_an_assertion_that_is_none_is_pointed_at_and_nothing_is_printed() -> None:
    done = pull_logs("-b", BUNDLE, "-r", RUN, "--assert", "step soon: val/acc > 0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "pull-logs: error: 'soon' is not a valid step; write it as --assert 'step 1000: val/loss < 2'",
        "    step soon: val/acc > 0",
        "         ~~~^",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["-r", RUN],
        ["-r", RUN, "--schema"],
        ["-r", "acme/digits/nan1e6s0", "--stats"],
        ["--filter", "config.lr == 0.1"],
        ["overview"],
    ],
)
def test_an_answer_gives_at_most_two_commands_that_run(words: list[str]) -> None:
    command = words[:1] if words[0] == "overview" else []
    rest = words[len(command) :]
    done = pull_logs(*command, "-b", BUNDLE, *rest)
    hints = done.stderr.splitlines()
    assert 1 <= len(hints) <= 2
    for hint in hints:
        assert hint.startswith("pull-logs: next: pull-logs ")
        ran = pull_logs(*shlex.split(hint.removeprefix("pull-logs: next: pull-logs ")))
        assert ran.returncode == 0, ran.stderr
    quiet = pull_logs(*command, "-b", BUNDLE, *rest, "--no-hints")
    assert (quiet.stderr, quiet.stdout) == ("", done.stdout)


def test_an_overview_of_a_project_and_its_json(server: ReplayServer) -> None:
    online = pull_logs("overview", "-p", "acme/digits", environment=server.environment())
    bundled = pull_logs("overview", "-b", BUNDLE)
    assert online.returncode == 0, online.stderr
    parts = [
        text.partition("[STATES]")[2].partition("\n# kill1e2s is incomplete")[0].strip()
        for text in (online.stdout, bundled.stdout)
    ]
    assert parts[0] == parts[1] != ""
    assert headings(bundled.stdout) == ["OVERVIEW", "STATES", "CONFIG_VALUES", "METRICS", "HEALTH"]
    found = json.loads(pull_logs("overview", "-b", BUNDLE, "--json").stdout)
    flagged = {entry["flag"]: [one["path"][12:] for one in entry["found"]] for entry in found["health"]}
    assert flagged["nan"] == ["nan1e6s0"]
    assert flagged["crashed"] == ["kill1e2s", "nan1e6s0"]
