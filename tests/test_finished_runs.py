"""A vendor whose answer is the result: what came is in the store before anything else, so nothing paid for is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask

from novai_web import failpoints
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.failpoints import Fault
from novai_web.jobs import cleaning
from novai_web.jobs.reconciling import reconcile
from novai_web.jobs.waiting import Waiting
from novai_web.sandbox import started
from novai_web.vendors import File, KeyRejected, OutOfMoney, Refused, VendorFailed, menu
from tests.till import Till

LATER = 400  # seconds: longer than the longest POST and half a lease


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0.1") as url:
        yield url


@pytest.fixture
def till(app: Flask, alice: Account, settings: Settings, sandbox: str) -> Iterator[Till]:
    yield Till(alice, settings.model_copy(update={"sandbox_url": sandbox}))
    for mount in ("gemini", "fal-queue", "fal-rest", "fal-media"):
        requests.delete(f"{sandbox}/{mount}/sandbox/faults", timeout=5)
        requests.delete(f"{sandbox}/{mount}/sandbox/requests", timeout=5)


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    failpoints.watch(tmp_path)
    yield tmp_path
    failpoints.watch(None)


def gemini(till: Till):
    return menu.gemini(till.settings)


def ask(till: Till, prompt: str = "A sheet of Anna", **more):
    return {**gemini(till).picture_request(prompt=prompt, pictures=(), aspect="1:1"), **more}


def fault(till: Till, mount: str, **what) -> None:
    url = f"{till.settings.sandbox_url}/{mount}/sandbox/faults"
    requests.post(url, json=[what], timeout=5).raise_for_status()


def posts(till: Till, mount: str = "gemini") -> int:
    asked = requests.get(f"{till.settings.sandbox_url}/{mount}/sandbox/requests", timeout=5).json()
    return sum(each["method"] == "POST" for each in asked)


def test_the_answer_is_kept_and_is_the_result_in_every_slice_after_it(till):
    assert isinstance(till.pay(gemini(till), ask(till)), Waiting)
    (run,) = till.runs()
    assert (run.state, run.model, run.is_sandbox) == ("done", "gemini-nano-banana-2.1", True)
    done = till.paid(gemini(till), ask(till))
    assert done == till.paid(gemini(till), ask(till)) and posts(till) == 1
    assert done.external_id == run.external_id and done.cost_microusd == run.cost_microusd and done.cost_microusd

    data = till.slice(lambda bench: bench.bring(gemini(till), done.files[0]).read_bytes())
    assert data.startswith(b"\x89PNG")


def test_what_was_stored_before_a_worker_died_is_found_and_not_asked_for_again(till, armed):
    failpoints.arm(armed, "submit.after_post", "raise")
    with pytest.raises(Fault):
        till.pay(gemini(till), ask(till, "first"))
    assert till.states() == ["submitting"], "the answer is lost: nothing was stored yet"
    till.age(LATER)
    assert isinstance(till.pay(gemini(till), ask(till, "first")), Waiting)
    assert till.states() == ["abandoned", "done"] and posts(till) == 2
    assert [run.booked_to_house for run in till.runs()] == [True, False], "nobody lists it, so the house has paid"


def test_an_answer_that_is_stored_is_not_paid_for_twice_when_the_database_did_not_hear_of_it(till):
    till.pay(gemini(till), ask(till))
    till.change(
        "UPDATE runs SET state = 'submitting', result = NULL, external_id = NULL, ended_at = NULL, cost_microusd = NULL"
    )
    assert till.states() == ["submitting"]
    done = till.paid(gemini(till), ask(till))
    assert till.states() == ["done"] and posts(till) == 1 and done.files and done.cost_microusd


def test_nobody_asks_again_while_the_first_answer_may_still_come(till, armed):
    failpoints.arm(armed, "submit.after_post", "raise")
    with pytest.raises(Fault):
        till.pay(gemini(till), ask(till))
    till.age(250)
    assert isinstance(till.pay(gemini(till), ask(till)), Waiting) and posts(till) == 1
    assert till.states() == ["submitting"]


def test_what_was_kept_for_a_job_goes_with_it(till):
    till.pay(gemini(till), ask(till))
    folder = f"jobs/{till.job.id}"
    assert len(list(till.store.list(folder))) == 2
    cleaning.clear_strays(till.job.id, till.store)
    assert list(till.store.list(folder)) == []


def test_a_vendor_cannot_name_a_file_of_ours_as_its_own(till):
    till.pay(gemini(till), ask(till))
    for url in ("store:assets/1/original.mp4", "store:jobs/999999/run-1-0.bin", "store:../secret_key"):
        with pytest.raises(VendorFailed):
            till.slice(lambda bench, url=url: bench.bring(gemini(till), File(url, "a", "")))


@pytest.mark.parametrize(
    ("words", "error", "state", "is_booked", "code"),
    [
        ("[sandbox:refuse]", Refused, "failed", False, "vendor_refused"),
        ("[sandbox:words]", VendorFailed, "failed", True, "vendor_failed"),
    ],
)
def test_a_no_is_final_and_charged_to_nobody_but_the_house(till, words, error, state, is_booked, code):
    for _ in range(2):
        with pytest.raises(error, match="You were not charged"):
            till.pay(gemini(till), ask(till, words))
    (run,) = till.runs()
    assert (run.state, run.booked_to_house, posts(till)) == (state, is_booked, 1)
    assert till.errors() == [code]


# Keys and money


@pytest.mark.parametrize(
    ("key", "error", "code"),
    [("wrong:key-of-ours", KeyRejected, "vendor_key"), ("poor:key-of-ours", OutOfMoney, "vendor_money")],
)
@pytest.mark.parametrize("vendor", ["fal", "gemini"])
def test_a_key_that_is_wrong_or_poor_ends_it_in_plain_words_and_no_run_is_left_open(till, vendor, key, error, code):
    known = Settings(_env_file=None, fal_key=key, gemini_key=key)
    sandbox = till.settings.sandbox_url
    till.settings = till.settings.model_copy(
        update={
            "fal_key": known.fal_key,
            "gemini_key": known.gemini_key,
            "fal_queue_url": f"{sandbox}/fal-queue",
            "gemini_url": f"{sandbox}/gemini",
        }
    )
    client = menu.gemini(till.settings) if vendor == "gemini" else menu.fal("pictures", till.settings)
    request = ask(till) if vendor == "gemini" else {"model": till.settings.fal_picture_model, "input": {"prompt": "a"}}
    with pytest.raises(error, match="administrator") as said:
        till.pay(client, request)
    assert key not in str(said.value) and "You were not charged." in str(said.value)
    assert till.states() == ["not_started"] and till.errors() == [code]
    assert not till.runs()[0].is_sandbox


def test_a_key_that_is_rejected_in_the_middle_of_a_run_loses_nothing(till):
    client = menu.fal("pictures", till.settings)
    request = {"model": till.settings.fal_picture_model, "input": {"prompt": "a cat"}}
    till.pay(client, request)
    body = '{"detail": "No user found for Key ID and Secret"}'
    fault(till, "fal-queue", fault="status", status=401, body=body, method="GET", times=2)
    assert isinstance(till.pay(client, request), Waiting) and till.states() == ["running"]
    assert "vendor_key" in till.errors()
    assert till.paid(client, request).files and till.states() == ["done"]


# Tried again for nothing


def test_what_fails_at_the_vendors_side_and_is_not_billed_is_tried_three_times(till):
    client = menu.fal("pictures", till.settings)
    request = {"model": till.settings.fal_picture_model, "input": {"prompt": "[sandbox:fail]"}}
    with pytest.raises(VendorFailed, match="had an error"):
        till.paid(client, request)
    assert till.states() == ["failed"] * 3 and not any(run.booked_to_house for run in till.runs())
    with pytest.raises(VendorFailed):
        till.pay(client, request)
    assert len(till.runs()) == 3


# What it cost


def test_what_the_vendor_counts_is_what_is_written_down(till, tmp_path):
    client = menu.fal("training", till.settings)
    pictures = tmp_path / "photos.zip"
    pictures.write_bytes(b"no archive, and the sandbox says so only after it has begun")
    url = till.slice(lambda bench: bench.upload(client, pictures, mime="application/zip", name="photos.zip"))
    request = client.training_request(zip_url=url, trigger="a", steps=400, learning_rate=0.001, is_style=False)
    with pytest.raises(Refused):
        till.paid(client, request, cost_microusd=1_800_000)
    (run,) = till.runs()
    assert (run.cost_microusd, run.booked_to_house) == (1_800_000, False), "nothing is billed for a bad archive"


def test_what_nobody_says_is_what_was_expected(till):
    client = menu.fal("pictures", till.settings)
    request = {"model": till.settings.fal_picture_model, "input": {"prompt": "a cat"}}
    assert till.paid(client, request, cost_microusd=50_000).cost_microusd == 50_000
    other = {"model": till.settings.fal_picture_model, "input": {"prompt": "a dog"}}
    assert till.paid(client, other).cost_microusd is None


# Files that are handed over


def test_a_file_is_handed_over_once_and_lies_at_the_same_address_in_every_slice(till, tmp_path):
    client = menu.fal("training", till.settings)
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK" * 100_000)
    given = {"mime": "application/zip", "name": "photos.zip"}
    first = till.slice(lambda bench: bench.upload(client, path, **given))
    again = till.slice(lambda bench: bench.upload(client, path, **given))
    assert first == again and first.startswith(f"{till.settings.sandbox_url}/fal-media/files/")
    assert requests.get(first, timeout=5).content == path.read_bytes()
    assert posts(till, "fal-rest") == 1
    path.write_bytes(b"PK" * 100_001)
    assert till.slice(lambda bench: bench.upload(client, path, **given)) != first


@pytest.mark.parametrize(
    ("mount", "odd"),
    [
        ("fal-rest", {"fault": "garbled"}),
        ("fal-rest", {"fault": "status", "status": 500}),
        ("fal-rest", {"fault": "lost"}),
        ("fal-media", {"fault": "cut", "method": "PUT", "after_bytes": 1000}),
        ("fal-media", {"fault": "status", "status": 403, "method": "PUT"}),
    ],
    ids=str,
)
def test_a_file_that_did_not_arrive_is_sent_again_later(till, tmp_path, mount, odd):
    client = menu.fal("training", till.settings)
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK" * 100_000)
    fault(till, mount, **odd)
    given = {"mime": "application/zip", "name": "photos.zip"}
    assert isinstance(till.slice(lambda bench: bench.upload(client, path, **given)), Waiting)
    assert till.errors() == ["vendor_away"]
    url = till.slice(lambda bench: bench.upload(client, path, **given))
    assert requests.get(url, timeout=5).content == path.read_bytes()


def test_a_file_that_never_comes_is_waited_for_an_hour_and_no_longer(till):
    client = menu.fal("pictures", till.settings)
    request = {"model": till.settings.fal_picture_model, "input": {"prompt": "a cat"}}
    done = till.paid(client, request)
    fault(till, "fal-media", fault="status", status=500, times=3)
    assert isinstance(till.slice(lambda bench: bench.bring(client, done.files[0])), Waiting)
    till.age(3700)
    with pytest.raises(VendorFailed, match="never came"):
        till.slice(lambda bench: bench.bring(client, done.files[0]))


# Housekeeping


def test_a_run_that_nobody_lists_and_whose_job_is_over_is_the_houses_cost_within_ten_minutes(till):
    fault(till, "gemini", fault="lost", method="POST")
    till.pay(gemini(till), ask(till))
    till.change("UPDATE runs SET state = 'abandoned', ended_at = now() WHERE job_id = :job")
    reconcile(till.settings)
    assert [run.booked_to_house for run in till.runs()] == [False]
    till.age(301)
    reconcile(till.settings)
    assert [(run.state, run.booked_to_house) for run in till.runs()] == [("abandoned", True)]
    till.age(24 * 3600)
    reconcile(till.settings)
    assert [(run.state, run.booked_to_house) for run in till.runs()] == [("failed", True)]


def test_the_newest_fifty_errors_of_a_vendor_are_kept_and_no_key_is_in_them(till):
    from novai_web.jobs.complaints import KEPT, complain, newest

    settings = Settings(_env_file=None, fal_key="abcdefgh1234:zyxwvuts9876")
    for n in range(KEPT + 5):
        complain("fal", "vendor_key", f"{n} Bad key abcdefgh1234:zyxwvuts9876, or zyxwvuts9876\nalone", None, settings)
    complain("gemini", "vendor_busy", "x" * 5000, None, settings)
    kept = newest("fal", 100)
    assert len(kept) == KEPT and kept[0].words == f"{KEPT + 4} Bad key …, or … alone"
    assert len(newest("gemini")) == 1 and len(newest("gemini")[0].words) == 300
