"""New accounts: the first one runs the installation, the others come if the house is open."""

from sqlalchemy import exists, func, select

from novai_web import credits
from novai_web.accounts import passwords, rules
from novai_web.accounts.models import Account, Role
from novai_web.config import Settings
from novai_web.db import session
from novai_web.errors import Forbidden, InvalidInput

CLOSED = "This installation does not take new accounts. Ask its administrator for one."

# Registrations wait for each other, so that two first visitors cannot both become the administrator.
# Any number will do, as long as every process of this product asks for the same one.
ONE_AT_A_TIME = 7_213_002


def anybody() -> bool:
    """Whether anyone has an account. Until then, the installation is waiting for its administrator."""
    return bool(session.scalar(select(exists().where(Account.id.is_not(None)))))


def may_register(settings: Settings) -> bool:
    return settings.sign_up == "open" or not anybody()


def register(*, email: str, password: str, name: str, settings: Settings) -> Account:
    """Make an account and its wallet. The first one is the administrator.

    Raises Forbidden when the house is closed and InvalidInput with a sentence for each wrong field.
    """
    if not may_register(settings):
        raise Forbidden(CLOSED)
    rules.refuse(
        email=rules.email_problem(email),
        name=rules.name_problem(name),
        password=rules.password_problem(password, email),
    )
    kept = passwords.hashed(password, settings)
    session.execute(select(func.pg_advisory_xact_lock(ONE_AT_A_TIME)))
    is_first = not anybody()
    if not is_first and settings.sign_up != "open":
        raise Forbidden(CLOSED)
    address = rules.normal_email(email) or email
    if by_email(address):
        raise InvalidInput({"email": "There is an account with this e-mail already. Sign in instead."})
    role = Role.ADMIN if is_first else Role.USER
    account = Account(email=address, name=name.strip(), password_hash=kept, role=role)
    session.add(account)
    session.flush()
    credits.open_wallet(account, granted=settings.starting_credits if is_first else settings.sign_up_credits)
    return account


def by_email(address: str) -> Account | None:
    """The account of an address in its normal spelling."""
    return session.scalar(select(Account).where(func.lower(Account.email) == func.lower(address)))
