"""Accounts: who may sign in, with a password or a token, and until when."""

from novai_web.accounts.models import Account, RefreshToken, Role
from novai_web.accounts.registration import CLOSED, anybody, may_register, register
from novai_web.accounts.rules import normal_email, rename
from novai_web.accounts.sessions import (
    WrongSignIn,
    by_session,
    change_password,
    check_sign_in,
    sign_out_everywhere,
)
from novai_web.accounts.tokens import Tokens, by_access_token, forget_expired, issue, revoke, rotate

__all__ = [
    "CLOSED",
    "Account",
    "RefreshToken",
    "Role",
    "Tokens",
    "WrongSignIn",
    "anybody",
    "by_access_token",
    "by_session",
    "change_password",
    "check_sign_in",
    "forget_expired",
    "issue",
    "may_register",
    "normal_email",
    "register",
    "rename",
    "revoke",
    "rotate",
    "sign_out_everywhere",
]
