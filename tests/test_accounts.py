"""Who may have an account, and what becomes of its sessions and tokens."""

import statistics
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from novai_web import accounts, credits, db
from novai_web.accounts import Account, RefreshToken, passwords, rules
from novai_web.accounts.models import Role
from novai_web.config import Settings
from novai_web.credits.models import Wallet
from novai_web.db import session, transaction
from novai_web.errors import Forbidden, InvalidInput, SignInNeeded

PASSWORD = "correct horse battery"


def register(settings: Settings, email: str = "ada@example.com", **changed: str) -> Account:
    with transaction():
        return accounts.register(
            email=email, password=changed.get("password", PASSWORD), name=changed.get("name", "Ada"), settings=settings
        )


def at_once(app: Flask, *calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at the same moment, each with a database session of its own; results or exceptions."""
    start, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(n: int) -> None:
        with app.app_context():
            start.wait()
            try:
                results[n] = calls[n]()
            except Exception as error:  # noqa: BLE001
                results[n] = error
            session.remove()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_first_account_is_the_administrator_and_gets_the_starting_credits(app: Flask, settings: Settings) -> None:
    ada = register(settings)
    assert ada.is_admin
    assert credits.balance(ada, settings).available == settings.starting_credits


def test_later_accounts_are_refused_while_the_house_is_closed(app: Flask, settings: Settings) -> None:
    register(settings)
    with pytest.raises(Forbidden, match="does not take new accounts"):
        register(settings, "bob@example.com")


def test_later_accounts_are_ordinary_ones(app: Flask, settings: Settings) -> None:
    register(settings)
    is_open = settings.model_copy(update={"sign_up": "open", "sign_up_credits": 7})
    bob = register(is_open, "bob@example.com")
    assert not bob.is_admin
    assert credits.balance(bob, settings).available == 7


@pytest.mark.parametrize("sign_up", ["open", "closed"])
def test_of_many_simultaneous_first_registrations_one_is_the_administrator(
    app: Flask, settings: Settings, sign_up: str
) -> None:
    chosen = settings.model_copy(update={"sign_up": sign_up})
    at_once(app, *(lambda n=n: register(chosen, f"ada{n}@example.com") for n in range(6)))
    roles = list(session.scalars(select(Account.role)))
    assert roles.count(Role.ADMIN) == 1
    assert len(roles) == (6 if sign_up == "open" else 1)
    assert session.scalar(select(func.count()).select_from(Wallet)) == len(roles)


@pytest.mark.parametrize("again", ["ADA@example.com", " ada@EXAMPLE.com ", "ada@ｅｘａｍｐｌｅ.com"])
def test_one_address_has_one_account_however_it_is_spelled(app: Flask, settings: Settings, again: str) -> None:
    register(settings)
    with pytest.raises(InvalidInput) as refused:
        register(settings.model_copy(update={"sign_up": "open"}), again)
    assert list(refused.value.fields) == ["email"]


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "@example.com", "a b@example.com", "ada@ex\nample.com", "a" * 251 + "@b.c"]
)
def test_an_address_must_be_one(app: Flask, settings: Settings, email: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(settings, email)
    assert list(refused.value.fields) == ["email"]


def test_a_house_of_ones_own_may_have_addresses_without_a_real_domain() -> None:
    assert rules.normal_email("admin@localhost") == "admin@localhost"
    assert rules.normal_email("ada@studio.local") == "ada@studio.local"


@pytest.mark.parametrize("password", ["", "short one", "x" * 1025, "ada@example.com", "Ada@Example.com"])
def test_a_password_must_be_long_enough_and_not_the_address(app: Flask, settings: Settings, password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(settings, password=password)
    assert list(refused.value.fields) == ["password"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "Ada\nBcc: all", "Ada\0", "Ada\ud800"])
def test_a_name_must_be_one_line_that_can_be_shown(app: Flask, settings: Settings, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(settings, name=name)
    assert list(refused.value.fields) == ["name"]


def test_every_wrong_field_is_named_at_once(app: Flask, settings: Settings) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(settings, "nobody", password="short", name=" ")
    assert set(refused.value.fields) == {"email", "name", "password"}


def test_a_password_signs_in_from_every_keyboard(app: Flask, settings: Settings) -> None:
    register(settings, password="caf\u00e9 au lait, please")
    found = accounts.check_sign_in(email="ada@example.com", password="cafe\u0301 au lait, please", settings=settings)
    assert found.email == "ada@example.com"


def test_only_a_hash_is_kept(alice: Account) -> None:
    assert alice.password_hash.startswith("$argon2id$")
    assert PASSWORD not in alice.password_hash


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com", "not an address", "x\0@example.com"])
def test_a_refused_sign_in_says_the_same_whether_or_not_there_is_an_account(
    alice: Account, settings: Settings, email: str
) -> None:
    with pytest.raises(accounts.WrongSignIn) as refused:
        accounts.check_sign_in(email=email, password="not her password", settings=settings)
    assert str(refused.value) == str(accounts.WrongSignIn())


def test_a_refused_sign_in_takes_as_long_whether_or_not_there_is_an_account(app: Flask, settings: Settings) -> None:
    slow = settings.model_copy(update={"password_rounds": 2, "password_memory_kib": 16_384})
    register(slow)

    def seconds(email: str) -> float:
        taken = []
        for _ in range(7):
            begun = time.process_time()
            with pytest.raises(accounts.WrongSignIn):
                accounts.check_sign_in(email=email, password="not the password", settings=slow)
            taken.append(time.process_time() - begun)
        return statistics.median(taken)

    known, unknown = seconds("ada@example.com"), seconds("nobody@example.com")
    assert 0.5 < known / unknown < 2
    begun = time.process_time()
    session.scalar(select(Account).limit(1))
    assert unknown > 3 * (time.process_time() - begun), "the password was not hashed at all"


def test_a_hash_with_old_parameters_is_renewed_at_sign_in(app: Flask, settings: Settings) -> None:
    ada = register(settings)
    before = ada.password_hash
    stronger = settings.model_copy(update={"password_rounds": 2})
    with transaction():
        accounts.check_sign_in(email=ada.email, password=PASSWORD, settings=stronger)
    assert ada.password_hash != before
    assert "t=2" in ada.password_hash
    assert passwords.matches(PASSWORD, ada.password_hash, stronger)


def test_a_disabled_account_cannot_sign_in_and_its_session_and_token_are_dead(
    alice: Account, settings: Settings
) -> None:
    with transaction():
        tokens = accounts.issue(alice, settings)
        alice.disabled_at = session.scalar(select(func.now()))
    with pytest.raises(Forbidden, match="disabled"):
        accounts.check_sign_in(email=alice.email, password=PASSWORD, settings=settings)
    with pytest.raises(accounts.WrongSignIn):
        accounts.check_sign_in(email=alice.email, password="not her password", settings=settings)
    assert accounts.by_session(alice.id, alice.session_version) is None
    assert accounts.by_access_token(tokens.access, settings) is None
    assert accounts.rotate(tokens.refresh, settings) is None


def test_a_new_password_ends_every_session_and_token(alice: Account, settings: Settings) -> None:
    version = alice.session_version
    with transaction():
        tokens = accounts.issue(alice, settings)
    with transaction():
        accounts.change_password(alice, current=PASSWORD, new="another long password", settings=settings)
    assert accounts.by_session(alice.id, version) is None
    assert accounts.by_access_token(tokens.access, settings) is None
    assert accounts.rotate(tokens.refresh, settings) is None
    assert accounts.by_session(alice.id, alice.session_version) is alice
    assert accounts.check_sign_in(email=alice.email, password="another long password", settings=settings)


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [("wrong", "another long password", "current_password"), (PASSWORD, "short", "new_password")],
)
def test_a_password_is_changed_only_by_who_knows_it_and_only_to_a_good_one(
    alice: Account, settings: Settings, current: str, new: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused, transaction():
        accounts.change_password(alice, current=current, new=new, settings=settings)
    assert list(refused.value.fields) == [field]
    assert accounts.check_sign_in(email=alice.email, password=PASSWORD, settings=settings)


def test_a_refresh_token_is_good_once_and_using_it_twice_ends_the_family(alice: Account, settings: Settings) -> None:
    with transaction():
        stolen = accounts.issue(alice, settings)
        elsewhere = accounts.issue(alice, settings)
    with transaction():
        rotated = accounts.rotate(stolen.refresh, settings)
    assert rotated is not None
    _, fresh = rotated
    assert accounts.by_access_token(fresh.access, settings) == alice
    with transaction():
        assert accounts.rotate(stolen.refresh, settings) is None
    with transaction():
        assert accounts.rotate(fresh.refresh, settings) is None
    assert accounts.by_access_token(fresh.access, settings) is None
    assert accounts.by_access_token(elsewhere.access, settings) == alice, "another device is another family"


def test_of_many_simultaneous_uses_of_a_refresh_token_at_most_one_is_answered(
    app: Flask, alice: Account, settings: Settings
) -> None:
    with transaction():
        tokens = accounts.issue(alice, settings)

    def rotate() -> Any:
        with transaction():
            return accounts.rotate(tokens.refresh, settings)

    answered = [found for found in at_once(app, *[rotate] * 6) if found is not None]
    assert len(answered) == 1
    _, fresh = answered[0]
    assert accounts.by_access_token(fresh.access, settings) is None, "the others were a reuse, so all is ended"
    alive = select(func.count()).select_from(RefreshToken).where(RefreshToken.revoked_at.is_(None))
    assert session.scalar(alive) == 0


def test_no_token_outlives_a_password_change_that_it_races_with(app: Flask, alice: Account, settings: Settings) -> None:
    with transaction():
        tokens = [accounts.issue(alice, settings) for _ in range(4)]

    def rotate(token: str) -> Any:
        with transaction():
            return accounts.rotate(token, settings)

    def change() -> None:
        with transaction():
            found = session.get_one(Account, alice.id)
            accounts.change_password(found, current=PASSWORD, new="another long password", settings=settings)

    at_once(app, change, *(lambda each=each: rotate(each.refresh) for each in tokens))
    alive = select(func.count()).select_from(RefreshToken).where(RefreshToken.revoked_at.is_(None))
    assert session.scalar(alive) == 0


def test_tokens_are_not_issued_on_a_password_that_was_changed_meanwhile(
    app: Flask, alice: Account, settings: Settings
) -> None:
    checked = accounts.check_sign_in(email=alice.email, password=PASSWORD, settings=settings)
    with db.db.engine.begin() as elsewhere:
        elsewhere.execute(update(Account).values(session_version=Account.session_version + 1))
    with pytest.raises(SignInNeeded):
        accounts.issue(checked, settings)


def test_an_expired_refresh_token_is_refused_and_forgotten(alice: Account, settings: Settings) -> None:
    with transaction():
        old, young = accounts.issue(alice, settings), accounts.issue(alice, settings)
        first = select(RefreshToken.id).order_by(RefreshToken.id).limit(1).scalar_subquery()
        session.execute(
            update(RefreshToken).where(RefreshToken.id == first).values(expires_at=func.now() - timedelta(days=2))
        )
    assert accounts.rotate(old.refresh, settings) is None
    assert accounts.forget_expired() == 1
    assert accounts.rotate(young.refresh, settings) is not None
