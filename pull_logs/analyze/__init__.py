"""Answers about runs: what a history holds, how runs differ, and expressions over both.

The data flows forward: a run -> `frames` (columns, read when they are used) ->
`selection` (which columns and rows, with the expression language) -> `schema`,
`stats`, `sample`, `compare`, `checkpoints` -> `answers`, which puts them into the one object
that the command line prints. Nothing here prints, and nothing knows a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.analyze.answers import answer as answer
    from pull_logs.analyze.checkpoints import Checkpoint as Checkpoint
    from pull_logs.analyze.checkpoints import compare_checkpoints as compare_checkpoints
    from pull_logs.analyze.compare import label as label
    from pull_logs.analyze.expressions import Expression as Expression
    from pull_logs.analyze.expressions import compile_expression as compile_expression
    from pull_logs.analyze.firstlook import overview as overview
    from pull_logs.analyze.flatten import flatten as flatten
    from pull_logs.analyze.flatten import unflatten as unflatten
    from pull_logs.analyze.frames import Frame as Frame
    from pull_logs.analyze.picking import Picking as Picking
    from pull_logs.analyze.questions import Subject as Subject
    from pull_logs.analyze.questions import View as View
    from pull_logs.analyze.runfilter import RunCondition as RunCondition
    from pull_logs.analyze.runfilter import keep_runs as keep_runs

__all__ = [
    "Checkpoint",
    "Expression",
    "Frame",
    "Picking",
    "RunCondition",
    "Subject",
    "View",
    "answer",
    "compare_checkpoints",
    "compile_expression",
    "flatten",
    "keep_runs",
    "label",
    "overview",
    "unflatten",
]

_HOME = {
    "Checkpoint": "checkpoints",
    "Expression": "expressions",
    "Frame": "frames",
    "Picking": "picking",
    "RunCondition": "runfilter",
    "Subject": "questions",
    "View": "questions",
    "answer": "answers",
    "compare_checkpoints": "checkpoints",
    "compile_expression": "expressions",
    "flatten": "flatten",
    "keep_runs": "runfilter",
    "label": "compare",
    "overview": "firstlook",
    "unflatten": "flatten",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
