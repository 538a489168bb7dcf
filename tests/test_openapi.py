"""The API describes itself, completely and correctly, for machines and for people."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from novai_web.api.door import ENDPOINTS
from novai_web.tools import TOOLS


@pytest.fixture
def description(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def operations(description: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in description["paths"].values() for operation in methods.values()]


def test_the_description_is_valid(description: dict[str, Any]) -> None:
    assert description["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(description).validate()


def test_every_route_of_the_api_is_described(app: Flask, description: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1")), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and rule.endpoint != "api_description.description"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, methods in description["paths"].items() for method in methods}
    of_tools = {(path, method) for path, method in described if any(f"/{tool.slug}/" in path for tool in TOOLS)}
    assert described - of_tools == served


def test_every_operation_says_what_it_does_under_a_name_of_its_own(description: dict[str, Any]) -> None:
    found = operations(description)
    assert all(operation["summary"] for operation in found)
    names = [operation["operationId"] for operation in found]
    assert len(names) == len(set(names))


def test_every_tool_is_described_with_its_own_input(description: dict[str, Any]) -> None:
    for tool in TOOLS:
        body = description["paths"][f"/tools/{tool.slug}/jobs"]["post"]["requestBody"]
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert set(description["components"]["schemas"][name]["properties"]) == set(tool.input.model_fields)


def test_a_file_is_sent_as_a_form(description: dict[str, Any]) -> None:
    for plural in ("videos", "audios", "images"):
        body = description["paths"][f"/{plural}"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert body["required"] == ["file"]
        assert set(body["properties"]) == {"file", "name", "collection_id", "sha256"}


def test_what_needs_no_sign_in_says_so_and_nothing_else_does(description: dict[str, Any]) -> None:
    public = {operation["operationId"] for operation in operations(description) if not operation["security"]}
    assert len(public) == len([endpoint for endpoint in ENDPOINTS if endpoint.public])
    assert {"post_auth_login", "post_auth_register", "post_auth_refresh_token", "post_auth_logout"} <= public


def test_the_docs_show_every_operation_and_every_error(client: FlaskClient, description: dict[str, Any]) -> None:
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    for operation in operations(description):
        assert f'id="{operation["operationId"]}"' in answer.text
    for code in ("not_found", "invalid_input", "too_many_requests", "wrong_sign_in"):
        assert f'id="error-{code}"' in answer.text
    assert "style=" not in answer.text and "<script>" not in answer.text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text), "nothing comes from elsewhere"
