"""GraphQL documents, parsed, measured and validated before they are executed.

Fragments multiply, so a short hostile document can expand to millions of fields; the limits are checked
first, on the syntax alone. Whether fields of the same name in one selection can be merged is not checked:
that takes time proportional to the square of their number, and the first of them is used where they differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    parse,
    specified_rules,
    validate,
)

from pull_logs.replay.not_found import field_missing

_RULES = tuple(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule)

MAX_DEPTH = 24
MAX_ALIASES = 500
MAX_FIELDS = 20_000
MAX_TOKENS = 100_000

READ_ONLY = (
    "this server replays a bundle: it answers queries and changes nothing; "
    "log with WANDB_MODE=offline, or unset WANDB_BASE_URL to write to W&B itself"
)

_NO_FIELD = re.compile(r"Cannot query field '(\w+)' on type '(\w+)'")


class DocumentRefusedError(Exception):
    """A document is refused before it is executed.

    Attributes:
        errors: The reasons.
        status: The HTTP status of the answer: 200 for a mutation and for a field that no bundle can answer,
            because every SDK shows the errors of a 200 to its user; otherwise 400.
    """

    def __init__(self, errors: Sequence[GraphQLError], *, status: int = 400) -> None:
        super().__init__(errors[0].message)
        self.errors = tuple(errors)
        self.status = status


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that can be executed.

    Attributes:
        document: The parsed document.
        names: The names of its operations, for counting.
    """

    document: DocumentNode
    names: tuple[str, ...]


class Documents:
    """Prepares documents for a schema and caches the last ones, because clients repeat themselves."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        self._prepared = lru_cache(maxsize=64)(self._prepare)

    def prepare(self, text: str) -> Prepared:
        """Parse, measure and validate a document.

        Raises:
            DocumentRefusedError: The text is not valid GraphQL, does not fit the schema, has a mutation, or
                is too large.
        """
        try:
            return self._prepared(text)
        except RecursionError as exc:
            raise DocumentRefusedError([GraphQLError("the document is nested too deep")]) from exc

    def _prepare(self, text: str) -> Prepared:
        try:
            document = parse(text, no_location=True, max_tokens=MAX_TOKENS)
        except GraphQLSyntaxError as exc:
            raise DocumentRefusedError([exc]) from exc
        refusal = _refusal(document)
        if refusal:
            raise DocumentRefusedError([GraphQLError(refusal)], status=200 if refusal == READ_ONLY else 400)
        errors = validate(self.schema, document, rules=_RULES, max_errors=20)
        if errors:
            raise _invalid(errors)
        return Prepared(document, tuple(_operation_names(document)))


def _invalid(errors: Sequence[GraphQLError]) -> DocumentRefusedError:
    """Return the error for an invalid document; of fields that no bundle can answer, it names the first."""
    for error in errors:
        if found := _NO_FIELD.match(error.message):
            return DocumentRefusedError([GraphQLError(field_missing(found[1], found[2]))], status=200)
    return DocumentRefusedError(errors)


def selected_fields(nodes: Sequence[FieldNode], fragments: dict[str, FragmentDefinitionNode]) -> int:
    """Return the number of fields that are selected of an object, with fragments expanded."""
    meter = _Meter(fragments)
    return sum(meter.selections(node.selection_set, depth=1).fields for node in nodes)


def _operation_names(document: DocumentNode) -> list[str]:
    return [
        definition.name.value if definition.name else ""
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]


def _refusal(document: DocumentNode) -> str:
    fragments: dict[str, FragmentDefinitionNode] = {}
    operations: list[OperationDefinitionNode] = []
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode):
            fragments[definition.name.value] = definition
        elif isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
    if any(operation.operation is not OperationType.QUERY for operation in operations):
        return READ_ONLY
    meter = _Meter(fragments)
    for name in fragments:
        meter.fragment(name)
    sizes = [meter.selections(operation.selection_set, depth=1) for operation in operations]
    if meter.too_deep or any(size.depth > MAX_DEPTH for size in sizes):
        return f"the document is nested deeper than {MAX_DEPTH} levels"
    if sum(size.aliases for size in sizes) > MAX_ALIASES:
        return f"more than {MAX_ALIASES} aliases"
    if sum(size.fields for size in sizes) > MAX_FIELDS:
        return f"more than {MAX_FIELDS} fields"
    return ""


@dataclass(slots=True)
class _Size:
    fields: int = 0
    aliases: int = 0
    depth: int = 0

    def add(self, other: _Size, *, below: int) -> None:
        self.fields += other.fields
        self.aliases += other.aliases
        self.depth = max(self.depth, other.depth + below)


@dataclass(slots=True)
class _Meter:
    """Measures selections with their fragments expanded, each fragment once."""

    definitions: dict[str, FragmentDefinitionNode]
    too_deep: bool = False
    known: dict[str, _Size] = field(default_factory=dict)

    def fragment(self, name: str, *, depth: int = 1) -> _Size:
        if name not in self.known:
            # A fragment that contains itself finds this entry; validation reports it.
            self.known[name] = _Size()
            if name in self.definitions:
                self.known[name] = self.selections(self.definitions[name].selection_set, depth=depth)
        return self.known[name]

    def selections(self, chosen: SelectionSetNode | None, *, depth: int) -> _Size:
        size = _Size()
        if chosen is None:
            return size
        if depth > MAX_DEPTH:
            self.too_deep = True
            return size
        for node in chosen.selections:
            if isinstance(node, FieldNode):
                size.fields += 1
                size.aliases += node.alias is not None
                size.add(self.selections(node.selection_set, depth=depth + 1), below=1)
            elif isinstance(node, InlineFragmentNode):
                size.add(self.selections(node.selection_set, depth=depth + 1), below=0)
            elif isinstance(node, FragmentSpreadNode):
                size.add(self.fragment(node.name.value, depth=depth + 1), below=0)
        return size
