"""Hooks: written one by one, pasted by the thousand, carried in and out as CSV."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from novai_web.db import transaction
from novai_web.errors import InvalidInput
from novai_web.library import hooks, spreadsheets, trash
from novai_web.library.assets import Library


@pytest.fixture
def alices(alice) -> Library:
    return Library(alice.id)


def added(library: Library, *texts: str, category: str = ""):
    with transaction():
        return hooks.add(library, texts, category).hooks


def test_many_are_added_at_once_in_their_order(client, as_alice):
    texts = [
        "Wait for it…",
        "POV: you’re late 😅",
        "انتظر حتى النهاية",
        "等一下",
        "👩‍👩‍👧‍👦 family",
        "🫨 newer than Python",
    ]
    answer = client.post("/api/v1/hooks/bulk", json={"texts": texts, "category": "Openers"}, headers=as_alice)
    assert answer.status_code == 201
    assert [item["text"] for item in answer.json["items"]] == texts
    assert {item["category"] for item in answer.json["items"]} == {"Openers"}
    assert answer.json["added"] == 6 and answer.json["existing"] == 0


def test_what_is_there_already_is_found_and_counted_not_doubled(client, as_alice):
    first = client.post("/api/v1/hooks/bulk", json={"texts": ["a", "b", "a", "  ", "b "]}, headers=as_alice).json
    assert [item["text"] for item in first["items"]] == ["a", "b"]
    again = client.post("/api/v1/hooks/bulk", json={"texts": ["b", "c"]}, headers=as_alice).json
    assert (again["added"], again["existing"]) == (1, 1) and again["items"][0]["id"] == first["items"][1]["id"]
    other = client.post("/api/v1/hooks/bulk", json={"texts": ["b"], "category": "X"}, headers=as_alice).json
    assert other["added"] == 1


def test_ten_thousand_are_taken_and_one_more_is_refused_by_name(client, as_alice):
    texts = [f"Hook number {n}" for n in range(10_001)]
    answer = client.post("/api/v1/hooks/bulk", json={"texts": texts}, headers=as_alice)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "texts"
    assert "10,000" in answer.json["errors"][0]["message"]
    answer = client.post("/api/v1/hooks/bulk", json={"texts": texts[:-1]}, headers=as_alice)
    assert answer.status_code == 201 and answer.json["added"] == 10_000 and len(answer.json["items"]) == 10_000


def test_a_text_of_500_characters_is_taken_and_501_is_refused(client, as_alice):
    assert client.post("/api/v1/hooks", json={"text": "é" * 500}, headers=as_alice).status_code == 201
    answer = client.post("/api/v1/hooks", json={"text": "é" * 501}, headers=as_alice)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "text" and "500" in answer.text
    answer = client.post("/api/v1/hooks/bulk", json={"texts": ["fine", "é" * 501]}, headers=as_alice)
    assert answer.json["errors"][0]["field"] == "texts" and "Hook 2" in answer.text


@pytest.mark.parametrize(
    "body", [{"texts": []}, {"texts": ["", " \n"]}, {"texts": "one"}, {"texts": [1]}, {}, {"texts": ["a"], "price": 1}]
)
def test_a_wrong_body_names_its_field(client, as_alice, body):
    answer = client.post("/api/v1/hooks/bulk", json=body, headers=as_alice)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] in ("texts", "price")


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b",
        "\ud800 alone",
        "x\u0007y",
        "tab\tand\rreturn",
        "drawtext=textfile=/etc/passwd:%{pts}",
        "{{7*7}}<script>alert(1)</script>",
    ],
)
def test_hostile_texts_are_kept_as_harmless_words(client, as_alice, text):
    import json

    answer = client.post(
        "/api/v1/hooks", data=json.dumps({"text": text}), content_type="application/json", headers=as_alice
    )
    assert answer.status_code == 201
    assert not set("\0\r\t\u0007") & set(answer.json["text"])


def test_a_hook_is_edited_but_never_into_one_that_is_there(client, as_alice):
    first, second = client.post("/api/v1/hooks/bulk", json={"texts": ["one", "two"]}, headers=as_alice).json["items"]
    where = f"/api/v1/hooks/{first['id']}"
    assert (
        client.patch(where, json={"text": "eins\nzwei", "category": "X"}, headers=as_alice).json["text"] == "eins\nzwei"
    )
    assert client.patch(where, json={"text": "two", "category": ""}, headers=as_alice).status_code == 422
    assert client.patch(where, json={"text": " "}, headers=as_alice).status_code == 422
    assert client.get(where, headers=as_alice).json["text"] == "eins\nzwei"
    assert second["text"] == "two"


def test_hooks_are_searched_by_words_and_listed_by_category(client, as_alice):
    client.post(
        "/api/v1/hooks/bulk", json={"texts": ["Big sale 100%", "big news", "small"], "category": "A"}, headers=as_alice
    )
    client.post("/api/v1/hooks/bulk", json={"texts": ["big other"]}, headers=as_alice)

    def texts(query: str) -> list[str]:
        return [item["text"] for item in client.get(f"/api/v1/hooks?{query}", headers=as_alice).json["items"]]

    assert texts("q=BIG&sort=name") == ["big news", "big other", "Big sale 100%"]
    assert texts("category=A&sort=oldest") == ["Big sale 100%", "big news", "small"]
    assert texts("q=0%25") == ["Big sale 100%"] and texts("q=%25%25") == []
    found = client.get("/api/v1/hooks/categories", headers=as_alice).json["items"]
    assert found == [{"name": "", "count": 1}, {"name": "A", "count": 3}]


def test_pages_of_hooks_miss_none_and_repeat_none(client, as_alice):
    client.post("/api/v1/hooks/bulk", json={"texts": [f"h{n}" for n in range(25)]}, headers=as_alice)
    for sort in ("newest", "oldest", "name"):
        seen, cursor = [], ""
        while cursor is not None:
            page = client.get(f"/api/v1/hooks?sort={sort}&limit=10&cursor={cursor}", headers=as_alice).json
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert len(seen) == 25 == len(set(seen))


def test_renaming_a_category_into_another_makes_them_one(alices):
    kept, double = added(alices, "same", category="New")[0], added(alices, "same", "other", category="Old")[0]
    with transaction():
        assert hooks.rename_category(alices, "Old", "New") == 2
    assert dict(hooks.categories(alices)) == {"New": 2}
    assert kept.id in alices.find_hooks([kept.id]) and double.id not in alices.find_hooks([double.id])
    assert [hook.text for hook in trash.listed_hooks(alices)] == ["same"]


def test_gathering_doubles_from_many_categories_keeps_the_oldest(alices):
    first = added(alices, "same", category="A")[0]
    added(alices, "same", category="B")
    with transaction():
        hooks.categorise(alices, hooks.Filter().of(alices), "C")
    assert [hook.id for hook in hooks.listed(alices, hooks.Filter(category="C")).items] == [first.id]


def test_restoring_a_hook_that_was_written_again_does_not_double_it(alices):
    old = added(alices, "same")[0]
    with transaction():
        trash.throw_away_hooks(alices, hooks.chosen(alices, [old.id]))
    new = added(alices, "same")[0]
    assert new.id != old.id
    with transaction():
        assert trash.restore_hooks(alices, ids=[old.id]) == 1
    assert hooks.listed(alices, hooks.Filter()).total == 1 and trash.listed_hooks(alices) == []


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "＝1",
    "＋1",
    "－1",
    "＠x",
    "'=1",
    "''=1",
    " =1",
    "'plain",
    "- dash",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_spreadsheet_runs_what_is_exported(text):
    cell = spreadsheets.safe_cell(text)
    assert cell[0] not in "=+-@\t\r\0＝＋－＠" and spreadsheets.read_cell(cell) == text


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=30))
@hypothesis_settings(max_examples=300, deadline=None)
def test_guarding_a_cell_can_always_be_undone(text):
    assert spreadsheets.read_cell(spreadsheets.safe_cell(text)) == text
    assert spreadsheets.safe_cell(text).lstrip()[:1] not in tuple("=+-@＝＋－＠")


def test_what_is_exported_comes_back_the_same(client, as_alice, bob, bearer):
    texts = ["=SUM(A1)", "'quoted'", 'with "quotes", and commas', "two\nlines", "👋🏽", "-5 %"]
    client.post("/api/v1/hooks/bulk", json={"texts": texts, "category": "=evil"}, headers=as_alice)
    sheet = client.get("/api/v1/hooks/csv", headers=as_alice)
    assert sheet.mimetype == "text/csv" and sheet.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(sheet.data.decode("utf-8-sig"), newline="")))
    assert rows[0] == ["text", "category"] and rows[1] == ["'=SUM(A1)", "'=evil"]
    answer = client.post("/api/v1/hooks/csv", data=sheet.data, content_type="text/csv", headers=bearer(bob))
    assert answer.status_code == 201
    assert [(item["text"], item["category"]) for item in answer.json["items"]] == [(text, "=evil") for text in texts]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"one\ntwo\n", [("one", ""), ("two", "")]),
        (b"one,A\ntwo,B\n", [("one", "A"), ("two", "B")]),
        (b"Category,Text\r\nA,one\r\nB,two\r\n", [("one", "A"), ("two", "B")]),
        ("text;category\nfünf;A\n".encode(), [("fünf", "A")]),
        ("text\tcategory\nfünf\tA\n".encode("utf-16"), [("fünf", "A")]),
        (b'id,hook,likes\n1,"two\nlines",5\n,,\n', [("two\nlines", "")]),
    ],
)
def test_csv_as_people_have_it_is_understood(alices, content, found):
    with transaction():
        got = spreadsheets.load(alices, content)
    assert [(hook.text, hook.category) for hook in got.hooks] == found


def test_a_wrong_csv_says_which_lines_and_adds_nothing(client, as_alice):
    content = "text,category\nfine,A\n" + "x" * 501 + ",A\nfine too," + "c" * 61 + "\n"
    answer = client.post("/api/v1/hooks/csv", data={"file": (io.BytesIO(content.encode()), "h.csv")}, headers=as_alice)
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json["errors"]} == {"line 3", "line 4"}
    assert client.get("/api/v1/hooks", headers=as_alice).json["total"] == 0


@pytest.mark.parametrize(
    "content", [b"", b"text,category\n", b"\xff\xfa\x00\x01 not text", b"\x89PNG\r\n\x1a\n\0\0\0", b"a\0b"]
)
def test_what_is_no_csv_is_refused_in_words(alices, content):
    with pytest.raises(InvalidInput) as refused, transaction():
        spreadsheets.load(alices, content)
    assert set(refused.value.fields) == {"file"}
