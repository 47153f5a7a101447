"""Which format an answer gets, and which ones it cannot have."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from checkout import ROOT

from pull_logs.cli.main import main

BUNDLE = str(ROOT / "fixtures" / "digits.wandb.zip")
TWO = (BUNDLE, "-r", "cnn1e1s0", "-r", "mlp5e2s0")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.parametrize(
    "words",
    [
        ("compare", *TWO, "--no-hints"),
        (*TWO, "-H", "--no-hints"),
        ("overview", BUNDLE, "--no-hints"),
        ("info", BUNDLE),
        ("verify", BUNDLE),
        ("audit", BUNDLE),
        ("diff", BUNDLE, BUNDLE),
    ],
    ids=lambda words: words[0].removeprefix(str(ROOT)),
)
def test_text_and_json_are_what_they_are_without_the_option(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, *words) == run(capsys, *words, "--format", "text")
    assert run(capsys, *words, "--json") == run(capsys, *words, "--format", "json")
    code, out, _ = run(capsys, *words, "--format", "table")
    assert (code, "\x1b" in out) == (0, False)
    code, out, _ = run(capsys, *words, "--format", "csv")
    assert code == 0
    assert list(csv.reader(io.StringIO(out)))


@pytest.mark.parametrize("form", ["markdown", "latex"])
@pytest.mark.parametrize("command", ["info", "verify", "audit", "overview", "logs", "diff"])
def test_a_command_that_compares_nothing_has_no_format_of_papers(
    command: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, command, BUNDLE, "--format", form)
    assert (code, out) == (2, "")
    assert err == (
        f"pull-logs: error: `pull-logs {command}` has no --format {form}, which is for comparisons of runs; "
        "its formats are 'text', 'table', 'json', 'csv'; `pull-logs compare` has all\n"
    )


def test_a_view_of_one_run_has_no_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, BUNDLE, "-r", "cnn1e1s0", "--format", "latex")
    assert (code, out) == (2, "")
    assert err == (
        "pull-logs: error: --format latex is for comparisons, and this answer has none; "
        "name two runs or more, or use compare; text, table, json and csv show any answer\n"
    )


def test_json_and_another_format_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "info", BUNDLE, "--json", "--format", "csv") == (
        2,
        "",
        "pull-logs: error: --json and --format csv contradict each other; give one of them\n",
    )


def test_a_section_that_the_answer_lacks_is_refused_with_those_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "info", BUNDLE, "--section", "ranking") == (
        2,
        "",
        "pull-logs: error: this answer has no section RANKING; it has BUNDLE, RUNS\n",
    )
    for asked, hint in (
        ("bundel", "the nearest is 'BUNDLE'"),
        ("config", "it has RUNS, SCHEMA"),
        ("schem", "the nearest is 'SCHEMA'"),
    ):
        words = ("info", BUNDLE) if asked == "bundel" else ("-b", BUNDLE, "--schema", "--no-hints")
        expected = f"pull-logs: error: this answer has no section {asked.upper()}; {hint}\n"
        assert run(capsys, *words, "--section", asked) == (2, "", expected)
    assert run(capsys, "info", BUNDLE, "--section", "runs", "--json") == (
        2,
        "",
        "pull-logs: error: --section is for formats other than JSON; read the member 'runs' of the object\n",
    )


def test_one_section_as_csv_is_one_table_with_all_digits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", BUNDLE, "--best", "val/acc:max", "--top", "2", "--no-hints")
    code, out, _ = run(capsys, *words, "--format", "csv", "--section", "ranking")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["rank"], row["value"]) for row in rows] == [
        ("1", "0.9777777791023254"),
        ("2", "0.9750000238418579"),
    ]


def test_values_with_steps_are_two_columns_of_csv(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", *TWO, "--select", "^val/acc$", "--format", "csv", "--section", "comparison")
    _, out, _ = run(capsys, *words, "--no-hints")
    head, last, _, most = csv.reader(io.StringIO(out))
    assert head == ["metric", "value", "cnn1e1s0", "cnn1e1s0 step", "mlp5e2s0", "mlp5e2s0 step"]
    assert last[2:] == ["0.9750000238418579", "", "0.9638888835906982", ""]
    assert most[2:] == ["0.980555534362793", "219", "0.9666666388511658", "219"]


def test_markdown_of_a_ranking(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", BUNDLE, "--best", "val/acc:max", "--top", "2", "--no-hints")
    code, out, _ = run(capsys, *words, "--format", "markdown", "--section", "ranking")
    assert code == 0
    head, line, *rows = out.splitlines()[4:]
    assert head.startswith("| rank | run | ")
    assert line.startswith("|---:|---|")
    assert len(rows) == 2
    assert out.startswith("### Ranking\n\nmetric: val/acc, direction: max, at: last, x: \\_step\n\n")


def test_latex_of_a_ranking(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", BUNDLE, "--best", "val/loss:min", "--top", "2", "--no-hints")
    code, out, _ = run(capsys, *words, "--format", "latex", "--section", "ranking")
    assert code == 0
    lines = out.splitlines()
    assert lines[2:5] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Ranking: metric val/loss, direction min, at last, x \_step}",
    ]
    assert lines[5].startswith(r"\begin{tabular}{r")
    assert lines[6] == r"\toprule"
    assert lines[-3:] == [r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def test_formats_of_programs_and_papers_are_not_cut_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    words = (BUNDLE, "--max-rows", "0", "--no-hints")
    assert "# cut to " in run(capsys, *words, "--format", "table")[1]
    assert "# cut to " not in run(capsys, *words, "--format", "csv")[1]
    assert "# cut to " in run(capsys, *words, "--format", "csv", "--max-tokens", "900")[1]


def test_the_imports_of_a_pipe_do_not_have_what_draws(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pull_logs.cli.main import main; "
        f"main(['info', {BUNDLE!r}]); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"rich", "pull_logs.cli.formats.tables", "pull_logs.cli.formats.grid"} & set(
        done.stderr.split()
    )
