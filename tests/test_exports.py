"""Entries as CSV: all of them, in pieces, only one's own, and nothing that a spreadsheet would run."""

import csv
import io
from collections.abc import Callable
from datetime import datetime

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web import credits, jobs
from novai_web.accounts import Account
from novai_web.credits import exporting
from novai_web.db import db, session, transaction
from novai_web.library.spreadsheets import read_cell
from novai_web.tools import echo

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", "  =1", "'=1",
    '=HYPERLINK("http://evil.example","x")', "=cmd|'/C calc'!A0",
]  # fmt: skip


@pytest.fixture
def page(client: FlaskClient, alice: Account, sign_in: Callable[..., None]) -> FlaskClient:
    sign_in(client, alice)
    return client


def rows(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.status_code == 200 and answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == "attachment; filename=credits.csv"
    said = answer.data.decode()
    assert said.startswith("\ufeff"), "Excel takes it for UTF-8 only with this mark"
    return list(csv.DictReader(io.StringIO(said[1:], newline="")))


def put(account: Account, at: str, note: str | None = None, by: Account | None = None, count: int = 1) -> None:
    """Entries of a moment of our choosing; the wallet says the same."""
    columns = "account_id, kind, delta_available, delta_held, delta_spent, key, at, note, by_id"
    with transaction():
        session.execute(
            text(f"INSERT INTO entries ({columns}) SELECT :id, 'grant', 1, 0, 0, gen_random_uuid(), :at,"
                 " CAST(:note AS text), CAST(:by AS bigint)"
                 " FROM generate_series(1, :count)"),
            {"id": account.id, "at": datetime.fromisoformat(at), "note": note, "by": by.id if by else None,
             "count": count},
        )  # fmt: skip
        session.execute(
            text("UPDATE wallets SET available = available + :count WHERE account_id = :id"),
            {"id": account.id, "count": count},
        )


def test_ones_own_entries_are_exported_with_their_sentences_and_numbers(page, alice, bob, work, settings):
    with transaction():
        (job,) = jobs.submit(alice, echo.tool, {"copies": 4, "credits": 5, "lost": [1]}, settings).jobs
        jobs.submit(bob, echo.tool, {"copies": 1, "credits": 9}, settings)
    work()
    found = rows(page.get("/credits/entries.csv"))
    assert list(found[0]) == list(exporting.COLUMNS)
    assert [(row["kind"], row["available"], row["held"], row["spent"]) for row in found] == [
        ("grant", "1000", "0", "0"), ("reserve", "-20", "20", "0"), ("capture", "0", "-15", "15"),
        ("release", "5", "-5", "0"),
    ]  # fmt: skip
    assert (found[2]["job"], found[2]["batch"], found[2]["tool"]) == (str(job.id), str(job.batch_id), "echo")
    assert found[2]["explanation"] == "Charged for “Echo”: 3 of 4 results delivered."
    assert datetime.fromisoformat(found[0]["at"]).tzinfo
    assert sum(int(row["available"]) for row in found) == credits.balance(alice, settings).available


def test_the_api_hands_out_the_same_file(page, client, as_alice):
    assert client.get("/api/v1/credits/entries.csv", headers=as_alice).data == page.get("/credits/entries.csv").data


def test_a_long_export_comes_in_pieces_of_which_none_holds_a_connection(page, alice, queries):
    put(alice, "2026-01-01T12:00+00:00", count=2 * exporting.ROWS_AT_ONCE + 5)
    session.remove()
    with queries() as said:
        answer = page.get("/credits/entries.csv")
        assert answer.is_streamed
        pieces = []
        for piece in answer.iter_encoded():
            pieces.append(piece)
            assert db.engine.pool.checkedout() == 0, "a slow download must keep nobody else from the database"
    assert len(pieces) == 4, "the names of the columns, then all the rows in three pieces"
    assert len([line for line in said if "FROM entries" in line]) == 4
    assert len(list(csv.reader(io.StringIO(b"".join(pieces).decode())))) == 1 + 1 + 2 * exporting.ROWS_AT_ONCE + 5


def test_nothing_that_somebody_wrote_is_run_by_a_spreadsheet(page, client, alice, charlie, sign_in, settings):
    for formula in FORMULAS:
        put(alice, "2026-01-01T00:00+00:00", note=formula, by=charlie)
    with transaction():
        session.get_one(Account, alice.id).name = FORMULAS[0]
        (job,) = jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, settings).jobs
        job.title = FORMULAS[-1]
    mine = rows(page.get("/credits/entries.csv"))
    sign_in(client, charlie)
    everybodys = rows(client.get("/admin/credits.csv"))
    notes = [row["note"] for row in mine if row["note"]]
    assert [read_cell(note) for note in notes] == FORMULAS
    numbers = {"entry", "available", "held", "spent", "job", "batch", "account"}
    for row in (*mine, *everybodys):
        for name, cell in row.items():
            if name not in numbers:
                assert not cell.lstrip().startswith(tuple("=+-@\t\r\n＝＋－＠")), (name, cell)
    assert {row["name"] for row in everybodys if row["e-mail"] == "alice@example.com"} == {"'=1+1"}


def test_everybodys_entries_are_exported_between_two_days_both_included(client, alice, bob, charlie, sign_in):
    for at in ("2026-03-01T23:59:59.999+00:00", "2026-03-02T00:00+00:00", "2026-03-03T12:00+00:00",
               "2026-03-04T23:59:59.999+00:00", "2026-03-05T00:00+00:00"):  # fmt: skip
        put(alice, at)
        put(bob, at, by=charlie, note="For you")
    sign_in(client, charlie)

    def days(query: str) -> list[str]:
        found = rows(client.get(f"/admin/credits.csv?{query}"))
        assert [row["at"] for row in found] == sorted(row["at"] for row in found)
        return [row["at"][8:10] for row in found if row["at"].startswith("2026-03") and row["e-mail"].startswith("bob")]

    assert days("since=2026-03-02&until=2026-03-04") == ["02", "03", "04"]
    assert days("until=2026-03-02") == ["01", "02"]
    assert days("since=2026-03-05") == ["05"]
    assert days("") == ["01", "02", "03", "04", "05"]
    assert days("since=0001-01-01&until=9999-12-31") == ["01", "02", "03", "04", "05"]
    (row, *_) = (row for row in rows(client.get("/admin/credits.csv")) if row["note"])
    assert (row["name"], row["by"], row["note"]) == ("Bob Stranger", "charlie@example.com", "For you")


def test_many_entries_of_one_moment_are_all_exported_and_once(client, alice, charlie, sign_in):
    put(alice, "2026-03-01T00:00+00:00", count=exporting.ROWS_AT_ONCE + 5)
    sign_in(client, charlie)
    found = rows(client.get("/admin/credits.csv?until=2026-03-01"))
    assert len(found) == len({row["entry"] for row in found}) == exporting.ROWS_AT_ONCE + 5


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=2026-13-01", "since=2026-02-30", "until=1%00", "since=now()"]
)
def test_a_day_that_is_none_is_said(client, charlie, sign_in, query):
    sign_in(client, charlie)
    answer = client.get(f"/admin/credits.csv?{query}")
    assert answer.status_code == 422 and "2026-11-21" in answer.text


def test_nobody_exports_anothers_entries(client, app, alice, bob, sign_in, as_bob):
    put(alice, "2026-01-01T00:00+00:00", note="Secret")
    sign_in(client, bob)
    assert client.get("/admin/credits.csv").status_code == 404
    assert b"Secret" not in client.get("/credits/entries.csv").data
    assert b"Secret" not in client.get("/api/v1/credits/entries.csv", headers=as_bob).data
    assert app.test_client().get("/credits/entries.csv").status_code == 303
    assert app.test_client().get("/api/v1/credits/entries.csv").status_code == 401
