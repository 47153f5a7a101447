"""`compare --against` as a continuous integration runs it: exit codes, text, JSON and the report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator

import pull_logs
from pull_logs.cli.main import main
from pull_logs.cli.sections.verdicts.gate import MARK, gate_report
from pull_logs.errors import UsageError
from pull_logs.snapshot import open_bundle, subset_bundle

DIGITS = ROOT / "fixtures" / "digits.wandb.zip"
SCHEMA = Draft202012Validator(
    json.loads((files("pull_logs") / "data" / "schemas" / "compare.json").read_text())
)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The runs with the smaller learning rate as the new ones, and the others as the baseline."""
    folder = tmp_path_factory.mktemp("gate")
    with open_bundle(DIGITS) as bundle:
        paths = {
            side: [path for path in bundle.run_paths if f"/cnn1e{rate}s" in path]
            for side, rate in (("base", 1), ("new", 2))
        }
        for side, chosen in paths.items():
            subset_bundle([bundle[path] for path in chosen], folder / f"{side}.wandb.zip")
    return str(folder / "new.wandb.zip"), str(folder / "base.wandb.zip")


def compare(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pull_logs", "compare", *words],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
    )  # fmt: skip


def test_a_regression_is_exit_7_and_one_line_names_metric_effect_p_and_n(sides: tuple[str, str]) -> None:
    new, base = sides
    done = compare("-b", new, "--against", base, "--metric", "val/acc:max", "--alpha", "0.01")
    assert done.returncode == 7
    assert done.stderr == (
        "pull-logs: error: val/acc:max: regression, new mean 0.9368, base 0.9743: worse by 0.0375 (3.85%), "
        "3.608 standard deviations, beyond seed noise (p=0.006455 < 0.01; paired, n=4); "
        "--report-md FILE writes a report, --json lists every run and value\n"
    )
    lines = done.stdout.splitlines()
    assert lines[lines.index("[ANSWER]") + 1] == (
        "# the gate fails: val/acc got worse (4 new runs against 4 runs of the baseline)"
    )
    heading = lines.index("[GATE] holds=no alpha=0.01 new=4 base=4 paired_by=seed")
    assert lines[heading + 1 : heading + 3] == [
        "metric,verdict,new,base,worse,effect,test,n,p,p_holm,detectable",
        "val/acc,regression,0.936806,0.974306,0.0375,3.60848,paired t,4/4,0.00645543,0.00645543,0.0412916",
    ]
    sections = [line.split("]")[0][1:] for line in lines if line.startswith("[")]
    assert sections == ["RUNS", "ANSWER", "GATE", "COMPARISON", "CONFIG_DIFF"]


def test_a_gate_that_holds_is_exit_0(sides: tuple[str, str]) -> None:
    new, base = sides
    done = compare("-b", base, "--against", new, "--metric", "val/acc:max", "--metric", "val/loss")
    assert (done.returncode, done.stderr) == (0, "")
    assert "# the gate holds: no regression of val/acc, val/loss (" in done.stdout


def test_the_json_is_what_its_schema_says(sides: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    new, base = sides
    words = ["compare", "-b", new, "--against", base, "--metric", "val/acc:max", "--margin", "0.5%", "--json"]
    assert main(words) == 7
    answer = json.loads(capsys.readouterr().out)
    SCHEMA.validate(answer)
    assert answer["gate"]["margin"] == answer["alignment"]["margin"] == "0.5%"
    assert [run["source"] for run in answer["runs"]] == [new] * 4 + [base] * 4
    assert main([*words, "--max-tokens", "900"]) == 7
    SCHEMA.validate(json.loads(capsys.readouterr().out))


def test_python_has_the_same_answer_and_raises_nothing(
    sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    new, base = sides
    found = pull_logs.compare(new, against=base, metrics="val/acc:max", margin="0.5%", alpha=0.01)
    assert found["gate"]["holds"] is False
    words = ("-b", new, "--against", base, "--metric", "val/acc:max", "--margin", "0.5%", "--alpha", "0.01")
    assert main(["compare", *words, "--json", "--max-tokens", "0"]) == 7
    assert json.loads(capsys.readouterr().out) == found
    with open_bundle(base) as opened:
        again = pull_logs.compare(new, against=[opened], metrics=["val/acc:max"], margin="0.5%", alpha=0.01)
    assert again["gate_metrics"] == found["gate_metrics"]
    with pytest.raises(UsageError, match="best does not go with against"):
        pull_logs.compare(new, against=base, metrics="val/acc:max", best="val/acc")
    with pytest.raises(UsageError, match="metrics are for a gate; name the baseline with against"):
        pull_logs.compare(new, metrics="val/acc:max")


REPORT = """\
<!-- pull-logs gate -->
### Regression gate fails

| metric | verdict | new | base | worse by | effect | p | n |
|---|---|---|---|---|---|---|---|
| val/acc (max) | **regression** | 0.9368 | 0.9743 | 0.0375 (+3.85%) | 3.608 | 0.006455 | 4 pairs |

- val/acc:max: regression, new mean 0.9368, base 0.9743: worse by 0.0375 (3.85%), 3.608 standard deviations, \
beyond seed noise (p=0.006455 &lt; 0.05; paired, n=4)
- Note: so few runs find a regression of 2 standard deviations with a power of 62%; about 6 runs on each \
side reach 80%, and a larger --alpha takes fewer

| config | base | new |
|---|---|---|
| lr | 0.1 | 0.01 |

<details><summary>Runs</summary>

| side | run | val/acc |
|---|---|---|
| new | acme/digits/cnn1e2s0 | 0.9472 |
| new | acme/digits/cnn1e2s1 | 0.9472 |
| new | acme/digits/cnn1e2s2 | 0.9222 |
| new | acme/digits/cnn1e2s3 | 0.9306 |
| base | acme/digits/cnn1e1s0 | 0.975 |
| base | acme/digits/cnn1e1s1 | 0.9722 |
| base | acme/digits/cnn1e1s2 | 0.9778 |
| base | acme/digits/cnn1e1s3 | 0.9722 |

</details>
"""


def test_the_report_is_markdown_for_a_comment_and_may_be_written_again(
    sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, base = sides
    report = tmp_path / "gate.md"
    words = ["compare", "-b", new, "--against", base, "--metric", "val/acc:max", "--report-md", str(report)]
    assert main(words) == 7
    assert report.read_text() == REPORT
    assert main(words) == 7
    assert report.read_text() == REPORT
    report.write_text("# my notes")
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"pull-logs: error: {str(report)!r} exists and is not a report of a gate; "
        "name another file with --report-md, or remove it\n"
    )
    assert report.read_text() == "# my notes"


def test_no_name_of_a_run_can_write_markdown_of_its_own(sides: tuple[str, str]) -> None:
    new, base = sides
    found = pull_logs.compare(new, against=base, metrics="val/acc:max")
    hostile = "x|y](https://evil.example) <img src=x> @everyone `code` ![p](q) *b* \u202e#1\nnext"
    found["runs"][0]["path"] = hostile
    found["gate_metrics"][0]["sentence"] = hostile
    found["gate_metrics"][0]["metric"] = hostile
    report = gate_report(found)
    assert report.startswith(MARK)
    named = [line for line in report.splitlines() if "evil" in line]
    assert len(named) == 3
    for line in named:
        plain = re.sub(r"\\.", "", line)  # without what a backslash makes plain text
        assert not re.search(r"[\[\]`<>#\u202e]|@everyone|://|(?<!\*)\*(?!\*)", plain)
    rows = [re.sub(r"\\.", "", line) for line in report.splitlines() if line.startswith("| new |")]
    assert {row.count("|") for row in rows} == {4}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--against", "BASE"), 2, "--against needs to know what must not get worse; name it with --metric"),
        (("--metric", "val/acc:max"), 2, "--metric is for a gate; name the baseline with --against FILE"),
        (("--report-md", "r.md"), 2, "--report-md is for a gate; name the baseline with --against FILE"),
        (("--against", "BASE", "--metric", "val/acc:max", "--best", "val/acc"), 2,
         "--best does not go with --against, which tests the metrics of --metric; leave --best out, or ask"),
        (("--against", "BASE", "--metric", "val/acc:max", "--group-by", "lr"), 2,
         "--group-by does not go with --against"),
        (("--against", "nowhere.wandb.zip", "--metric", "val/acc:max"), 3, "no file or folder at 'nowhere"),
        (("--against", "BASE", "--metric", "val/acc:max", "--filter", "config.lr == 0.01"), 3,
         "--against: --filter 'config.lr == 0.01' holds for none of the 4 runs"),
        (("--against", "BASE", "--metric", "val/ac:max"), 3, "--metric 'val/ac': no run has numbers of"),
        (("--against", "BASE", "--metric", "val/acc:max", "-r", "cnn1e2s0"), 4,
         "a gate takes at least 2 runs on each side, and there is 1 new run and 4 runs in the base"),
        (("--against", "BASE", "--metric", "epoch"), 2, "--metric 'epoch' does not say which end is better"),
    ],
)  # fmt: skip
def test_a_gate_that_cannot_be_evaluated_never_passes(
    words: tuple[str, ...],
    code: int,
    message: str,
    sides: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    new, base = sides
    found = main(["compare", "-b", new, *(base if word == "BASE" else word for word in words)])
    printed = capsys.readouterr()
    assert (found, printed.out) == (code, "")
    assert printed.err.startswith(f"pull-logs: error: {message}")
    assert len(printed.err.splitlines()) == 1


def test_unfinished_runs_are_refused_and_the_filter_of_the_hint_leaves_them_out(
    sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, base = sides
    words = ["compare", "-b", str(DIGITS), "--against", base, "--metric", "val/acc:max", "--seed", "seed"]
    assert main(words) == 4
    assert "acme/digits/kill1e2s (new) is crashed, acme/digits/nan1e6s0 (new) is failed; " in (
        capsys.readouterr().err
    )
    assert main([*words, "--filter", 'state == "finished"']) == 0
