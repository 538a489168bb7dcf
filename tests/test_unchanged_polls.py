"""Polls that find nothing new: answered at the door, for those only who were let in, and for nobody too long."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from novai_web import accounts, jobs
from novai_web.accounts import Account
from novai_web.db import session, transaction
from novai_web.pages import unchanged
from novai_web.tools import echo
from novai_web.web import limits

ENDED = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND usename = current_user AND datname = current_database()"""


class Watching:
    """A browser that is signed in and watches the cards of one job."""

    def __init__(self, client: FlaskClient, job_id: int) -> None:
        self.client, self.url, self.tag = client, f"/jobs/cards?ids={job_id}", ""

    def poll(self) -> int:
        session.remove()
        answer = self.client.get(self.url, headers={"HX-PTag": self.tag} if self.tag else {})
        self.tag = answer.headers.get("HX-PTag", self.tag)
        return answer.status_code


@pytest.fixture
def watching(app, settings, alice, sign_in) -> Watching:
    with transaction():
        (job,) = jobs.submit(alice, echo.tool, {"copies": 1}, settings).jobs
    client = app.test_client()
    sign_in(client, alice)
    found = Watching(client, job.id)
    assert found.poll() == 200
    return found


def test_a_poll_that_finds_nothing_new_asks_one_thing_and_nobody_else_hears_of_it(
    watching, queries: Callable[[], AbstractContextManager[list[str]]]
):
    assert watching.poll() == 304
    with queries() as said:
        assert watching.poll() == 304
    assert said == []


def test_the_door_and_the_page_agree_about_what_is_new(watching, monkeypatch):
    monkeypatch.setattr(unchanged, "POLLS_A_MINUTE_MAX", 0)
    assert watching.poll() == 304


def test_any_change_of_a_job_is_told_at_the_next_poll(watching, work):
    work()
    assert watching.poll() == 200 and watching.poll() == 304


def test_a_new_job_of_ones_own_changes_the_count_and_a_strangers_does_not(watching, alice, bob, settings):
    with transaction():
        jobs.submit(bob, echo.tool, {"copies": 1}, settings)
    assert watching.poll() == 304
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings)
    assert watching.poll() == 200


def test_a_stranger_with_the_tag_of_a_page_hears_nothing_of_it(app, watching, bob, sign_in):
    client = app.test_client()
    sign_in(client, bob)
    answer = client.get(watching.url, headers={"HX-PTag": watching.tag})
    assert answer.status_code == 200 and "<article" not in answer.text


def signed_out_everywhere(alice: Account) -> None:
    accounts.sign_out_everywhere(alice)


def disabled(alice: Account) -> None:
    session.execute(text("UPDATE accounts SET disabled_at = now() WHERE id = :id"), {"id": alice.id})


@pytest.mark.parametrize("ended", [signed_out_everywhere, disabled])
def test_whose_session_has_ended_is_no_longer_told_that_nothing_is_new(watching, alice, ended):
    with transaction():
        ended(alice)
    assert watching.poll() == 303


@pytest.mark.parametrize("cookie", ["", "novai=nonsense", "novai=eyJfdXNlcl9pZCI6IjEuMSJ9.aSC2Zw.forged"])
def test_a_cookie_that_we_did_not_sign_is_nobodys(app, watching, cookie):
    answer = app.test_client(use_cookies=False).get(watching.url, headers={"HX-PTag": watching.tag, "Cookie": cookie})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "ids", ["", "ids=", "ids=x,y", "ids=" + ",".join(["9" * 18] * 5000), "ids=1&ids=2", "a=&" * 50]
)
def test_odd_questions_are_answered_as_the_page_answers_them(watching, ids):
    answer = watching.client.get(f"/jobs/cards?{ids}", headers={"HX-PTag": watching.tag})
    assert answer.status_code == 200


def test_a_connection_that_the_database_has_ended_is_made_anew(watching, database: Engine):
    assert watching.poll() == 304
    with database.begin() as connection:
        connection.execute(text(ENDED))
    assert [watching.poll() for _ in range(3)][1:] == [304, 304]


def test_who_polls_without_end_is_counted_and_told_to_wait(watching, monkeypatch):
    monkeypatch.setattr(unchanged, "POLLS_A_MINUTE_MAX", 1)
    monkeypatch.setattr(limits.limiter, "enabled", True)
    statuses = [watching.poll() for _ in range(130)]
    assert statuses[0] == 304 and statuses[-1] == 429
