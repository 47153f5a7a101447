"""The arguments of the tools: their JSON schemas, and the check of what a client sent.

The names are those of the command line, so that an agent that knows one knows the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pull_logs.errors import UsageError
from pull_logs.suggestions import did_you_mean

JsonSchema: TypeAlias = Mapping[str, Any]

MOST_TOKENS = 8_000
"""The most tokens of an answer: its text and its structured content together."""

USUAL_TOKENS = 5_000
"""The tokens of an answer, unless a client asks for others."""

LEAST_TOKENS = 1_200
"""The fewest tokens that a client can ask for: half of them is the smallest budget of a JSON answer."""

_TEXT: JsonSchema = {"type": "string"}
_COUNT: JsonSchema = {"type": "integer", "minimum": 1}
_TEXTS: JsonSchema = {"type": "array", "items": _TEXT}
_FLAG: JsonSchema = {"type": "boolean"}


def _described(schema: JsonSchema, description: str) -> JsonSchema:
    return {**schema, "description": description}


ARGUMENTS: Mapping[str, JsonSchema] = {
    "runs": _described(_TEXTS, "Run ids; all by default"),
    "filter": _described(_TEXT, 'Which runs, e.g. config.lr <= 1e-3 and state == "finished"'),
    "select": _described(_TEXT, "Regex of metric names"),
    "where": _described(_TEXT, "Which rows, e.g. _step >= 100 and train/loss > 2"),
    "evals": _described(_TEXTS, "New columns, e.g. gap=val/loss - train/loss"),
    "quantiles": _described({"type": "array", "items": {"type": "number"}}, "Percentiles, 0 to 100"),
    "around": _described({"type": "integer"}, "Only rows near this step"),
    "last": _described(_COUNT, "Only the last N rows"),
    "every": _described(_COUNT, "Only every N-th row"),
    "max_rows": _described(_COUNT, "Rows per run; 200 by default"),
    "meta": _described(_FLAG, "Host, GPU, git commit and command line instead"),
    "group_by": _described(_TEXTS, "Config keys, or all-but:seed"),
    "best": _described(_TEXT, "Rank and test by METRIC:min or METRIC:max"),
    "sort": _described(_TEXT, "Rank by METRIC:min or :max, without a test"),
    "top": _described(_COUNT, "Only the N best"),
    "at": _described(_TEXT, "STEP, last, best or checkpoint"),
    "x": _described(_TEXT, "Axis of at, e.g. _runtime; _step by default"),
    "columns": _described(_TEXTS, "Values per run, e.g. reach=first_step(val/loss < 3)"),
    "margin": _described(_TEXT, "Differences that do not matter, e.g. 0.5%"),
    "effect": _described(_TEXT, "METRIC:min or :max; which config keys explain it"),
    "fits": _described(_TEXTS, "e.g. log(val/loss) ~ log(config.params)"),
    "pareto": _described(_TEXT, "e.g. config.params:min, val/loss:min"),
    "grep": _described(_TEXT, "Only lines that match this regex"),
    "tail": _described(_COUNT, "Last N lines of each run; 100 by default"),
    "around_step": _described({"type": "integer"}, "Only lines printed near this step"),
    "query": _described(_TEXT, "One SELECT over runs, history, system, metrics, files, artifacts"),
    "max_tokens": {"type": "integer", "minimum": LEAST_TOKENS, "maximum": MOST_TOKENS},
}
"""The schema of each argument of the tools."""


REQUIRED = frozenset({"query"})
"""The arguments that a tool must be given, if it takes them."""


def input_schema(names: Iterable[str]) -> dict[str, Any]:
    """Return the JSON schema of a tool that takes these arguments."""
    names = tuple(names)
    required = [name for name in names if name in REQUIRED]
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": {name: dict(ARGUMENTS[name]) for name in (*names, "max_tokens")},
        "additionalProperties": False,
    }


def check_arguments(given: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse arguments that do not follow the schema of a tool.

    Args:
        given: What a client sent.
        names: The arguments that the tool takes.

    Raises:
        UsageError: An argument is unknown, or its value is not valid; the message names it.
    """
    import jsonschema

    schema = input_schema(names)
    known = schema["properties"]
    for name in given:
        if name not in known:
            raise UsageError(
                f"there is no argument {name!r}",
                hint=did_you_mean(name, known) or f"the arguments are {', '.join(known)}",
            )
    for error in jsonschema.Draft202012Validator(schema).iter_errors(dict(given)):
        where = ".".join(map(str, error.absolute_path))
        raise UsageError(f"{where} is not valid: {error.message}" if where else error.message)
