"""What a file is, read from its bytes: its name and whatever the browser says are not asked."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from novai_web.errors import UnusableMedia
from novai_web.library import safetensors
from novai_web.library.files import MIME_TYPES
from novai_web.library.models import Kind

HEAD_BYTES = 4096
BOXES_MAX = 10_000

ACCEPTED: dict[Kind, tuple[str, ...]] = {
    "video": ("mp4", "mov", "mkv", "webm"),
    "audio": ("mp3", "wav", "m4a", "aac", "flac", "ogg"),
    "image": ("jpg", "png", "webp"),
    "model": ("safetensors",),
}
# The endings a file dialog offers; what is taken is decided here, from the bytes.
ENDINGS: dict[Kind, str] = {
    "video": ".mp4,.m4v,.mov,.mkv,.webm",
    "audio": ".mp3,.wav,.m4a,.aac,.flac,.ogg,.oga,.opus",
    "image": ".jpg,.jpeg,.png,.webp",
    "model": ".safetensors",
}
_TAKEN = "NOVAI takes videos as MP4, MOV, MKV or WebM, sounds as MP3, WAV, M4A, AAC, FLAC or OGG, \
pictures as JPEG, PNG or WebP, and models as SAFETENSORS."

# What people send by mistake, in the words they know it by.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "an animated GIF; save it as MP4 first"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive; unpack it and send the files in it"),
    (b"Rar!", "an archive; unpack it and send the files in it"),
    (b"7z\xbc\xaf", "an archive; unpack it and send the files in it"),
    (b"\x1f\x8b", "an archive; unpack it and send the files in it"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"II*\x00", "a TIFF picture; save it as JPEG or PNG first"),
    (b"MM\x00*", "a TIFF picture; save it as JPEG or PNG first"),
    (b"BM", "a BMP picture; save it as JPEG or PNG first"),
    (b"FLV", "a Flash video; save it as MP4 first"),
    (b"0&\xb2u", "a Windows Media file; save it as MP4 or MP3 first"),
    (b"#EXTM3U", "a playlist, not the video itself"),
    (b"ffconcat", "a playlist, not the video itself"),
    (b"[playlist]", "a playlist, not the video itself"),
    (b"<svg", "an SVG drawing; save it as PNG first"),
    (b"<?xml", "a text document"),
    (b"<!doctype", "a web page; save the video itself, not the page around it"),
    (b"<html", "a web page; save the video itself, not the page around it"),
)
_PICTURES = {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"}
_QUICKTIME_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}


@dataclass(frozen=True)
class Sniffed:
    kind: Kind
    extension: str

    @property
    def mime(self) -> str:
        return MIME_TYPES[self.extension]


def sniff(path: Path) -> Sniffed:
    """The kind and format of a file. Raises UnusableMedia, in plain words, for everything that is not accepted."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise UnusableMedia("This file is empty. Send it again.")
        extension = _extension(head, file)
    if extension is None:
        raise UnusableMedia(_refusal(head))
    if extension == "safetensors":
        safetensors.read(path)
    kind = next(kind for kind, extensions in ACCEPTED.items() if extension in extensions)
    return Sniffed(kind, extension)


def _extension(head: bytes, file: BinaryIO) -> str | None:
    if safetensors.looks_like(head):
        return "safetensors"
    if head[4:8] == b"ftyp":
        return _from_brand(head[8:12], file)
    if head[4:8] in _QUICKTIME_BOXES and _has_boxes(head):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska(head)
    return _picture(head) or _sound(head)


def _from_brand(brand: bytes, file: BinaryIO) -> str | None:
    if brand in _PICTURES:
        raise UnusableMedia("This is a HEIC or AVIF picture. Save it as JPEG or PNG first; nothing was kept.")
    if brand in (b"M4A ", b"M4B ", b"M4P "):
        return "m4a"
    handlers = set(_handlers(file))
    if b"soun" in handlers and b"vide" not in handlers:
        return "m4a"
    return "mov" if brand == b"qt  " else "mp4"


def _matroska(head: bytes) -> str | None:
    if b"webm" in head[:64]:
        return "webm"
    return "mkv" if b"matroska" in head[:64] else None


def _picture(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _sound(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(b"fLaC"):
        return "flac"
    if head.startswith(b"OggS"):
        return "ogg"
    return "mp3" if head.startswith(b"ID3") else _frames(head)


def _frames(head: bytes) -> str | None:
    """MPEG audio without a header of its own begins with a frame: eleven ones, then version, layer and rates."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    layer = head[1] >> 1 & 3
    if layer == 0 and head[1] & 0xF0 == 0xF0 and head[2] >> 2 & 15 < 13:
        return "aac"
    has_version = head[1] >> 3 & 3 != 1
    has_rates = head[2] >> 4 not in (0, 15) and head[2] >> 2 & 3 != 3
    return "mp3" if layer == 1 and has_version and has_rates else None


def _has_boxes(head: bytes) -> bool:
    size = int.from_bytes(head[:4], "big")
    return size == 1 or size >= 8 or size == 0


def _handlers(file: BinaryIO) -> Iterator[bytes]:
    """The media types of the tracks of an ISO file (ISO/IEC 14496-12, 8.4.3), read from box headers alone."""
    file.seek(0, 2)
    todo = [(0, file.tell())]
    looked = 0
    while todo:
        start, end = todo.pop()
        while start + 8 <= end and looked < BOXES_MAX:
            looked += 1
            name, body, start = _box(file, start, end)
            if name in (b"moov", b"trak", b"mdia"):
                todo.append((body, start))
            elif name == b"hdlr":
                file.seek(body + 8)
                yield file.read(4)


def _box(file: BinaryIO, start: int, end: int) -> tuple[bytes, int, int]:
    """Name, where its content begins, and where the next box begins."""
    file.seek(start)
    size, name = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
    body = start + 8
    if size == 1:
        size, body = int.from_bytes(file.read(8), "big"), start + 16
    elif size == 0:
        size = end - start
    return name, body, min(max(start + size, body), end)


def _refusal(head: bytes) -> str:
    if safetensors.is_pickle(head):
        return safetensors.PICKLE
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512]
    if b"<svg" in start.lower():
        start = b"<svg"
    for signature, words in _FOREIGN:
        if start.lower().startswith(signature.lower()) or head.startswith(signature):
            return f"This is {words}. Nothing was kept."
    return f"This is not a kind of file that can be used here. {_TAKEN} Nothing was kept."
