"""Every command of docs/questions.md runs over the recorded runs and answers what the page says."""

from __future__ import annotations

import re
import shlex

import pytest
from checkout import ROOT

from pull_logs.cli.main import main

PAGE = (ROOT / "docs" / "questions.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| `(pull-logs .+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)


def test_the_page_has_twenty_questions_or_more_each_in_a_row_that_is_read() -> None:
    assert len(ROWS) >= 20
    assert len(ROWS) == PAGE.count("\n| ") - 1


@pytest.mark.parametrize(("question", "command", "piece"), ROWS, ids=[row[0] for row in ROWS])
def test_one_command_answers_it(
    question: str,
    command: str,
    piece: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.replace("\\|", "|"))
    assert main(words[1:]) == 0
    assert piece in capsys.readouterr().out
