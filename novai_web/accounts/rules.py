"""What an e-mail address, a name and a password must be."""

import unicodedata

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from novai_web.accounts.models import Account
from novai_web.errors import InvalidInput

EMAIL_CHARS_MAX = 254  # RFC 5321: what fits into a path
NAME_CHARS_MAX = 100
PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 1024

# A house of one's own has addresses such as admin@localhost; the library says to empty this list for that.
SPECIAL_USE_DOMAIN_NAMES.clear()


def normal_email(email: str) -> str | None:
    """The one spelling of an address under which we keep and count it, or None if it is no address."""
    if len(email) > EMAIL_CHARS_MAX:
        return None
    try:
        found = validate_email(email.strip(), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        return None
    return found.normalized.lower()


def email_problem(email: str) -> str | None:
    return None if normal_email(email) else "Enter an e-mail address, such as ada@example.com."


def name_problem(name: str) -> str | None:
    if all(unicodedata.category(char)[0] in "CZ" for char in name):
        return "Enter a name."
    if len(name.strip()) > NAME_CHARS_MAX:
        return f"Use at most {NAME_CHARS_MAX} characters."
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name.strip()):
        return "Leave out line breaks and other control characters."
    return None


def password_problem(password: str, email: str) -> str | None:
    if len(password) < PASSWORD_CHARS_MIN:
        return f"Use at least {PASSWORD_CHARS_MIN} characters. A few words that only you would put together are good."
    if len(password) > PASSWORD_CHARS_MAX:
        return f"Use at most {PASSWORD_CHARS_MAX} characters."
    if password.strip().casefold() == email.strip().casefold():
        return "Your e-mail address is the first thing anyone would try. Choose something else."
    return None


def refuse(**problems: str | None) -> None:
    """Raise InvalidInput with the fields that have a problem, if there are any."""
    found = {field: problem for field, problem in problems.items() if problem}
    if found:
        raise InvalidInput(found)


def rename(account: Account, name: str) -> None:
    """Change the name that others see. Raises InvalidInput."""
    refuse(name=name_problem(name))
    account.name = name.strip()
