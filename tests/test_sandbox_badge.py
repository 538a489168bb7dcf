"""What the sandbox made says so wherever it is shown, and a tool says before it starts who will do it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from novai_web.accounts import Account
from novai_web.jobs import bills
from novai_web.tools import TOOLS, character_diagram, face_swap, variants
from tests.test_credits_pages import words

BADGE = 'data-tone="sandbox"'
MARK = "frame-mark"
PAID = [tool for tool in TOOLS if tool.engine]


@pytest.fixture
def page_of(make_app, alice: Account, sign_in) -> Callable[..., FlaskClient]:
    """`page_of(sandbox_url=…)`: a browser of Alice's at an installation with these settings."""

    def page_of(**changes: Any) -> FlaskClient:
        client: FlaskClient = make_app(**changes).test_client()
        sign_in(client, alice)
        return client

    return page_of


def test_a_job_its_result_and_its_bill_say_that_the_sandbox_made_it(page_of, studio, address, bearer, alice):
    job = studio.finish(studio.submit(character_diagram.tool, picture=studio.picture().id).jobs[0])
    (made,) = studio.made(job)
    page = page_of(sandbox_url=address)
    for where in ("/jobs", f"/jobs/{job.id}", f"/assets/{made.id}", "/images?view=list"):
        assert BADGE in page.get(where).text, where
    for where in ("/images", "/diagrams", f"/jobs/{job.id}"):
        assert MARK in page.get(where).text, where
    assert "This ran in the sandbox: no vendor made it" in words(page.get(f"/jobs/{job.id}").text)
    assert "This was made in the sandbox" in words(page.get(f"/assets/{made.id}").text)
    assert page.get(f"/api/v1/jobs/{job.id}", headers=bearer(alice)).json["is_sandbox"] is True
    assert made.recipe["vendor"]["sandbox"] is True
    (bill,) = bills.of_last_days()
    assert bill.is_sandbox and bill.charged == job.charged and bill.microusd > 0
    assert bills.total([bill]).microusd == 0, "it was paid to nobody"


def test_a_batch_of_the_sandbox_says_so_on_its_card_and_its_page(page_of, studio, address, bearer, alice):
    clips = [studio.video("One").id, studio.video("Two").id]
    made = studio.submit(
        face_swap.tool, videos=clips, face=studio.picture().id, consent=studio.consent(is_synthetic=True).id
    )
    for job in made.jobs:
        studio.finish(job)
    page = page_of(sandbox_url=address)
    for where in ("/batches", f"/batches/{made.batch.id}"):
        assert BADGE in page.get(where).text, where
    assert page.get(f"/api/v1/batches/{made.batch.id}", headers=bearer(alice)).json["is_sandbox"] is True


def test_what_was_made_here_from_what_the_sandbox_made_is_no_work_of_the_sandbox(page_of, studio, address):
    swapped = studio.submit(
        face_swap.tool,
        videos=[studio.video().id],
        face=studio.picture().id,
        consent=studio.consent(is_synthetic=True).id,
    )
    (clip,) = studio.made(studio.finish(swapped.jobs[0]))
    job = studio.finish(studio.submit(variants.tool, videos=[clip.id]).jobs[0])
    assert not job.is_sandbox and not any(made.is_sandbox for made in studio.made(job))
    assert BADGE not in page_of(sandbox_url=address).get(f"/jobs/{job.id}").text


@pytest.mark.parametrize("tool", PAID, ids=lambda tool: tool.slug)
def test_a_tool_whose_vendor_has_no_key_names_the_setting_and_works_in_the_sandbox(page_of, address, tool):
    said = words(page_of(sandbox_url=address).get(f"/tools/{tool.slug}").text)
    assert re.search(r"has no key here, so the sandbox stands in for it", said)
    assert re.search(r"An administrator can set [A-Z_]+_(API_)?KEY for the real one\.", said)


@pytest.mark.parametrize("tool", PAID, ids=lambda tool: tool.slug)
def test_without_key_and_sandbox_a_tool_says_that_nothing_can_be_started(page_of, tool):
    said = words(page_of().get(f"/tools/{tool.slug}").text)
    assert "has no key here, and there is no sandbox: nothing can be started." in said


@pytest.mark.parametrize("tool", PAID, ids=lambda tool: tool.slug)
def test_a_tool_whose_vendor_has_a_key_says_nothing_of_a_sandbox(page_of, address, tool):
    keys = dict.fromkeys(("fal_key", "gemini_key"), SecretStr("a-key:of-ours"))
    assert "sandbox" not in words(page_of(sandbox_url=address, **keys).get(f"/tools/{tool.slug}").text).lower()


def test_a_tool_that_works_here_says_nothing_of_vendors(page_of, address):
    assert "has no key here" not in page_of(sandbox_url=address).get(f"/tools/{variants.tool.slug}").text


def test_the_button_says_what_the_bill_of_a_person_will_say(page_of, studio, address):
    page = page_of(sandbox_url=address)
    given = {"picture": str(studio.picture().id), "aspect": "16:9"}
    quote = words(page.post(f"/tools/{character_diagram.tool.slug}/quote", data=given).text)
    job = studio.finish(studio.submit(character_diagram.tool, picture=int(given["picture"])).jobs[0])
    assert f"{job.charged} credits" in quote and job.charged == job.price == 6
