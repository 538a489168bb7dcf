"""Bits of a NAL unit: emulation prevention, and Exp-Golomb codes read and written (ITU-T H.264, 7.3.1 and 9.1)."""

import re

from novai_web.engines.ffmpeg.malformed import Malformed

_ZEROS_MAX = 32  # leading zeros of a code for a 32-bit number
_CODE_BYTES = (2 * _ZEROS_MAX + 1) // 8 + 2  # the longest code, beginning at any bit of its first byte

_DAMAGED = "its parameters cannot be read"
_EMULATING = re.compile(rb"\x00\x00(?=[\x00-\x03])")


def unescape(data: bytes) -> bytes:
    """The payload without emulation prevention: after two zeros, a three that was put there is dropped."""
    return bytes(data).replace(b"\0\0\3", b"\0\0")


def escape(data: bytes) -> bytes:
    """The payload such that no start code appears in it. The inverse of `unescape`."""
    if b"\0\0" not in data:
        return data
    escaped = _EMULATING.sub(b"\0\0\3", data)
    return escaped + b"\3" if escaped.endswith(b"\0\0") else escaped


class BitReader:
    """Reads from the first bit on; raises Malformed past the end. Each read costs the same, however long the data."""

    __slots__ = ("_data", "position", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0
        self.size = 8 * len(data)

    def u(self, bits: int) -> int:
        """An unsigned number of so many bits."""
        start, end = self.position, self.position + bits
        if end > self.size:
            raise Malformed(_DAMAGED)
        self.position = end
        chunk = int.from_bytes(self._data[start >> 3 : (end + 7) >> 3], "big")
        return chunk >> (-end & 7) & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def ue(self) -> int:
        """An unsigned Exp-Golomb code: so many zeros, a one, and as many more bits."""
        start = self.position >> 3
        chunk = self._data[start : start + _CODE_BYTES]
        ahead = 8 * len(chunk) - (self.position & 7)
        value = int.from_bytes(chunk, "big") & ((1 << ahead) - 1) if ahead > 0 else 0
        zeros = ahead - value.bit_length()
        length = 2 * zeros + 1
        if value == 0 or zeros > _ZEROS_MAX or length > ahead:
            raise Malformed(_DAMAGED)
        self.position += length
        return (value >> (ahead - length)) - 1

    def se(self) -> int:
        """A signed Exp-Golomb code: 0, 1, −1, 2, −2, …"""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def ue_below(self, limit: int) -> int:
        """An unsigned Exp-Golomb code that the standard keeps below `limit`."""
        value = self.ue()
        if value >= limit:
            raise Malformed(_DAMAGED)
        return value

    @property
    def data_end(self) -> int:
        """The position after the stop bit; 0 where there is none."""
        data = self._data.rstrip(b"\0")
        return 8 * len(data) - ((data[-1] & -data[-1]).bit_length() - 1) if data else 0


class BitWriter:
    """The inverse of BitReader."""

    __slots__ = ("_value", "size")

    def __init__(self) -> None:
        self._value = 0
        self.size = 0

    def u(self, value: int, bits: int) -> None:
        """The lowest `bits` bits of a number."""
        self._value = self._value << bits | value & ((1 << bits) - 1)
        self.size += bits

    def ue(self, value: int) -> None:
        self.u(value + 1, 2 * (value + 1).bit_length() - 1)

    def se(self, value: int) -> None:
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def copy(self, reader: BitReader, end: int) -> None:
        """From where the reader stands to `end`; the reader then stands there."""
        bits = end - reader.position
        self.u(reader.u(bits), bits)

    def aligned(self, with_ones: bool = False) -> bytes:
        """What was written, filled up to a whole byte with zeros or with ones."""
        fill = -self.size % 8
        value = self._value << fill | (((1 << fill) - 1) if with_ones else 0)
        return value.to_bytes((self.size + fill) // 8, "big")
