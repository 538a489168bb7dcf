"""How a stored picture must be turned to be seen upright, from its display matrix."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple, cast

import av
from av.sidedata.sidedata import SideData, Type

# (a, b, c, d) of the matrix: a stored point (x, y) is shown at (a·x + c·y, b·x + d·y). The filters are libav's.
_TURNS: dict[tuple[int, int, int, int], tuple[int, tuple[str, ...]]] = {
    (1, 0, 0, 1): (0, ()),
    (-1, 0, 0, -1): (180, ("hflip", "vflip")),
    (-1, 0, 0, 1): (0, ("hflip",)),
    (1, 0, 0, -1): (180, ("vflip",)),
    (0, 1, -1, 0): (90, ("transpose=clock",)),
    (0, -1, 1, 0): (270, ("transpose=cclock",)),
    (0, 1, 1, 0): (90, ("transpose=cclock_flip",)),
    (0, -1, -1, 0): (270, ("transpose=clock_flip",)),
}


class Turn(NamedTuple):
    """Degrees clockwise, and the filters that do it."""

    degrees: int
    filters: tuple[str, ...]


UPRIGHT = Turn(0, ())


def turn_of(frame: av.VideoFrame) -> Turn:
    """Angles between the quarters are shown as the nearest quarter."""
    matrix = next((data for data in _side_data(frame) if data.type == Type.DISPLAYMATRIX), None)
    if matrix is None:
        return Turn(0, ())
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return turn_of_matrix(a, b, c, d)


def turn_of_matrix(a: int, b: int, c: int, d: int) -> Turn:
    return Turn(*_TURNS[_nearest(a, b, c, d)])


def _side_data(frame: av.VideoFrame) -> tuple[SideData, ...]:
    """PyAV types this as a mapping of strings; what it holds are these."""
    return tuple(cast(Iterable[SideData], frame.side_data))


def _nearest(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    def sign(x: int) -> int:
        return (x > 0) - (x < 0)

    if abs(a) + abs(d) >= abs(b) + abs(c):
        return sign(a) or 1, 0, 0, sign(d) or 1
    return 0, sign(b), sign(c), 0


def displayed_size(width: int, height: int, sample_aspect: Fraction | None, degrees: int) -> tuple[int, int]:
    """Upright size with square pixels; narrow pixels are widened, wide ones too, so that no line is lost."""
    if sample_aspect and sample_aspect > 0 and sample_aspect != 1:
        width = max(1, round(width * sample_aspect))
    return (height, width) if degrees in (90, 270) else (width, height)
