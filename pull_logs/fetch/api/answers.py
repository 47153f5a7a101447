"""The body of a GraphQL answer, read into data and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pull_logs.errors import DataError, ServerError
from pull_logs.fetch.api.errors import TransientError
from pull_logs.fetch.api.failures import Secrets, body_text, graphql_error, means_missing
from pull_logs.rows.canonical import parse_json


@dataclass(frozen=True, slots=True)
class Answer:
    """A GraphQL answer: data, and the errors that may concern parts of it."""

    data: Mapping[str, Any]
    errors: Sequence[Any] = ()


def read_answer(content: bytes, *, operation: str, host: str, partial: bool, secrets: Secrets) -> Answer:
    """Return the answer in the body of a 200 response.

    Args:
        content: The body.
        operation: The name of the operation, for errors.
        host: The host that sent it.
        partial: Whether data with errors is an answer; otherwise it is a failure.
        secrets: What is removed from the texts of errors.

    Raises:
        TransientError: The body is not a GraphQL answer, or its errors may be temporary.
        SignInError: The key has no permission.
        RejectedQueryError: The server does not accept a query of this form.
    """
    try:
        body = read_json(content)
    except DataError:
        body = None
    if not isinstance(body, dict):
        raise _unusable(content, operation, host, otherwise="something that is not JSON")
    errors, data = body.get("errors") or (), body.get("data")
    if not isinstance(errors, Sequence) or isinstance(errors, str):
        errors = [str(errors)]
    if any(map(means_missing, errors)):
        errors, data = [error for error in errors if not means_missing(error)], data or {}
    useful = isinstance(data, dict) and any(value is not None for value in data.values())
    if errors and not (partial and useful):
        errors = read_json(secrets.remove_from(orjson.dumps(errors)))
        raise graphql_error(errors, host=host, operation=operation)
    if not isinstance(data, dict):
        raise _unusable(content, operation, host, otherwise="an answer without data")
    return Answer(data, errors)


def failed_items(errors: Sequence[Any], *, depth: int) -> frozenset[object] | None:
    """Return which items of the data the errors concern; None if an error does not name one.

    Args:
        errors: The errors of an answer.
        depth: The position in the path of an error at which the item is named.
    """
    found = set()
    for error in errors:
        path = error.get("path") if isinstance(error, Mapping) else None
        if not isinstance(path, list) or len(path) <= depth:
            return None
        found.add(path[depth])
    return frozenset(found)


def _unusable(content: bytes, operation: str, host: str, *, otherwise: str) -> TransientError:
    text = body_text(content) or otherwise
    return TransientError(ServerError(f"{host} answered {operation} with {text}", status=200), heavy=True)


def read_json(content: bytes) -> Any:
    """Return the JSON of a body, by the fast parser where it accepts the text.

    orjson refuses bare NaN and lone surrogates. The texts of rows, configs and summaries
    are strings in here, and are parsed with the necessary care where they are used.

    Raises:
        DataError: The body is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return parse_json(content)
