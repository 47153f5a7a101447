"""The benchmark of agents: every command gives the planted answer; docs/agents.md has what is measured."""

from __future__ import annotations

import os

import pytest
from agent_questions import BUNDLE, QUESTIONS, Question
from checkout import ROOT
from measure_agents import by_command, by_documents, by_script, measured, table

from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle

MOST_TOKENS = 15_000
"""The most tokens of all thirty answers."""


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_one_command_answers(question: Question) -> None:
    answer = by_command(question)
    assert answer.right, answer.text
    assert answer.tokens <= MOST_TOKENS / 10


def test_documents_and_scripts_answer_where_they_have_the_data() -> None:
    questions = {question.text: question for question in QUESTIONS}
    size = questions["Which size is best on web after 1,000 seconds?"]
    idle = questions["Which run left its GPUs waiting, and how busy were they, in percent?"]
    with serve_bundle(BUNDLE) as server, open_bundle(BUNDLE) as bundle:
        assert by_documents(size, bundle).right
        assert by_documents(idle, bundle).text == "no tool gives system"
        assert by_script(size, {**os.environ, **server.environment()}).right


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_table_of_the_page_is_what_is_measured() -> None:
    results = measured()
    assert sum(answers[0].tokens for _, answers in results) <= MOST_TOKENS
    assert table(results) in (ROOT / "docs" / "agents.md").read_text("utf-8")
