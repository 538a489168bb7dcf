"""Whether it was fal that rang: its signature over the whole message, by one of the keys that it publishes."""

import base64
import binascii
import hashlib
import threading
import time
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, Field, ValidationError

from novai_web.config import Settings
from novai_web.vendors import line
from novai_web.vendors.line import NoAnswer

KEYS_LIVE_SECONDS = 24 * 3600.0
# So that somebody who rings with nonsense does not have us ask for keys again and again.
ASKED_AGAIN_SECONDS = 60.0
ASK_SECONDS = 5.0
SKEW_SECONDS = 300
HEADERS = ("X-Fal-Webhook-Request-Id", "X-Fal-Webhook-User-Id", "X-Fal-Webhook-Timestamp", "X-Fal-Webhook-Signature")


class Key(BaseModel):
    x: str = Field("", max_length=200)


class Keys(BaseModel):
    keys: list[Key] = Field(max_length=100)


class _Shelf:
    """The keys of each address they are published at, and when they were asked for, on the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Sequence[Ed25519PublicKey]]] = {}

    def keys(self, url: str, *, younger_than: float) -> Sequence[Ed25519PublicKey]:
        """Those that were asked for within so many seconds, or else asked for now. None when nobody answers."""
        with self._lock:
            at, keys = self._kept.get(url, (float("-inf"), ()))
            if time.monotonic() - at > younger_than:
                keys = _published(url) or keys
                self._kept[url] = time.monotonic(), keys
            return keys


_shelf = _Shelf()


def is_authentic(headers: Mapping[str, str], body: bytes, settings: Settings, *, is_sandbox: bool = False) -> bool:
    """Whether fal, or the sandbox in its place, signed this within the last five minutes."""
    request_id, user_id, at, signature = (headers.get(name, "") for name in HEADERS)
    if not (request_id and at.isascii() and at.isdigit() and len(at) < 12):
        return False
    if abs(time.time() - int(at)) > SKEW_SECONDS:
        return False
    try:
        signed = bytes.fromhex(signature)
        said = "\n".join((request_id, user_id, at, hashlib.sha256(body).hexdigest())).encode()
    except ValueError:
        return False
    url = f"{settings.sandbox_url.rstrip('/')}/fal-rest/.well-known/jwks.json" if is_sandbox else settings.fal_jwks_url
    if _is_signed(said, signed, _shelf.keys(url, younger_than=KEYS_LIVE_SECONDS)):
        return True
    return _is_signed(said, signed, _shelf.keys(url, younger_than=ASKED_AGAIN_SECONDS))  # they may have changed


def _is_signed(said: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    for key in keys:
        try:
            key.verify(signature, said)
        except InvalidSignature:
            continue
        return True
    return False


def _published(url: str) -> Sequence[Ed25519PublicKey]:
    """The keys at this address; none when it does not answer, or not with keys."""
    try:
        answer = line.ask("GET", url, seconds=ASK_SECONDS)
        said = Keys.model_validate_json(answer.body)
    except (NoAnswer, ValidationError):
        return ()
    return [key for key in map(_key, said.keys) if key]


def _key(said: Key) -> Ed25519PublicKey | None:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(said.x + "=" * (-len(said.x) % 4)))
    except (ValueError, binascii.Error):
        return None
