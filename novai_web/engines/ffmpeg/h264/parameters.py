"""Parameter sets, and the record of them that an MP4 carries (ITU-T H.264, 7.3.2; ISO/IEC 14496-15, 5.3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from novai_web.engines.ffmpeg.h264.bits import BitReader, BitWriter, escape, unescape
from novai_web.engines.ffmpeg.h264.vui import Usability, read_usability
from novai_web.engines.ffmpeg.malformed import Malformed

SLICE, IDR_SLICE, SEI, SPS_TYPE, PPS_TYPE, DELIMITER = 1, 5, 6, 7, 8, 9
NAL_TYPE = 31  # the bits of a NAL unit's first byte that say its type

BASELINE, MAIN, EXTENDED, HIGH, HIGH_10, HIGH_422, HIGH_444 = 66, 77, 88, 100, 110, 122, 244
_WITH_CHROMA_FORMAT = {HIGH, HIGH_10, HIGH_422, HIGH_444, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_WITHOUT_EXTENSION = {BASELINE, MAIN, EXTENDED}

MACROBLOCKS_MAX = 139_264  # of a frame, at the highest level (Table A-1)
NALS_MAX = 10_000  # of a sample
SPS_COUNT, PPS_COUNT, REFERENCES_MAX = 32, 256, 32
_POC_CYCLE_MAX = 256
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}


def nals_of_annexb(data: bytes) -> list[bytes]:
    """The NAL units between start codes, without the zeros that may follow each."""
    return [nal for part in data.split(b"\0\0\1")[1:] if (nal := part.rstrip(b"\0"))]


def nals_of_sample(sample: bytes | memoryview, length_size: int) -> list[memoryview]:
    """The NAL units of a sample of an MP4. Raises Malformed when their lengths do not add up to it."""
    view, at = memoryview(sample), 0
    found: list[memoryview] = []
    seen = 0
    while at < len(view):
        seen += 1  # the empty ones too
        if seen > NALS_MAX:
            raise Malformed("its samples are damaged")
        start = at + length_size
        at = start + int.from_bytes(view[at:start], "big")
        if at > len(view) or start > len(view):
            raise Malformed("its samples are damaged")
        if at > start:
            found.append(view[start:at])
    return found


@dataclass(frozen=True, kw_only=True)
class SPS(Usability):
    """A sequence parameter set. Sizes are in luma samples, `crop` is left, right, top, bottom."""

    nal: bytes
    id: int
    profile: int
    constraints: int
    level: int
    chroma_format: int
    separate_planes: bool
    bit_depths: tuple[int, int]  # of luma and of chroma
    lossless: bool  # the lowest quantiser copies samples
    has_scaling_matrix: bool
    log2_frame_num: int
    poc_type: int
    log2_poc_lsb: int  # 0 where the type is another
    ref_frames: int
    gaps_allowed: bool
    macroblocks: tuple[int, int]
    frame_mbs_only: bool
    direct_8x8: bool
    crop: tuple[int, int, int, int]

    @classmethod
    def parse(cls, nal: bytes) -> Self:
        reader = _payload(nal, SPS_TYPE)
        profile, constraints, level = reader.u(8), reader.u(8), reader.u(8)
        number = reader.ue_below(SPS_COUNT)
        chroma_format, separate, depths, lossless, has_matrix = 1, False, (8, 8), False, False
        if profile in _WITH_CHROMA_FORMAT:
            chroma_format = reader.ue_below(4)
            separate = chroma_format == 3 and reader.flag()
            depths = (8 + reader.ue_below(7), 8 + reader.ue_below(7))
            lossless, has_matrix = reader.flag(), reader.flag()
            if has_matrix:
                _skip_scaling_lists(reader, 12 if chroma_format == 3 else 8)
        log2_frame_num = 4 + reader.ue_below(13)
        poc_type, log2_poc_lsb = _picture_order(reader)
        ref_frames, gaps_allowed = reader.ue_below(REFERENCES_MAX // 2 + 1), reader.flag()
        macroblocks, frame_mbs_only = _macroblocks(reader)
        direct_8x8 = reader.flag()
        crop = _crop(reader, macroblocks, 0 if separate else chroma_format, frame_mbs_only)
        return cls(
            **vars(read_usability(reader) if reader.flag() else Usability()),
            nal=bytes(nal),
            id=number,
            profile=profile,
            constraints=constraints,
            level=level,
            chroma_format=chroma_format,
            separate_planes=separate,
            bit_depths=depths,
            lossless=lossless,
            has_scaling_matrix=has_matrix,
            log2_frame_num=log2_frame_num,
            poc_type=poc_type,
            log2_poc_lsb=log2_poc_lsb,
            ref_frames=ref_frames,
            gaps_allowed=gaps_allowed,
            macroblocks=macroblocks,
            frame_mbs_only=frame_mbs_only,
            direct_8x8=direct_8x8,
            crop=crop,
        )

    @property
    def bit_depth(self) -> int:
        return max(self.bit_depths)

    @property
    def width(self) -> int:
        return 16 * self.macroblocks[0] - self.crop[0] - self.crop[1]

    @property
    def height(self) -> int:
        return 16 * self.macroblocks[1] - self.crop[2] - self.crop[3]

    @property
    def encoder_profile(self) -> str:
        """What an encoder must keep to, in x264's words, so that its slices keep the promises of this set."""
        if self.profile == BASELINE or self.constraints & 0x80:
            return "baseline"
        return "main" if self.profile == MAIN or self.constraints & 0x40 else "high"

    @property
    def allows_b_slices(self) -> bool:
        """Whether a frame may be predicted from later ones. Constraint 5 of Main and High promises that none is."""
        promised = self.profile in (MAIN, HIGH) and self.constraints & 0x04
        possible = self.encoder_profile != "baseline" and self.poc_type != 2 and self.ref_frames > 1
        return possible and not promised and self.reorder_frames != 0

    @property
    def is_intra_only(self) -> bool:
        return self.profile in (HIGH, HIGH_10, HIGH_422, HIGH_444) and self.constraints & 0x10 != 0


@dataclass(frozen=True)
class PPS:
    """A picture parameter set, as far as headers of slices depend on it."""

    nal: bytes
    id: int
    sps_id: int
    cabac: bool
    bottom_poc: bool  # slices say how far the bottom field's order is from the top field's
    slice_groups: int
    default_refs: tuple[int, int]
    weighted: bool  # weights for P slices stand in their headers
    weighted_bipred: int  # for B slices: 0 none, 1 in their headers, 2 by distance
    deblocking_control: bool
    redundant_pic_cnt: bool

    @classmethod
    def parse(cls, nal: bytes) -> Self:
        reader = _payload(nal, PPS_TYPE)
        number, sps_id = reader.ue_below(PPS_COUNT), reader.ue_below(SPS_COUNT)
        cabac, bottom_poc = reader.flag(), reader.flag()
        slice_groups = reader.ue_below(8) + 1
        if slice_groups > 1:
            _skip_slice_groups(reader, slice_groups)
        refs = (reader.ue_below(REFERENCES_MAX) + 1, reader.ue_below(REFERENCES_MAX) + 1)
        weighted, weighted_bipred = reader.flag(), reader.u(2)
        for _ in range(3):
            reader.se()  # quantisers at the beginning, and of chroma
        deblocking_control, _constrained_intra, redundant = reader.flag(), reader.flag(), reader.flag()
        return cls(
            nal=bytes(nal),
            id=number,
            sps_id=sps_id,
            cabac=cabac,
            bottom_poc=bottom_poc,
            slice_groups=slice_groups,
            default_refs=refs,
            weighted=weighted,
            weighted_bipred=weighted_bipred,
            deblocking_control=deblocking_control,
            redundant_pic_cnt=redundant,
        )

    def with_ids(self, pps_id: int, sps_id: int) -> bytes:
        """The same set under other numbers, as a NAL unit; its other bits are copied."""
        reader, writer = _payload(self.nal, PPS_TYPE), BitWriter()
        reader.ue(), reader.ue()
        writer.ue(pps_id)
        writer.ue(sps_id)
        writer.copy(reader, reader.data_end)
        return self.nal[:1] + escape(writer.aligned())


@dataclass(frozen=True)
class AvcConfig:
    """The decoder configuration record, box "avcC": parameter sets, and how long the lengths in samples are."""

    length_size: int
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    level: int
    sps_extensions: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        if len(data) < 7 or data[0] != 1:
            raise Malformed("its H.264 configuration cannot be read")
        length_size = (data[4] & 3) + 1
        if length_size == 3:
            raise Malformed("its H.264 configuration cannot be read")
        sps, at = _record(data, 6, data[5] & 31, SPS_TYPE)
        pps, at = _record(data, at + 1, data[at] if at < len(data) else -1, PPS_TYPE)
        extensions: tuple[bytes, ...] = ()
        if sps and sps[0][1] not in _WITHOUT_EXTENSION and len(data) >= at + 4:
            extensions, at = _record(data, at + 4, data[at + 3], None)
        return cls(length_size, sps, pps, data[3], extensions)

    def to_bytes(self) -> bytes:
        """Needs a sequence parameter set; profile and compatibility are the first one's."""
        first = SPS.parse(self.sps[0])
        head = bytes((1, first.profile, first.constraints, self.level, 0xFC | self.length_size - 1))
        record = head + _recorded(self.sps, 0xE0) + _recorded(self.pps)
        if first.profile in _WITHOUT_EXTENSION:
            return record
        luma, chroma = first.bit_depths
        extension = bytes((0xFC | first.chroma_format, 0xF8 | luma - 8, 0xF8 | chroma - 8))
        return record + extension + _recorded(self.sps_extensions)


def _payload(nal: bytes, kind: int) -> BitReader:
    if not nal or nal[0] & NAL_TYPE != kind:
        raise Malformed("its parameters cannot be read")
    return BitReader(unescape(nal[1:]))


def _record(data: bytes, at: int, count: int, kind: int | None) -> tuple[tuple[bytes, ...], int]:
    """So many NAL units with 16-bit lengths, and where they end."""
    found = []
    if count < 0:
        raise Malformed("its H.264 configuration cannot be read")
    for _ in range(count):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        nal = bytes(data[start:at])
        if at > len(data) or not nal or (kind is not None and nal[0] & NAL_TYPE != kind):
            raise Malformed("its H.264 configuration cannot be read")
        found.append(nal)
    return tuple(found), at


def _recorded(nals: Sequence[bytes], reserved: int = 0) -> bytes:
    return bytes((reserved | len(nals),)) + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def _skip_scaling_lists(reader: BitReader, count: int) -> None:
    for number in range(count):
        if reader.flag():
            scale = 8
            for _ in range(16 if number < 6 else 64):
                scale = (scale + reader.se()) % 256
                if scale == 0:  # the rest repeats the last
                    break


def _picture_order(reader: BitReader) -> tuple[int, int]:
    poc_type = reader.ue_below(3)
    if poc_type == 0:
        return poc_type, 4 + reader.ue_below(13)
    if poc_type == 1:
        reader.u(1), reader.se(), reader.se()
        for _ in range(reader.ue_below(_POC_CYCLE_MAX)):
            reader.se()
    return poc_type, 0


def _macroblocks(reader: BitReader) -> tuple[tuple[int, int], bool]:
    width, height = reader.ue_below(MACROBLOCKS_MAX) + 1, reader.ue_below(MACROBLOCKS_MAX) + 1
    frame_mbs_only = reader.flag()
    if not frame_mbs_only:
        height *= 2
        reader.u(1)  # fields and frames may alternate within a picture
    if width * height > MACROBLOCKS_MAX:
        raise Malformed("its picture is larger than H.264 allows")
    return (width, height), frame_mbs_only


def _crop(
    reader: BitReader, macroblocks: tuple[int, int], chroma_format: int, frame_mbs_only: bool
) -> tuple[int, int, int, int]:
    if not reader.flag():
        return 0, 0, 0, 0
    across, down = _CROP_UNITS[chroma_format]
    down *= 1 if frame_mbs_only else 2
    left, right, top, bottom = across * reader.ue(), across * reader.ue(), down * reader.ue(), down * reader.ue()
    if left + right >= 16 * macroblocks[0] or top + bottom >= 16 * macroblocks[1]:
        raise Malformed("nothing of its picture is left to be shown")
    return left, right, top, bottom


def _skip_slice_groups(reader: BitReader, groups: int) -> None:
    kind = reader.ue_below(7)
    if kind == 0:
        for _ in range(groups):
            reader.ue()
    elif kind == 2:
        for _ in range(groups - 1):
            reader.ue(), reader.ue()
    elif kind in (3, 4, 5):
        reader.u(1), reader.ue()
    elif kind == 6:
        size = reader.ue_below(MACROBLOCKS_MAX) + 1
        reader.u(size * (groups - 1).bit_length())
