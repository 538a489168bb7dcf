"""The description of a sound, as MP4 has it rather than QuickTime, which knows two longer forms of it."""

import struct
from contextlib import suppress

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import AUDIO_HEADER, box, child

_QUICKTIME_1, _QUICKTIME_2 = AUDIO_HEADER + 16, AUDIO_HEADER + 36
_BITS = 16  # of a sample; a player of AAC does not ask


def plain_entry(entry: bytes) -> bytes:
    """An AAC description without what QuickTime puts before and around its configuration; any other as it is."""
    version, configuration = int.from_bytes(entry[16:18], "big"), None
    if entry[4:8] == b"mp4a" and version != 0:
        configuration = _configuration(entry)
    if configuration is None:
        return entry
    channels, rate = struct.unpack_from(">H6xI", entry, 24)
    if version == 2 and len(entry) >= _QUICKTIME_2:
        exact, channels = struct.unpack_from(">dI", entry, AUDIO_HEADER + 4)
        rate = int(exact) << 16 if 0 < exact < 1 << 16 else 0
    shape = struct.pack(">8xHHII", min(channels, 0xFFFF), _BITS, 0, rate)
    return box(b"mp4a", entry[8:16], shape, box(b"esds", configuration))


def _configuration(entry: bytes) -> bytes | None:
    """The elementary stream descriptor: in the entry or in its "wave", after a head of one of three lengths."""
    for header in (AUDIO_HEADER, _QUICKTIME_1, _QUICKTIME_2):
        with suppress(Malformed):
            wave = child(entry, b"wave", header)
            found = child(entry, b"esds", header) or (child(wave, b"esds", 0) if wave else None)
            if found:
                return found
    return None
