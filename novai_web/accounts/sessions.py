"""Signing in and staying signed in: every session carries a number, and raising the number ends them all."""

from sqlalchemy import select, update

from novai_web.accounts import passwords, rules
from novai_web.accounts.models import Account, RefreshToken
from novai_web.accounts.registration import by_email
from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.errors import Forbidden, InvalidInput, NovaiError, SignInNeeded


class WrongSignIn(NovaiError):
    """This e-mail and this password do not belong together. Check both and try again."""

    code = "wrong_sign_in"
    status = 401
    title = "Not signed in"


def check_sign_in(*, email: str, password: str, settings: Settings) -> Account:
    """The account behind an e-mail and a password.

    Raises WrongSignIn, in the same words and after the same time whether or not there is such an account;
    Forbidden when the account is disabled, which only somebody who knows the password is told.
    """
    address = rules.normal_email(email)
    account = by_email(address) if address else None
    if not passwords.matches(password, account.password_hash if account else None, settings) or account is None:
        raise WrongSignIn
    if account.disabled_at is not None:
        raise Forbidden("This account is disabled. Ask an administrator.")
    passwords.refresh(account, password, settings)
    return account


def by_session(account_id: int, version: int) -> Account | None:
    """The account of a session, unless the session was ended or the account disabled."""
    return session.scalar(
        select(Account).where(
            Account.id == account_id, Account.session_version == version, Account.disabled_at.is_(None)
        )
    )


def hold(account: Account) -> Account:
    """Let nobody else change this account or its tokens until we commit, and read it anew.

    Raises SignInNeeded when its sessions were ended since it was read, or it was disabled or deleted.
    """
    known = account.session_version
    found = session.scalar(
        select(Account)
        .where(Account.id == account.id, Account.session_version == known, Account.disabled_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise SignInNeeded
    return found


def change_password(account: Account, *, current: str, new: str, settings: Settings) -> None:
    """Set a new password and end every session and token of the account. Raises InvalidInput."""
    held = hold(account)
    if not passwords.matches(current, held.password_hash, settings):
        raise InvalidInput({"current_password": "This is not your current password."})
    rules.refuse(new_password=rules.password_problem(new, held.email))
    held.password_hash = passwords.hashed(new, settings)
    sign_out_everywhere(held)


def sign_out_everywhere(account: Account) -> None:
    """End every session and every token of the account, on all devices."""
    held = hold(account)
    held.session_version += 1
    session.execute(
        update(RefreshToken)
        .where(RefreshToken.account_id == held.id, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=now())
        .execution_options(synchronize_session=False)
    )
    session.flush()
