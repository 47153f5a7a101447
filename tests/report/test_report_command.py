"""`pull-logs report`: what is in the file, that the same runs make the same bytes, and what is refused."""

from __future__ import annotations

import hashlib
import math
import re
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from reportkit import HOSTILE, PLANTED, curves_in, facts_in, planted_bundle, planted_rows

from pull_logs.cli.main import main
from pull_logs.report import ReportOptions, render_report
from pull_logs.report.charts import RUNTIME, read_charts
from pull_logs.snapshot import open_bundle


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_bundle(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def page(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", str(planted), "-o", str(out), "--title", "Rates"]) == 0
    return out.read_text(encoding="utf-8")


def test_the_command_says_what_it_wrote(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    assert main(["report", "-b", str(planted), "--select", "^val/", "-o", str(out)]) == 0
    size = out.stat().st_size / 1e6
    assert capsys.readouterr() == (
        "",
        f"{out}: 12 runs, 2 metrics, 360 points, {size:.2f} MB; open it in a browser\n",
    )


def test_the_same_runs_make_the_same_bytes(planted: Path, tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("a.html", "b.html")]
    for out in pages:
        assert main(["report", str(planted), "-o", str(out)]) == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_texts_of_runs_are_never_markup(page: str) -> None:
    facts = facts_in(page)
    assert facts["runs"][1]["name"] == HOSTILE
    assert facts["runs"][1]["config"]["text"] == HOSTILE
    assert HOSTILE in [metric["name"] for metric in facts["metrics"]]
    assert HOSTILE not in page
    assert "\\u003c/script\\u003e\\u003cscript\\u003edocument.title='owned'" in page
    assert "<script>document" not in page
    assert page.count("<script") == page.count("</script>") == 3 + len(facts["metrics"])


def test_the_policy_allows_the_two_scripts_and_styles_alone(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    hashes = {
        kind: " ".join(
            f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        )
        for kind in ("script", "style")
    }
    assert policy[1] == (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']};"
        " base-uri 'none'; form-action 'none'"
    )
    assert not re.search(
        r"(?:src|href)=[\"'](?!#)", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    )


def test_planted_extremes_are_in_the_file(page: str) -> None:
    steps, values = curves_in(page, "train/loss")[0]
    points = dict(zip(steps, values, strict=True))
    for step, value in PLANTED.items():
        assert points.get(step) == (value if math.isfinite(value) else None)
    metric = next(metric for metric in facts_in(page)["metrics"] if metric["name"] == "train/loss")
    assert (metric["marks"][0], metric["min"][0], metric["max"][0]) == (2, -3.25, 9.5)
    assert metric["rows"][0] == len(planted_rows(0))


def test_the_page_has_verdict_health_and_identities(page: str, planted: Path) -> None:
    facts = facts_in(page)
    assert facts["title"] == "Rates"
    assert facts["verdict"]["metric"] == "val/acc"
    assert facts["verdict"]["answer"].startswith("best val/acc (max): ")
    assert facts["health"][0]["flag"] == "nan"
    with open_bundle(planted) as bundle:
        assert facts["bundles"] == [
            {
                "name": "planted.wandb.zip",
                "bundle_id": bundle.bundle_id,
                "content_id": bundle.content_id,
            }
        ]


def test_held_out_outcomes_come_first_and_the_time_last(page: str) -> None:
    names = [metric["name"] for metric in facts_in(page)["metrics"]]
    assert names[:2] == ["val/acc", "val/loss"]
    assert names.index("train/loss") < names.index("epoch")
    assert names[-1] == RUNTIME


def test_the_running_time_of_a_resumed_run_goes_on(tmp_path: Path) -> None:
    times = [1.0, 2.0, 4.0, 0.5, 1.5]
    rows = [{"_step": step, "_runtime": time, "loss": 1.0} for step, time in enumerate(times)]
    text = page_of(make_bundle(tmp_path / "b.wandb.zip", [bundle_run(rows=rows)]))
    assert curves_in(text, RUNTIME)[0][1] == [1.0, 2.0, 4.0, 4.0, 5.0]


def page_of(bundle: Path, **options: object) -> str:
    from pull_logs.interface import Sources, open_subjects

    sources = Sources(bundles=(bundle,))
    with open_subjects(sources, report=lambda _: None) as subjects:
        return render_report(subjects, options=ReportOptions(**options))[0]  # type: ignore[arg-type]


def test_one_run_gets_a_sentence(tmp_path: Path) -> None:
    rows = [{"_step": step, "val/acc": value} for step, value in enumerate([0.5, 0.75, 0.625])]
    text = page_of(make_bundle(tmp_path / "b.wandb.zip", [bundle_run(rows=rows)]))
    assert facts_in(text)["verdict"]["answer"] == (
        "one run: val/acc ended at 0.625, and was 0.75 at its best at step 1"
    )


@pytest.mark.parametrize("rows", [[], [{"_step": 7, "text": "only"}], [{"_step": 0, "loss": math.nan}]])
def test_runs_without_a_number_make_a_page(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    text = page_of(make_bundle(tmp_path / "b.wandb.zip", [bundle_run(rows=rows)]))
    assert len(facts_in(text)["runs"]) == 1


@settings(max_examples=25)
@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**70), 2**70),
        min_size=1,
        max_size=40,
    )
)
def test_any_numbers_are_in_the_page_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    rows = [{"_step": 3 * step, "m": value} for step, value in enumerate(values)]
    bundle = make_bundle(tmp_path_factory.mktemp("any") / "b.wandb.zip", [bundle_run(rows=rows)])
    found = curves_in(page_of(bundle), "m")[0]
    finite = [(3 * step, float(value)) for step, value in enumerate(values) if math.isfinite(float(value))]
    assert found[0] == [step for step, _ in finite]
    assert np.allclose(found[1], [value for _, value in finite], rtol=1e-7, atol=0)


def test_metrics_for_which_the_file_has_no_space_are_named(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pull_logs.interface import Sources, open_subjects

    monkeypatch.setattr("pull_logs.report.charts.MOST_POINTS", 64 * 12 * 3)
    with open_subjects(Sources(bundles=(planted,)), report=lambda _: None) as subjects:
        charts = read_charts(subjects, select=None, points=0, first=None)
        _, size = render_report(subjects, options=ReportOptions())
    assert [chart.facts["name"] for chart in charts.charts] == ["val/acc", "val/loss", HOSTILE, RUNTIME]
    note = "8 metrics without a chart, because one file cannot hold all: "
    note += "train/loss, epoch, layers/0/norm, layers/1/norm, layers/2/norm and 3 more; --select chooses"
    assert size.notes == [note]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--points", "3"], "2: --points 3 is too few for a curve; use 16 or more, or 0 for as many as fit"),
        (["--select", "nothing"], "3: --select 'nothing': no run has numbers of such a metric; "),
        (["--best", "nothing:min"], "3: --best"),
    ],
)
def test_wrong_options_are_refused(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    code = main(["report", str(planted), "-o", str(tmp_path / "report.html"), *words])
    assert f"{code}: {capsys.readouterr().err.removeprefix('pull-logs: error: ')}".startswith(expected)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_report_is_not_replaced(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "notes.html"
    out.write_text("<p>mine</p>")
    assert main(["report", str(planted), "-o", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"pull-logs: error: {str(out)!r} exists and is not a report;"
        " pass --force to replace it, or name another file\n"
    )
    assert out.read_text() == "<p>mine</p>"
    for words in (["--force"], []):
        assert main(["report", str(planted), "-o", str(out), *words]) == 0


def test_without_the_charting_library_the_error_names_the_package(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pull_logs.report.charting.PACKAGE", "no-such-package")
    assert main(["report", str(planted), "-o", str(tmp_path / "r.html")]) == 3
    assert capsys.readouterr().err == (
        "pull-logs: error: a report needs the package no-such-package, which is not installed;"
        " pip install no-such-package\n"
    )
