"""Collections: named sets of assets of one kind."""

import pytest

from novai_web.library import collections
from novai_web.library.assets import Library
from tests import things


def add(client, who, name="Summer", kind="video"):
    return client.post("/api/v1/collections", json={"name": name, "kind": kind}, headers=who)


def test_a_collection_is_made_renamed_and_deleted_and_its_assets_stay(client, alice, as_alice, settings):
    made = add(client, as_alice).json
    asset = things.put(alice, settings, collection_id=made["id"])
    where = f"/api/v1/collections/{made['id']}"
    assert client.get(where, headers=as_alice).json["count"] == 1
    assert client.patch(where, json={"name": "Winter"}, headers=as_alice).json["name"] == "Winter"
    assert client.delete(where, headers=as_alice).status_code == 204
    assert client.get(where, headers=as_alice).status_code == 404
    assert client.get(f"/api/v1/videos/{asset.id}", headers=as_alice).json["collection_id"] is None


def test_a_name_is_taken_once_for_each_kind_whatever_its_case(client, as_alice):
    assert add(client, as_alice).status_code == 201
    answer = add(client, as_alice, "SUMMER")
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "name"
    assert add(client, as_alice, kind="audio").status_code == 201
    other = add(client, as_alice, "Winter").json
    answer = client.patch(f"/api/v1/collections/{other['id']}", json={"name": "summer"}, headers=as_alice)
    assert answer.status_code == 422
    assert client.get(f"/api/v1/collections/{other['id']}", headers=as_alice).json["name"] == "Winter"


@pytest.mark.parametrize("name", ["", " \t", "\u202e", "x" * 81])
def test_a_name_must_be_one(client, as_alice, name):
    assert add(client, as_alice, name).json["errors"][0]["field"] == "name"


def test_a_kind_must_be_one(client, as_alice):
    assert add(client, as_alice, kind="hook").json["errors"][0]["field"] == "kind"


def test_a_shelf_counts_what_is_there_and_shows_the_newest_four(client, alice, settings, queries):
    library = Library(alice.id)
    from novai_web.db import transaction

    with transaction():
        full, empty = (collections.add(library, "video", name) for name in ("Full", "Empty"))
    assets = [things.put(alice, settings, collection_id=full.id) for _ in range(6)]
    with queries() as said:
        shelves = {shelf.collection.name: shelf for shelf in collections.shelves(library)["video"]}
    assert len(said) == 3
    assert (shelves["Full"].count, shelves["Empty"].count) == (6, 0)
    assert [cover.id for cover in shelves["Full"].covers] == [asset.id for asset in reversed(assets[2:])]
    assert empty.name == "Empty"


def test_the_list_of_a_collection_is_what_is_in_it(client, alice, as_alice, settings):
    made = add(client, as_alice).json
    inside, _ = things.put(alice, settings, collection_id=made["id"]), things.put(alice, settings)
    found = client.get(f"/api/v1/videos?collection_id={made['id']}", headers=as_alice).json["items"]
    assert [item["id"] for item in found] == [inside.id]
