"""Every command of docs/questions.md runs and answers what the page says, in as many tokens as it says."""

from __future__ import annotations

from statistics import median

import pytest
from checkout import ROOT
from question_page import PAGE, Question, questions_of, tokens_of, total_line

from pull_logs.cli.main import main

TEXT = PAGE.read_text()
QUESTIONS = questions_of(TEXT)
COUNTS = [question.tokens for question in QUESTIONS]
UPDATE = "python tests/docs/page_examples.py --update docs/questions.md"


def test_every_row_of_the_page_is_a_question_that_is_read() -> None:
    assert len(QUESTIONS) == TEXT.count("| `pull-logs ") >= 70
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)


def test_the_page_sums_up_its_own_counts() -> None:
    assert total_line(COUNTS) in TEXT, UPDATE


def test_an_answer_is_short() -> None:
    assert median(COUNTS) <= 430
    assert sum(COUNTS) / len(COUNTS) <= 500
    assert max(COUNTS) <= 2000


@pytest.mark.parametrize("question", QUESTIONS, ids=[question.text for question in QUESTIONS])
def test_one_command_answers_it_in_as_many_tokens_as_the_page_says(
    question: Question, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(question.words) == 0
    answer = capsys.readouterr().out
    assert question.piece in answer
    assert tokens_of(answer) == question.tokens, UPDATE
