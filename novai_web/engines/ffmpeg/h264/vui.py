"""What a sequence parameter set says besides: shape, colour, timing, and how deep frames are reordered (Annex E)."""

from dataclasses import dataclass

from novai_web.engines.ffmpeg.h264.bits import BitReader

CPB_COUNT_MAX = 32
DPB_FRAMES_MAX = 16

_EXTENDED_ASPECT = 255
_ASPECTS = {
    1: (1, 1),
    2: (12, 11),
    3: (10, 11),
    4: (16, 11),
    5: (40, 33),
    6: (24, 11),
    7: (20, 11),
    8: (32, 11),
    9: (80, 33),
    10: (18, 11),
    11: (15, 11),
    12: (64, 33),
    13: (160, 99),
    14: (4, 3),
    15: (3, 2),
    16: (2, 1),
}


@dataclass(frozen=True, kw_only=True)
class Usability:
    """Nothing of it changes what a slice decodes to; what is None is not said.

    `colour` is primaries, transfer and matrix as in ITU-T H.273; `timing` is units in a tick, ticks in a second (there
    are two for a frame), and whether the rate is fixed.
    """

    sample_aspect: tuple[int, int] | None = None
    full_range: bool | None = None
    colour: tuple[int, int, int] | None = None
    timing: tuple[int, int, bool] | None = None
    has_hrd: bool = False
    has_pic_struct: bool = False
    reorder_frames: int | None = None
    dpb_frames: int | None = None


def read_usability(reader: BitReader) -> Usability:
    aspect = _aspect(reader) if reader.flag() else None
    if reader.flag():
        reader.u(1)  # overscan is appropriate
    full_range, colour = _signal(reader) if reader.flag() else (None, None)
    if reader.flag():
        reader.ue(), reader.ue()  # where the chroma samples lie
    timing = (reader.u(32), reader.u(32), reader.flag()) if reader.flag() else None
    has_hrd = _skip_hrds(reader)
    has_pic_struct = reader.flag()
    reorder_frames, dpb_frames = _restriction(reader) if reader.flag() else (None, None)
    return Usability(
        sample_aspect=aspect,
        full_range=full_range,
        colour=colour,
        timing=timing,
        has_hrd=has_hrd,
        has_pic_struct=has_pic_struct,
        reorder_frames=reorder_frames,
        dpb_frames=dpb_frames,
    )


def _aspect(reader: BitReader) -> tuple[int, int] | None:
    code = reader.u(8)
    width, height = (reader.u(16), reader.u(16)) if code == _EXTENDED_ASPECT else _ASPECTS.get(code, (0, 0))
    return (width, height) if width and height else None


def _signal(reader: BitReader) -> tuple[bool, tuple[int, int, int] | None]:
    reader.u(3)  # PAL, NTSC, …: the analogue source
    full_range = reader.flag()
    return full_range, (reader.u(8), reader.u(8), reader.u(8)) if reader.flag() else None


def _skip_hrds(reader: BitReader) -> bool:
    """Of the NAL units, and of the video coding layer."""
    found = False
    for _ in range(2):
        if reader.flag():
            found = True
            count = reader.ue_below(CPB_COUNT_MAX) + 1
            reader.u(8)
            for _ in range(count):
                reader.ue(), reader.ue(), reader.u(1)
            reader.u(20)
    if found:
        reader.u(1)  # low delay
    return found


def _restriction(reader: BitReader) -> tuple[int, int]:
    reader.u(1)  # motion vectors over picture boundaries
    for _ in range(4):
        reader.ue()
    reorder_frames = reader.ue_below(DPB_FRAMES_MAX + 1)
    return reorder_frames, reader.ue_below(DPB_FRAMES_MAX + 1)
