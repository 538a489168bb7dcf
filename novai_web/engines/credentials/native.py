"""The C2PA library, and the few calls of it that its Python side leaves out. Loaded when it is first needed."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from novai_web import __version__
from novai_web.config import Settings
from novai_web.engines.credentials.chain import Chain, ChainUnusable, chain
from novai_web.errors import NovaiError

# Larger files are read in pieces instead of being held.
HELD_MEGABYTES = 16
ARCHIVE_BYTES_MAX = 2 * 1024 * 1024


class SigningFailed(NovaiError):
    """The file could not be signed."""

    code = "signing_failed"
    title = "Could not be signed"


class Damaged(NovaiError):
    """Its Content Credentials are damaged and say nothing any more."""

    code = "credentials_damaged"
    title = "Content Credentials are damaged"


@contextmanager
def sentences() -> Iterator[None]:
    """What the library says becomes SigningFailed."""
    import c2pa

    try:
        yield
    except (c2pa.C2paError, OSError) as problem:
        raise SigningFailed(f"The file could not be signed: {problem}") from problem


def takes(mime: str) -> bool:
    """Whether files of this kind can carry a manifest."""
    import c2pa

    return mime in c2pa.Builder.get_supported_mime_types()


def context(settings: Settings, *, is_checking: bool = False) -> Any:
    """The library's settings and our signer; `is_checking`: what was signed is read again. Raises ChainUnusable."""
    return _context(chain(settings), os.getpid(), is_checking)


@cache
def _context(signing: Chain, process: int, is_checking: bool) -> Any:
    """One for each process: what was made before a fork does not work after it."""
    import c2pa

    info = c2pa.C2paSignerInfo(
        alg=signing.algorithm, sign_cert=signing.certificates, private_key=signing.key, ta_url=None
    )
    try:
        return c2pa.Context.from_dict(_configuration(signing.anchors, is_checking), signer=c2pa.Signer.from_info(info))
    except c2pa.C2paError as problem:
        raise ChainUnusable(f"The certificates for Content Credentials cannot be used: {problem}") from problem


def _configuration(anchors: bytes, is_checking: bool) -> dict[str, Any]:
    return {
        "trust": {"user_anchors": anchors.decode()},
        # Nothing is asked of the network.
        "verify": {"verify_after_sign": is_checking, "remote_manifest_fetch": False, "ocsp_fetch": False},
        "core": {"backing_store_memory_threshold_in_mb": HELD_MEGABYTES},
        "builder": {
            "claim_generator_info": {"name": "NOVAI", "version": __version__},
            "thumbnail": {"enabled": False},
        },
    }


@contextmanager
def builder(definition: dict[str, Any], within: Any) -> Iterator[Any]:
    """A manifest in the making, in a `context`."""
    import c2pa

    with sentences(), c2pa.Builder(definition, context=within) as made:
        yield made


def archive(ingredient: dict[str, Any], mime: str, path: Path, anchors: bytes) -> bytes:
    """A file as other files' manifests carry it on, with what it says of itself."""
    import c2pa

    within, kept = c2pa.Context.from_dict(_configuration(anchors, False)), BytesIO()
    with builder({}, within) as made, path.open("rb") as file:
        made.add_ingredient(ingredient, mime, file)
        made.write_ingredient_archive(ingredient["label"], kept)
    if kept.tell() > ARCHIVE_BYTES_MAX:
        raise SigningFailed("What it says of itself is too long to be carried on.")
    return kept.getvalue()


@contextmanager
def reader(path: Path, mime: str, beside: bytes | None, within: Any) -> Iterator[Any]:
    """None: the file has no manifest. Raises Damaged for one that cannot be read."""
    import c2pa

    with path.open("rb") as file:
        try:
            found = c2pa.Reader.try_create(mime, file, beside, within)
        except c2pa.C2paError as problem:
            raise Damaged(f"Its Content Credentials are damaged and say nothing any more: {problem}") from problem
        if found is None:
            yield None
            return
        with found:
            yield found


def hash_file(made: Any, mime: str, file: IO[bytes]) -> None:
    """Bind the manifest to the file: hash what its binding leaves to be hashed."""
    import c2pa

    with c2pa.Stream(file) as stream:
        call = _call("c2pa_builder_update_hash_from_stream", ctypes.c_int, [ctypes.c_void_p] * 3)
        if call(made._handle, mime.encode(), stream._stream) != 0:
            _raise()


def signed(made: Any, mime: str) -> bytes:
    """The manifest, signed, in the box in which this kind of file keeps it."""
    return _bytes(made, "c2pa_builder_sign_embeddable", mime)


def _bytes(made: Any, name: str, mime: str) -> bytes:
    call = _call(name, ctypes.c_int64, [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)])
    pointer = ctypes.c_void_p()
    size = call(made._handle, mime.encode(), ctypes.byref(pointer))
    if size < 0 or not pointer:
        _raise()
    try:
        return ctypes.string_at(pointer, size)
    finally:
        _library().c2pa_free(pointer)


def _call(name: str, gives: Any, takes: list[Any]) -> Any:
    found = getattr(_library(), name)
    found.restype, found.argtypes = gives, takes
    return found


def _library() -> Any:
    from c2pa import c2pa as native

    return native._lib


def _raise() -> None:
    from c2pa import c2pa as native

    text = native._lib.c2pa_error()
    raise SigningFailed(
        f"The file could not be signed: {ctypes.string_at(text).decode() if text else 'no reason given'}"
    )
