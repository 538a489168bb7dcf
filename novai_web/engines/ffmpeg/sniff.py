"""What a file is, by its first bytes; its name is never asked."""

import struct
from pathlib import Path
from typing import NamedTuple

from novai_web.errors import UnusableMedia

HEAD_BYTES = 4096

ACCEPTED = (
    "NOVAI takes MP4, MOV, MKV and WebM videos, MP3, WAV, M4A, AAC, FLAC and OGG audio, JPEG, PNG and WebP images."
)


class Format(NamedTuple):
    """`demuxer` is libav's name, None for images, which Pillow reads under `name`."""

    name: str
    demuxer: str | None


_STARTS: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", Format("png", None)),
    (b"\xff\xd8\xff", Format("jpeg", None)),
    (b"fLaC", Format("flac", "flac")),
    (b"OggS", Format("ogg", "ogg")),
)
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip")


def sniff(path: Path) -> Format:
    """Raises UnusableMedia when the file is empty or not of an accepted kind."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise UnusableMedia("This file is empty. Choose it again, or export it again.")
        if head.startswith(b"ID3"):  # a tag that MP3, and more rarely AAC and FLAC, may begin with
            file.seek(_tag_size(head))
            head = file.read(HEAD_BYTES)
            return _by_magic(head) or Format("mp3", "mp3")
    found = _by_magic(head)
    if found is None:
        raise UnusableMedia(f"This is not a video, audio or image file that can be used. {ACCEPTED}")
    if found.demuxer == "mov":
        _refuse_cut_short_movie(path)
    if found.demuxer == "wav":
        _refuse_cut_short_wave(path, head)
    return found


def _by_magic(head: bytes) -> Format | None:
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if head[:4] == b"RIFF":
        return {b"WAVE": Format("wav", "wav"), b"WEBP": Format("webp", None)}.get(head[8:12])
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Format("webm" if b"webm" in head[:64] else "mkv", "matroska")
    if head[4:8] == b"ftyp":
        return Format("mov" if head[8:12] == b"qt  " else "mp4", "mov")
    if head[4:8] in _QUICKTIME_ATOMS:
        return Format("mov", "mov")
    return _audio_frame(head)


def _audio_frame(head: bytes) -> Format | None:
    """MPEG audio begins with 11 set bits and a layer, ADTS with 12 and layer 0."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return Format("aac", "aac")
    layer, bit_rate, sample_rate = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    plausible = head[1] & 0xE0 == 0xE0 and layer == 1 and bit_rate not in (0, 15) and sample_rate != 3
    return Format("mp3", "mp3") if plausible else None


def _tag_size(head: bytes) -> int:
    a, b, c, d = head[6:10] if len(head) >= 10 else (0, 0, 0, 0)
    return 10 + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | d & 127)


def _refuse_cut_short_movie(path: Path) -> None:
    """Walk the top-level boxes: one that is longer than the file is an upload or a recording that was cut off."""
    size, at = path.stat().st_size, 0
    found: set[bytes] = set()
    with path.open("rb") as file:
        while at + 8 <= size and len(found) < 10_000:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            elif length == 0:
                length = size - at
            if kind in (b"moov", b"mdat") and at + length > size:
                raise UnusableMedia("This video is cut short: its end is missing. Export or upload it again.")
            found.add(kind)
            if length < 8:
                break
            at += length
    if b"moov" not in found:
        raise UnusableMedia("This video is cut short: its index is missing. Export or upload it again.")


def _refuse_cut_short_wave(path: Path, head: bytes) -> None:
    """Recorders that cannot go back write 0 or all ones as the size; half a sample may be missing for padding."""
    size = int.from_bytes(head[4:8], "little")
    if size not in (0, 0xFFFFFFFF) and path.stat().st_size < size:
        raise UnusableMedia("This audio is cut short: its end is missing. Export or upload it again.")
