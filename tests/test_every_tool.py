"""What every tool must do, checked for every tool there is."""

import pytest
from openapi_spec_validator import validate

from novai_web.pages import forms
from novai_web.tools import TOOLS

every_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.slug)


@pytest.fixture
def browser(client, alice, sign_in):
    sign_in(client, alice)
    return client


@every_tool
def test_it_has_a_page_with_every_field_and_stands_in_the_menu(browser, tool):
    page = browser.get(f"/tools/{tool.slug}").text
    assert tool.title in page and f'href="/tools/{tool.slug}"' in page
    for field in (each for each in forms.of(tool.input) if each.widget != "hidden"):
        assert f'name="{field.name}"' in page or f'data-picks="{field.name}"' in page, field.name


@every_tool
def test_every_input_has_a_title_and_says_what_it_is(tool):
    for name, info in tool.input.model_fields.items():
        assert info.title and info.description, name


@every_tool
def test_price_steps_and_purpose_are_in_words(tool):
    assert tool.price.__doc__ and tool.about.endswith(".") and all(step.label for step in tool.steps)


@every_tool
def test_an_empty_form_is_answered_field_by_field_and_keeps_what_was_typed(browser, tool):
    answer = browser.post(f"/tools/{tool.slug}/jobs", data={"name_template": "kept {n}"})
    assert answer.status_code == 422 and "field-error" in answer.text
    assert "kept {n}" in answer.text or "name_template" not in tool.input.model_fields


@every_tool
def test_the_form_and_the_api_refuse_the_same_thing_with_the_same_sentence(browser, client, alice, bearer, tool):
    required = [name for name, info in tool.input.model_fields.items() if info.is_required()]
    empty = {field.name: [] for field in forms.of(tool.input) if field.required and field.widget.endswith("s")}
    said = client.post(f"/api/v1/tools/{tool.slug}/jobs", json=empty, headers=bearer(alice)).json["errors"]
    assert {error["field"] for error in said} >= set(required)
    page = browser.post(f"/tools/{tool.slug}/jobs", data={}).text
    assert all(error["message"] in page for error in said if error["field"] in required)


@every_tool
def test_it_is_in_the_api_description(client, tool):
    document = client.get("/api/v1/openapi.json").json
    validate(document)
    assert {f"/tools/{tool.slug}/quote", f"/tools/{tool.slug}/jobs"} <= set(document["paths"])


@every_tool
def test_a_stranger_gets_neither_page_nor_price(client, tool):
    assert client.get(f"/tools/{tool.slug}").status_code in (303, 404)
    assert client.post(f"/api/v1/tools/{tool.slug}/quote", json={}).status_code == 401
