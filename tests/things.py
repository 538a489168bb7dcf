"""Things for the library: small real files, and assets that are there without having been uploaded."""

import hashlib
import io
import random
import struct
import tempfile
import wave
import zlib
from pathlib import Path
from typing import Any

from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.library import files
from novai_web.library.models import Asset, Source


def wav(seed: int = 1, seconds: float = 0.2) -> bytes:
    """Noise, another for each seed, that every player takes."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(random.Random(seed).randbytes(2 * int(8000 * seconds)))
    return out.getvalue()


def png(seed: int = 1, width: int = 16, height: int = 12) -> bytes:
    noise = random.Random(seed)
    rows = b"".join(b"\0" + noise.randbytes(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def mp4(seed: int = 1, *, handler: bytes = b"vide", brand: bytes = b"isom") -> bytes:
    """The bones of an MP4: right boxes, nothing to decode."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, name) + body

    track = box(b"trak", box(b"mdia", box(b"hdlr", b"\0" * 8 + handler + b"\0" * 12)))
    data = random.Random(seed).randbytes(256)
    return box(b"ftyp", brand + b"\0\0\2\0isomiso2") + box(b"mdat", data) + box(b"moov", track)


def put(account: Account, settings: Settings, content: bytes | None = None, **given: Any) -> Asset:
    """A ready asset with its file in the store."""
    with transaction():
        asset = Asset(**{"account_id": account.id, "kind": "video", "name": "Clip", "mime": "video/mp4", **given})
        asset.status = given.get("status", "ready")
        content = content if content is not None else f"{account.id} {id(asset)} {random.random()}".encode()
        asset.sha256 = given.get("sha256", hashlib.sha256(content).hexdigest())
        asset.size_bytes = given.get("size_bytes", len(content))
        asset.media = {"extension": ".mp4"}
        session.add(asset)
        session.flush()
        asset.store_key = files.key(asset.id, "original", "mp4")
        asset.previews = {part: files.key(asset.id, part, "webp") for part in given.get("previews", {})}
        _store(settings, asset.store_key, content)
        for key in asset.previews.values():
            _store(settings, key, b"RIFF1234WEBP a preview")
    return asset


def made_from(made: Asset, source: Asset) -> None:
    """One line of lineage."""
    with transaction():
        session.add(Source(asset_id=made.id, source_id=source.id, role="video", label=source.name))


def _store(settings: Settings, key: str, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=_made(settings.scratch_folder)) as file:
        file.write(content)
        file.flush()
        open_store(settings).put(key, Path(file.name), "application/octet-stream")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def stored(settings: Settings) -> list[str]:
    """The keys of everything in the store."""
    return sorted(key for key, _ in open_store(settings).list(""))
