"""The targets that a query names: runs, listings of runs, sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    value_from_ast_untyped,
)

from pull_logs.rows.canonical import canonical_text
from pull_logs.runs import RunPath


@dataclass(frozen=True, slots=True, order=True)
class Listing:
    """The runs of a project that pass a filter.

    Attributes:
        entity: The entity of the project.
        project: The name of the project.
        filters: A filter of W&B as JSON text.
    """

    entity: str
    project: str
    filters: str = "{}"


@dataclass(frozen=True, slots=True, order=True)
class Sweep:
    """A sweep and its runs."""

    entity: str
    project: str
    sweep_id: str


QueryTarget = RunPath | Listing | Sweep


def query_targets(
    document: DocumentNode, operation: str | None, variables: Mapping[str, Any], *, entity: str
) -> frozenset[QueryTarget]:
    """Return the targets that a document names.

    Args:
        document: A valid document.
        operation: The name of the operation that is run; None for its only one.
        variables: The values of its variables.
        entity: The default entity, for projects named without one.
    """
    walk = _Walk(document, operation, variables)
    return frozenset(
        target
        for project in walk.fields(walk.root, "project")
        for target in _of_project(walk, project, entity)
    )


def _of_project(walk: _Walk, node: FieldNode, entity: str) -> Iterator[QueryTarget]:
    given = walk.arguments(node)
    owner, project = given.get("entityName") or entity, given.get("name")
    if not isinstance(owner, str) or not isinstance(project, str) or not project:
        return
    for field in walk.fields(node.selection_set, "run", "runs", "runCount", "sweep"):
        arguments = walk.arguments(field)
        kind, name = field.name.value, arguments.get("name") or arguments.get("sweepName")
        if kind in ("runs", "runCount"):
            filters = arguments.get("filters") or "{}"
            yield Listing(owner, project, filters if isinstance(filters, str) else canonical_text(filters))
        elif isinstance(name, str) and name:
            yield (RunPath if kind == "run" else Sweep)(owner, project, name)


class _Walk:
    """The fields of one operation, with fragments and variables resolved."""

    def __init__(self, document: DocumentNode, operation: str | None, variables: Mapping[str, Any]) -> None:
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        self.root: SelectionSetNode | None = None
        self._variables: dict[str, Any] = {}
        for definition in document.definitions:
            if isinstance(definition, FragmentDefinitionNode):
                self._fragments[definition.name.value] = definition
            elif isinstance(definition, OperationDefinitionNode) and _is_named(definition, operation):
                self.root = definition.selection_set
                self._variables = {
                    variable.variable.name.value: value_from_ast_untyped(variable.default_value)
                    for variable in definition.variable_definitions or ()
                    if variable.default_value is not None
                } | dict(variables)

    def fields(self, chosen: SelectionSetNode | None, *names: str) -> Iterator[FieldNode]:
        """Yield the fields of these names, those in fragments included; fragments of a valid document end."""
        for node in chosen.selections if chosen else ():
            if isinstance(node, FieldNode):
                if node.name.value in names:
                    yield node
            elif isinstance(node, InlineFragmentNode):
                yield from self.fields(node.selection_set, *names)
            elif isinstance(node, FragmentSpreadNode) and node.name.value in self._fragments:
                yield from self.fields(self._fragments[node.name.value].selection_set, *names)

    def arguments(self, node: FieldNode) -> Mapping[str, Any]:
        """Return the arguments of a field by name, without those whose variable has no value."""
        values = {
            argument.name.value: value_from_ast_untyped(argument.value, self._variables)
            for argument in node.arguments or ()
        }
        return {name: value for name, value in values.items() if value is not None}


def _is_named(definition: OperationDefinitionNode, operation: str | None) -> bool:
    return operation is None or (definition.name is not None and definition.name.value == operation)
