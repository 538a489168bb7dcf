"""Exactly what should be deleted is, whatever crashes on the way."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from novai_web.db import now, session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import StoreFailed
from novai_web.jobs import cleaning
from novai_web.library import editing, expiry, trash, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from tests import things


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture
def alices(alice) -> Library:
    return Library(alice.id)


def age(asset: Asset, **columns: timedelta) -> None:
    """Set a time of an asset relative to the database's clock."""
    with transaction():
        for column, offset in columns.items():
            setattr(asset, column, session.scalar(select(now() + offset)))


def ids() -> set[int]:
    session.rollback()
    return set(session.scalars(select(Asset.id)))


def test_what_is_in_the_trash_for_thirty_days_goes_and_what_is_not_stays(alice, settings):
    store = open_store(settings)
    old, young, live = (things.put(alice, settings, previews={"thumb": 1}) for _ in range(3))
    age(old, trashed_at=-timedelta(days=settings.trash_days, seconds=1))
    age(young, trashed_at=-timedelta(days=settings.trash_days - 1))
    cleaning.clean_library(store, settings)
    assert ids() == {young.id, live.id}
    assert {key.split("/")[1] for key, _ in store.list("")} == {str(young.id), str(live.id)}


def test_outputs_that_were_not_kept_expire_and_those_that_were_do_not(alice, settings):
    store = open_store(settings)
    unkept, kept, young = (things.put(alice, settings, type="variant") for _ in range(3))
    for asset in (unkept, kept):
        age(asset, expires_at=-timedelta(seconds=1))
    age(young, expires_at=timedelta(hours=1))
    with transaction():
        editing.keep(kept)
    cleaning.clean_library(store, settings)
    assert ids() == {kept.id, young.id}


@pytest.mark.parametrize("seed", range(6))
def test_a_model_agrees_with_what_was_deleted_through_crashes(alice, bob, settings, seed, monkeypatch):
    """Random assets at random ages, killed at random points: what is left is what the rule says, in rows and files."""
    chance, store = random.Random(seed), open_store(settings)
    should_stay: set[int] = set()
    for n in range(24):
        asset = things.put(chance.choice((alice, bob)), settings, previews={"thumb": 1} if n % 3 else {})
        trash_age = chance.choice((None, 0, settings.trash_days - 1, settings.trash_days + 1))
        life = chance.choice((None, -1, 1))
        if trash_age is not None:
            age(asset, trashed_at=-timedelta(days=trash_age))
        if life is not None:
            age(asset, expires_at=timedelta(hours=life))
        if not (trash_age == settings.trash_days + 1 or life == -1):
            should_stay.add(asset.id)
    for _ in range(5):
        point = chance.choice((expiry.mark, expiry.erase, expiry.forget))
        left = chance.randrange(4)

        def deadly(*given, _do=point):
            nonlocal left
            before = chance.random() < 0.5
            left -= 1
            if left < 0 and before:
                raise Killed
            done = _do(*given)
            if left < 0:
                raise Killed
            return done

        with monkeypatch.context() as at:
            at.setattr(expiry, point.__name__, deadly)
            try:
                cleaning.clean_library(store, settings)
            except Killed:
                session.remove()
        assert should_stay <= ids()
    cleaning.clean_library(store, settings)
    assert ids() == should_stay
    assert {int(key.split("/")[1]) for key, _ in store.list("")} == should_stay


def test_from_the_mark_on_nobody_sees_it_though_its_file_is_still_there(client, alice, bearer, settings):
    asset = things.put(alice, settings)
    age(asset, expires_at=-timedelta(seconds=1))
    with transaction():
        assert expiry.mark(settings) == 1
    for where in (f"/api/v1/videos/{asset.id}", f"/media/{asset.id}/original"):
        assert client.get(where, headers=bearer(alice)).status_code == 404
    with transaction():
        assert trash.restore(Library(alice.id), ids=[asset.id]) == 0


def test_one_file_that_cannot_be_deleted_does_not_keep_the_others(alice, settings, monkeypatch):
    store = open_store(settings)
    stuck, free = things.put(alice, settings), things.put(alice, settings)
    for asset in (stuck, free):
        age(asset, expires_at=-timedelta(seconds=1))
    erase = expiry.erase

    def away(store, asset):
        if asset.id == stuck.id:
            raise StoreFailed
        erase(store, asset)

    with monkeypatch.context() as at:
        at.setattr(expiry, "erase", away)
        cleaning.clean_library(store, settings)
    assert ids() == {stuck.id}
    cleaning.clean_library(store, settings)
    assert ids() == set()


def test_undo_gives_back_what_that_one_action_took(alice, alices, settings):
    first, second, third = (things.put(alice, settings) for _ in range(3))
    with transaction():
        trash.throw_away(alices, editing.chosen(alices, [first.id]))
    with transaction(), undoing.recorded(alices, undoing.of(alices.assets(), Asset.trashed_at)) as undo:
        assert trash.throw_away(alices, alices.assets()) == 2
    with transaction():
        assert undo.id and undoing.take_back(alices, undo.id) == 2
    assert set(session.scalars(alices.assets().with_only_columns(Asset.id))) == {second.id, third.id}


def test_emptying_the_trash_touches_neither_what_is_live_nor_anothers(alice, bob, alices, settings):
    store = open_store(settings)
    mine, live, theirs = things.put(alice, settings), things.put(alice, settings), things.put(bob, settings)
    age(mine, trashed_at=timedelta(0))
    age(theirs, trashed_at=timedelta(0))
    with transaction():
        assert trash.empty(alices, ids=[live.id, theirs.id]) == 0
        assert trash.empty(alices) == 1
    cleaning.clean_library(store, settings)
    assert ids() == {live.id, theirs.id}


def test_the_trash_is_listed_in_pages_last_thrown_away_first(alice, alices, settings):
    assets = [things.put(alice, settings) for _ in range(5)]
    for n, asset in enumerate(assets):
        age(asset, trashed_at=-timedelta(minutes=n))
    first = trash.listed(alices, size=3)
    rest = trash.listed(alices, first.next_cursor, size=3)
    assert [asset.id for asset in (*first.items, *rest.items)] == [asset.id for asset in assets]
    assert first.total == 5 and rest.next_cursor is None


def test_old_files_of_forms_whose_process_died_are_cleared_away(settings, app):
    import os

    settings.arriving_folder.mkdir(parents=True, exist_ok=True)
    old, young = settings.arriving_folder / "old", settings.arriving_folder / "young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    cleaning.clean_library(open_store(settings), settings)
    assert not old.exists() and young.exists()
    assert session.scalar(text("SELECT 1")) == 1
