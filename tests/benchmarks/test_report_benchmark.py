"""The benchmark of the report runs, in small."""

from __future__ import annotations

import os

import pytest
import report
from browserkit import REQUIRED, require_browser

ON_DEMAND = os.environ.get(REQUIRED)


@pytest.mark.slow
def test_the_benchmark_measures_a_small_report(capsys: pytest.CaptureFixture[str]) -> None:
    require_browser(ON_DEMAND)
    assert report.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["report, 20 metrics", "report, one metric"]
