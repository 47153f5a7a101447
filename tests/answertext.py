"""The answers of the view, of `compare` and of `overview` as the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render.json_answer import fit_json
from pull_logs.cli.render.shapes import COMPARISON_SHAPES, OVERVIEW_SHAPES, VIEW_SHAPES
from pull_logs.cli.render.text import render_text
from pull_logs.cli.sections.compare import compare_sections
from pull_logs.cli.sections.overview import overview_sections
from pull_logs.cli.sections.view import view_sections


def view_text(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    return render_text(view_sections(answer), max_tokens=max_tokens)


def view_json(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    return fit_json(answer, VIEW_SHAPES, max_tokens=max_tokens)


def compare_text(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    return render_text(compare_sections(answer), max_tokens=max_tokens)


def compare_json(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    return fit_json(answer, COMPARISON_SHAPES, max_tokens=max_tokens) + "\n"


def overview_text(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    return render_text(overview_sections(answer), max_tokens=max_tokens)


def overview_json(answer: Mapping[str, Any], *, max_tokens: int = 0) -> str:
    return fit_json(answer, OVERVIEW_SHAPES, max_tokens=max_tokens) + "\n"
