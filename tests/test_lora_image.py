"""LoRA Image: pictures with a model, in batches, each picture paid once and only if it is one."""

from typing import Any

import pytest
import requests

from novai_web import consents, credits, prices
from novai_web.db import session, transaction
from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.errors import InvalidInput
from novai_web.library import files, lineage
from novai_web.library.models import Asset
from novai_web.tools import lora_image
from tests.studio import Studio
from tests.things import put
from tests.weights import weights

TOOL = lora_image.tool
SLUG = TOOL.slug
UNBILLED = {"broken", "fail"}


@pytest.fixture
def model(studio: Studio):
    """`model()`: a model of two files, as if it had been trained here."""

    def trained(*, trigger: str = "ohwx", has_high: bool = True, **given: Any) -> Asset:
        made = put(
            studio.account,
            studio.settings,
            weights(1),
            **{"kind": "model", "type": "generated", "name": "Anna", "mime": "application/octet-stream", **given},
        )
        with transaction():
            made = session.merge(made)
            made.media = {"extension": ".safetensors", "trigger": trigger}
            if has_high:
                made.previews = {"high": files.key(made.id, "high", "safetensors")}
                path = studio.folder / "high"
                path.write_bytes(weights(2))
                open_store(studio.settings).put(made.previews["high"], path, "application/octet-stream")
        return made

    return trained


def test_a_batch_of_pictures_with_a_model_each_another_and_all_paid_once(studio, model):
    anna = model()
    before = credits.balance(studio.account, studio.settings).available
    made = studio.submit(TOOL, model=anna.id, prompt="a woman on a beach", count=3, seed=7, size="portrait")
    assert made.batch and len(made.jobs) == 3
    done = [studio.finish(job) for job in made.jobs]
    pictures = [studio.made(job)[0] for job in done]
    assert [(each.kind, each.type, each.width, each.height) for each in pictures] == [
        ("image", "generated", 768, 1024)
    ] * 3
    assert [each.recipe["seed"] for each in pictures] == [7, 8, 9] and len({each.sha256 for each in pictures}) == 3
    assert {each.recipe["prompt"] for each in pictures} == {"ohwx, a woman on a beach"}
    assert all(each.is_sandbox and each.expires_at is None and each.has("thumb") for each in pictures)
    assert [[found.id for _, found in lineage.made_from(studio.library, each)] for each in pictures] == [[anna.id]] * 3
    assert len(lineage.made_into(studio.library, anna)) == 3
    price = prices.credits("fal", studio.settings.fal_picture_model, 3, studio.settings)
    assert before - credits.balance(studio.account, studio.settings).available == price
    assert [len(studio.runs(job)) for job in done] == [1, 1, 1]


def test_a_model_is_sent_once_for_all_of_its_pictures(studio, model):
    anna = model()
    requests.delete(f"{studio.settings.sandbox_url}/fal-rest/sandbox/requests", timeout=5)
    for job in studio.submit(TOOL, model=anna.id, prompt="ohwx on a beach", count=3, seed=1).jobs:
        assert studio.finish(job).state == "succeeded"
    asked = requests.get(f"{studio.settings.sandbox_url}/fal-rest/sandbox/requests", timeout=5).json()
    assert sum(each["path"].endswith("/storage/upload/initiate") for each in asked) == 2  # its two files


def test_the_same_number_makes_the_same_picture_again(studio, model):
    anna = model()
    given = {"model": anna.id, "prompt": "ohwx on a beach", "seed": 11}
    first, again = (studio.made(studio.finish(studio.submit(TOOL, **given).jobs[0]))[0] for _ in range(2))
    path = [studio.folder / name for name in ("one.png", "two.png")]
    for made, target in zip((first, again), path, strict=True):
        studio.store.fetch(made.store_key, target)
    prints = ffmpeg.copies(path, studio.folder / "prints", 512, ffmpeg.Limits())
    assert prints[0].is_like(prints[1])


def test_a_batch_remembers_its_numbers_so_that_it_can_be_made_again(studio, model):
    made = studio.submit(TOOL, model=model().id, prompt="ohwx on a beach", count=2)
    assert isinstance(made.batch.input["seed"], int)
    assert {job.input["seed"] for job in made.jobs} == {made.batch.input["seed"]}


def test_the_word_that_calls_the_model_up_is_put_in_front_only_where_it_is_missing(studio, model):
    anna = model()
    for prompt, whole in (("a Ohwx woman", "a Ohwx woman"), ("a woman", "ohwx, a woman")):
        given = lora_image.PicturesInput.model_construct(model=anna, prompt=prompt)
        assert lora_image.prompt_of(given) == whole
    nobody = lora_image.PicturesInput.model_construct(model=model(trigger="", has_high=False), prompt="a woman")
    assert lora_image.prompt_of(nobody) == "a woman"


def test_a_model_of_one_file_from_elsewhere_works_too(studio, model):
    other = model(has_high=False, type="source")
    job = studio.finish(studio.submit(TOOL, model=other.id, prompt="a woman on a beach").jobs[0])
    assert job.state == "succeeded" and len(job.notes["uploads"]) == 1


def test_the_trigger_word_edited_while_it_is_painted_is_not_paid_twice(studio, model):
    anna = model(type="source")
    job = studio.until_open(studio.submit(TOOL, model=anna.id, prompt="a woman").jobs[0])
    with transaction():
        session.get_one(Asset, anna.id).media = {"extension": ".safetensors", "trigger": "other"}
    job = studio.finish(job)
    assert job.state == "succeeded" and len(studio.runs(job)) == 1


def test_a_model_whose_consent_was_revoked_is_not_used_again(studio, model):
    consent = studio.consent()
    anna = model(recipe={"consent": consents.recipe_of(consent)})
    studio.submit(TOOL, model=anna.id, prompt="a woman on a beach")
    waiting = studio.submit(TOOL, model=anna.id, prompt="a woman in a town").jobs[0]
    with transaction():
        consents.revoke(consents.find(studio.library, consent.id))
    with pytest.raises(InvalidInput) as wrong:
        studio.submit(TOOL, model=anna.id, prompt="a woman on a beach")
    assert "“Anna” was trained with was revoked" in wrong.value.fields["model"]
    waiting = studio.finish(waiting)
    assert (waiting.state, waiting.charged, studio.runs(waiting)) == ("failed", 0, [])


@pytest.mark.parametrize(
    ("wish", "code", "words"),
    [
        ("refuse", "vendor_refused", "content checker"),
        ("broken", "vendor_failed", "Internal server error"),
        ("nothing", "vendor_failed", "nothing back"),
        ("html", "tool_failed", "not a picture"),
        ("moved", "vendor_failed", ""),
        ("elsewhere", "vendor_failed", ""),
    ],
)
def test_what_goes_wrong_there_is_a_plain_sentence_and_nobody_is_charged(studio, model, wish, code, words):
    job = studio.finish(studio.submit(TOOL, model=model().id, prompt=f"a woman [sandbox:{wish}]").jobs[0])
    assert (job.state, job.error_code, job.charged) == ("failed", code, 0), job.error
    assert words in job.error and "not charged" in job.error
    # What the vendor does not bill is asked for again, what it bills never.
    assert studio.made(job) == [] and len(studio.runs(job)) == (3 if wish in UNBILLED else 1)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("prompt", {"prompt": "  \n "}),
        ("prompt", {"prompt": "x" * 2001}),
        ("count", {"count": 0}),
        ("count", {"count": 51}),
        ("size", {"size": "round"}),
        ("strength", {"strength": 2.5}),
        ("seed", {"seed": -1}),
        ("model", {"model": 999_999_999}),
    ],
)
def test_what_is_wrong_is_said_field_by_field(studio, model, field, changed):
    with pytest.raises(InvalidInput) as wrong:
        studio.submit(TOOL, **{"model": model().id, "prompt": "a woman on a beach", **changed})
    assert set(wrong.value.fields) == {field}


def test_a_picture_is_no_model_and_anothers_model_is_not_there(studio, model, bob, settings):
    picture = put(studio.account, studio.settings, kind="image", name="Portrait")
    others = put(bob, settings, kind="model", name="Secret")
    for wrong_one, said in ((picture, "is of another kind"), (others, "not in your library")):
        with pytest.raises(InvalidInput) as wrong:
            studio.submit(TOOL, model=wrong_one.id, prompt="a woman on a beach")
        assert said in wrong.value.fields["model"] and "Secret" not in wrong.value.fields["model"]


def test_the_page_takes_a_model_from_its_own_page_and_starts_a_batch(studio, model, make_app, sign_in):
    there = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    sign_in(there, studio.account)
    anna = model()
    page = there.get(f"/assets/{anna.id}").text
    assert f"/tools/{SLUG}?models={anna.id}" in page
    form = there.get(f"/tools/{SLUG}?models={anna.id}").text
    assert f'name="model" value="{anna.id}"' in form
    given = {
        "model": anna.id,
        "prompt": "a woman on a beach",
        "count": "2",
        "size": "wide",
        "strength": "1",
        "seed": "",
    }
    answer = there.post(f"/tools/{SLUG}/jobs", data=given)
    assert answer.status_code == 303 and "/batches/" in answer.headers["Location"]
