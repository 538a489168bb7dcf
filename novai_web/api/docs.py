"""The API for people: one page, drawn from the same description that machines read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from novai_web.api.openapi import PREFIX, document
from novai_web.db import Json
from novai_web.errors import NovaiError
from novai_web.web import limits

blueprint = Blueprint("api_docs", __name__)


@dataclass(frozen=True)
class Row:
    """One field of a body, an answer or a query."""

    name: str
    type: str
    is_required: bool
    about: str
    default: Any


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    about: str
    is_public: bool
    parameters: list[Row]
    takes: list[Row]
    gives: list[Row]
    status: str


@blueprint.get("/api/docs")
@limits.reads
def page() -> ResponseReturnValue:
    groups: dict[str, list[Operation]] = {}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    about = document()["info"]["description"].split("\n\n")
    return render_template("docs/api.html", about=about, groups=groups, problems=_problems(), prefix=PREFIX)


def _operation(method: str, path: str, operation: Json) -> Operation:
    status, answer = next(iter(operation["responses"].items()))
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        about=operation.get("description", ""),
        is_public=not operation["security"],
        parameters=[_parameter(each) for each in operation["parameters"]],
        takes=_rows(operation.get("requestBody", {})),
        gives=_rows(answer),
        status=status,
    )


def _parameter(parameter: Json) -> Row:
    schema = parameter["schema"]
    return Row(parameter["name"], words(schema), parameter["required"], _about(schema), schema.get("default"))


def _rows(part: Json) -> list[Row]:
    described: Json = next(iter(part.get("content", {}).values()), {})
    schema = _resolved(described.get("schema", {}))
    required = schema.get("required", [])
    return [
        Row(name, words(field), name in required, _about(field), field.get("default"))
        for name, field in schema.get("properties", {}).items()
    ]


def _about(schema: Json) -> str:
    return str(schema.get("description", ""))


def words(schema: Json) -> str:
    """The type of a field as a person says it: "integer or null", "list of string", "one of a, b"."""
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(words(each) for each in schema["anyOf"]))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return words(_resolved(schema)) if "enum" in _resolved(schema) else str(name)
    if schema.get("type") == "array":
        return f"list of {words(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _resolved(schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _problems() -> list[type[NovaiError]]:
    """Every error that has a code of its own, by status."""
    found = {kind.code: kind for kind in _kinds(NovaiError)}
    return sorted(found.values(), key=lambda kind: (kind.status, kind.code))


def _kinds(kind: type[NovaiError]) -> Iterator[type[NovaiError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)
