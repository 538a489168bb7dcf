"""The API's description of itself (OpenAPI 3.1), written from the endpoints and the tools as they are declared."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from http import HTTPStatus
from typing import Literal

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from novai_web import __version__
from novai_web.api.door import ENDPOINTS, Endpoint, Shape
from novai_web.db import Json
from novai_web.tools import TOOLS, Tool
from novai_web.web import limits

blueprint = Blueprint("api_description", __name__)

PREFIX = "/api/v1"
REF = "#/components/schemas/{model}"
URL_PART = re.compile(r"<(?:(?P<type>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>")
URL_TYPES = {"int": {"type": "integer", "minimum": 0}, "uuid": {"type": "string", "format": "uuid"}}
SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}, {"session": [], "csrf": []}]

ABOUT = """\
Everything the pages do, with the same rules and the same errors.

Sign in with `POST /auth/login`, send the access token as `Authorization: Bearer …`, and exchange the refresh
token for new ones before the access token expires. A POST that starts or spends something honours
`Idempotency-Key`: repeat it with the same key and the same answer comes back, and nothing is done twice. One that
starts a tool honours `Credits-Max` too: what costs more credits than that is refused with 409."""

Mode = Literal["validation", "serialization"]


class WrongField(Shape):
    field: str = Field(description="The name of the field, or `form` for what concerns the whole.")
    message: str


class Problem(Shape):
    """What went wrong, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    code: str = Field(description="What to decide by; the words may change.")
    detail: str = Field(description="A sentence for people: what happened, and what to do.")
    errors: list[WrongField]
    request_id: str | None


@blueprint.get(f"{PREFIX}/openapi.json")
@limits.reads
def description() -> ResponseReturnValue:
    return jsonify(document())


@cache
def document() -> Json:
    """The whole description. The endpoints do not change while the process lives."""
    schemas = _Schemas()
    paths: dict[str, Json] = {}
    for endpoint in ENDPOINTS:
        for path, tool in _paths(endpoint):
            paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, path, tool, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "NOVAI", "version": __version__, "description": ABOUT},
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "responses": {"Problem": _problem()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "session": {"type": "apiKey", "in": "cookie", "name": "novai", "description": "A browser's session."},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken", "description": "For what changes."},
            },
        },
    }


def _paths(endpoint: Endpoint) -> Iterator[tuple[str, Tool | None]]:
    """The path of an endpoint; and if it is given any tool's input, one more for each tool, with that input."""
    path = URL_PART.sub(r"{\g<name>}", endpoint.rule)
    yield path, None
    if path.startswith("/tools/{slug}/") and endpoint.takes:
        for tool in TOOLS:
            yield path.replace("{slug}", tool.slug), tool


def _operation(endpoint: Endpoint, path: str, tool: Tool | None, schemas: "_Schemas") -> Json:
    summary, _, more = " ".join((endpoint.view.__doc__ or "").split()).partition(". ")
    found: Json = {
        "operationId": "_".join([endpoint.method.lower(), *re.findall(r"\w+", path)]),
        "tags": [path.split("/")[1]],
        "summary": f"{tool.title}: {summary.rstrip('.')}" if tool else summary.rstrip("."),
        "parameters": [*_url_parts(endpoint, tool), *_query(endpoint, schemas)],
        "responses": _responses(endpoint, schemas),
        "security": [] if endpoint.public else SIGNED_IN,
    }
    if more or tool:
        found["description"] = " ".join(part for part in (tool.about if tool else "", more) if part)
    if endpoint.takes:
        takes = tool.input if tool else endpoint.takes
        found["requestBody"] = {"required": True, "content": _json(schemas.of(takes, "validation"))}
    if endpoint.form:
        form = {"schema": _form(schemas.inline(endpoint.form))}
        found["requestBody"] = {"required": True, "content": {"multipart/form-data": form}}
    return found


def _form(fields: Json) -> Json:
    """A file and the fields that may go with it."""
    file = {"type": "string", "contentMediaType": "application/octet-stream", "description": "The file itself."}
    return {"type": "object", "required": ["file"], "properties": {"file": file, **fields["properties"]}}


def _url_parts(endpoint: Endpoint, tool: Tool | None) -> Iterator[Json]:
    for part in URL_PART.finditer(endpoint.rule):
        if not (tool and part["name"] == "slug"):
            schema = URL_TYPES.get(part["type"] or "", {"type": "string"})
            yield {"name": part["name"], "in": "path", "required": True, "schema": schema}


def _query(endpoint: Endpoint, schemas: "_Schemas") -> Iterator[Json]:
    if endpoint.asks is None:
        return
    asked = schemas.inline(endpoint.asks)
    for name, schema in asked.get("properties", {}).items():
        said = {"description": schema["description"]} if "description" in schema else {}
        yield {"name": name, "in": "query", "required": name in asked.get("required", []), "schema": schema, **said}


def _responses(endpoint: Endpoint, schemas: "_Schemas") -> Json:
    good: Json = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.gives:
        good["content"] = _json(schemas.of(endpoint.gives, "serialization"))
    elif endpoint.media_type != "application/json":
        good["content"] = {endpoint.media_type: {}}
    problem = {"$ref": "#/components/responses/Problem"}
    bad = [429]
    bad += [] if endpoint.public else [401]
    bad += [404] if "<" in endpoint.rule else []
    bad += [422] if endpoint.takes or endpoint.asks or endpoint.form else []
    return {str(endpoint.status): good, **{str(status): problem for status in sorted(bad)}, "default": problem}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _problem() -> Json:
    schema = {"$ref": REF.format(model="Problem")}
    return {"description": "It did not work.", "content": {"application/problem+json": {"schema": schema}}}


class _Schemas:
    """All models that the API speaks, each described once under a name of its own."""

    def __init__(self) -> None:
        models = _models()
        self._refs, whole = models_json_schema(models, ref_template=REF)
        self._all: Json = whole["$defs"]

    def of(self, model: type[BaseModel], mode: Mode) -> Json:
        return self._refs[model, mode]

    def inline(self, model: type[BaseModel]) -> Json:
        found: Json = self._all[self._name(model)]
        return found

    def all(self) -> Json:
        inlined = {self._name(model) for each in ENDPOINTS for model in (each.asks, each.form) if model}
        return {name: schema for name, schema in self._all.items() if name not in inlined}

    def _name(self, model: type[BaseModel]) -> str:
        return str(self._refs[model, "validation"]["$ref"].rpartition("/")[2])


def _models() -> Sequence[tuple[type[BaseModel], Mode]]:
    found: dict[tuple[type[BaseModel], Mode], None] = {(Problem, "serialization"): None}
    for endpoint in ENDPOINTS:
        for model in (endpoint.takes, endpoint.asks, endpoint.form):
            if model:
                found[model, "validation"] = None
        if endpoint.gives:
            found[endpoint.gives, "serialization"] = None
    for tool in TOOLS:
        found[tool.input, "validation"] = None
    return list(found)
