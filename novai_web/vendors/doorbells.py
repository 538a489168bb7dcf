"""Doorbells: the address at which a vendor may say that a run of ours is over, and how we know it again.

Whoever has an account at a vendor can have it call any address, so ours carries a signature of our own.
"""

import hashlib
import hmac
from urllib.parse import urlencode, urlsplit

from novai_web.config import Settings

SIGNATURE_CHARACTERS = 32
LOCAL = ("127.0.0.1", "localhost")


def base(settings: Settings, *, is_sandbox: bool) -> str:
    """Where this installation can be called, without a slash at its end; empty: nowhere, so that polls must do."""
    if not is_sandbox:
        return settings.public_url.rstrip("/") if settings.public_url.startswith("https://") else ""
    if urlsplit(settings.sandbox_url).hostname in LOCAL:
        return f"http://127.0.0.1:{settings.port}"
    return settings.public_url.rstrip("/")


def address(settings: Settings, vendor: str, marker: str, place: str, *, is_sandbox: bool) -> str:
    """Where `vendor` may call about the run of this marker; empty: nowhere. `place` is where such runs are there."""
    if not (ours := base(settings, is_sandbox=is_sandbox)):
        return ""
    said = {"run": marker, "at": place, "by": signature(settings, vendor, marker, place)}
    return f"{ours}/webhooks/{vendor}?{urlencode(said)}"


def signature(settings: Settings, vendor: str, marker: str, place: str) -> str:
    said = "\n".join(("doorbell", vendor, marker, place)).encode()
    return hmac.new(settings.secret.encode(), said, hashlib.sha256).hexdigest()[:SIGNATURE_CHARACTERS]


def is_ours(settings: Settings, vendor: str, marker: str, place: str, by: str) -> bool:
    """Whether it was this installation that gave this address to a vendor."""
    return hmac.compare_digest(signature(settings, vendor, marker, place).encode(), by.encode())
