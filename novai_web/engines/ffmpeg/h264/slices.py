"""Slices of one encoder, written anew for the sequence parameter set of another stream (ITU-T H.264, 7.3.3 and 8.2).

Only what the sequence parameter set shapes is rewritten: how long frame numbers and picture orders are, which picture
parameter set is meant, and where a list of references is put together modulo the highest frame number. The coded
macroblocks stay as they are: to decode them, both sets must agree in what `reason_against` compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from novai_web.engines.ffmpeg.h264.bits import BitReader, BitWriter, unescape
from novai_web.engines.ffmpeg.h264.bits import escape as escaped
from novai_web.engines.ffmpeg.h264.parameters import IDR_SLICE, NAL_TYPE, PPS, REFERENCES_MAX, SLICE, SPS
from novai_web.engines.ffmpeg.malformed import Malformed

P_SLICE, B_SLICE, I_SLICE = range(3)  # what a slice is predicted from: earlier pictures, two of any, none
IDR_PIC_ID_COUNT = 1 << 16
KEYFRAME_HEAD_BYTES = 64  # more than the numbers at its beginning can take
_PROFILES = ("baseline", "main", "high")
_MARKING_WORDS = {1: 1, 2: 1, 3: 2, 4: 1, 6: 1}  # how many numbers follow each command about reference pictures
_FORGET_ALL = 5
_LEVEL_1B = 21


class DoesNotFit(Malformed):
    """Slices that cannot be expressed under the other set, although the two sets are alike."""


def reason_against(encoded: SPS, source: SPS) -> str | None:
    """Why slices of one set cannot be put under the other, as a clause that reads after "because"; None is well."""
    if encoded.macroblocks != source.macroblocks or encoded.crop != source.crop:
        return "its picture is cropped in an unusual way"
    if (encoded.chroma_format, encoded.bit_depths) != (source.chroma_format, source.bit_depths):
        return "its samples are stored in another way"
    if encoded.poc_type == 1 or source.poc_type == 1:
        return "its picture order is of a rare type"
    if encoded.has_scaling_matrix or source.has_scaling_matrix:
        return "its scaling matrix is its own"
    if encoded.lossless != source.lossless or encoded.separate_planes or source.separate_planes:
        return "its samples are stored in another way"
    if not encoded.frame_mbs_only or not source.frame_mbs_only:
        return "it may be interlaced"
    return _tools_missing(encoded, source) or _memory_missing(encoded, source)


def _tools_missing(encoded: SPS, source: SPS) -> str | None:
    if _PROFILES.index(encoded.encoder_profile) > _PROFILES.index(source.encoder_profile):
        return f"its profile is only {source.encoder_profile}"
    if _level(encoded) > _level(source):
        return f"its level is only {_named(source)}, and {_named(encoded)} would be needed"
    if encoded.allows_b_slices and source.direct_8x8 != encoded.direct_8x8:
        return "its frames predict in an unusual way"
    if encoded.allows_b_slices and not source.allows_b_slices:
        return "its frames come in the order in which they are shown"
    return None


def _memory_missing(encoded: SPS, source: SPS) -> str | None:
    if encoded.ref_frames != source.ref_frames:
        return f"its frames refer to {source.ref_frames} others, and {encoded.ref_frames} would be needed"
    if encoded.log2_frame_num > source.log2_frame_num:
        return "its frame numbers are too short"
    for needed, given in (
        (encoded.reorder_frames, source.reorder_frames),
        (encoded.dpb_frames, source.dpb_frames),
    ):
        if given is not None and (needed is None or needed > given) and encoded.allows_b_slices:
            return f"players are told to keep only {given} of its frames, and more would be needed"
    return None


def _level(sps: SPS) -> int:
    """In tenths, doubled: level 1b lies between 1 and 1.1, and is written in two ways."""
    is_1b = sps.level == 9 or (sps.level == 11 and sps.constraints & 0x10 and sps.encoder_profile != "high")
    return _LEVEL_1B if is_1b else 2 * sps.level


def _named(sps: SPS) -> str:
    return "1b" if _level(sps) == _LEVEL_1B else f"{sps.level / 10:g}"


class Keyframe(NamedTuple):
    """What matters of a keyframe's first slice where it comes to stand beside other keyframes."""

    idr_pic_id: int  # two keyframes in a row differ in it
    discards: bool  # the decoder shall throw away what was decoded before and is not shown yet


def is_intra(nal: bytes | memoryview) -> bool:
    """Whether a slice is predicted from no other picture."""
    reader = BitReader(unescape(bytes(nal[1:KEYFRAME_HEAD_BYTES])))
    reader.ue()
    return reader.ue_below(10) % 5 == I_SLICE


def read_keyframe(nal: bytes | memoryview, sps: SPS, ppss: Mapping[int, PPS]) -> Keyframe:
    """The first slice of a keyframe. Raises Malformed when it is none."""
    if nal[0] & NAL_TYPE != IDR_SLICE or not nal[0] >> 5 & 3:
        raise Malformed("its keyframes cannot be read")
    reader = BitReader(unescape(bytes(nal[1:KEYFRAME_HEAD_BYTES])))
    start = _Start.read(reader, IDR_SLICE, sps, ppss)
    if start.first_macroblock or start.type % 5 != I_SLICE:
        raise Malformed("its keyframes cannot be read")
    if ppss[start.pps_id].redundant_pic_cnt:
        reader.ue()
    return Keyframe(start.idr_pic_id, discards=reader.flag())


@dataclass(frozen=True)
class _Start:
    """The part of a slice's header that depends on the sequence parameter set; of frames, never of fields."""

    first_macroblock: int
    type: int
    pps_id: int
    frame_num: int
    idr_pic_id: int
    poc_lsb: int
    poc_bottom: int

    @classmethod
    def read(cls, reader: BitReader, nal_type: int, sps: SPS, ppss: Mapping[int, PPS]) -> "_Start":
        first, kind, pps_id = reader.ue(), reader.ue_below(10), reader.ue()
        if kind % 5 > I_SLICE or pps_id not in ppss:
            raise Malformed("its slices cannot be read")
        frame_num = reader.u(sps.log2_frame_num)
        idr = reader.ue() if nal_type == IDR_SLICE else 0
        lsb = reader.u(sps.log2_poc_lsb)
        bottom = reader.se() if sps.poc_type == 0 and ppss[pps_id].bottom_poc else 0
        return cls(first, kind, pps_id, frame_num, idr, lsb, bottom)


@dataclass(frozen=True)
class _Picture:
    """Where a picture stands since its keyframe, without wrapping: frame number, and picture order."""

    frame: int = 0
    poc: int = 0

    def poc_of(self, lsb: int, bits: int) -> int:
        """The picture order whose lowest bits are these and which is nearest to the last reference (8.2.1.1)."""
        if bits == 0:
            return 0
        half = 1 << bits >> 1
        ahead = (lsb - self.poc) % (2 * half)
        return self.poc + (ahead if ahead <= half else ahead - 2 * half)


class Retarget:
    """Writes an encoder's slices anew for `target`, whose picture parameter set `pps_id` is to be the encoder's own.

    Slices are given in decoding order, from a keyframe on. `idr_base` is even, and is added to the encoder's numbers
    of keyframes, so that neighbours can be made to differ.
    In CAVLC the coded macroblocks move by some bits, which samples stored raw (I_PCM) would not survive; x264 stores
    none unless psychovisual optimisation is switched off.
    """

    def __init__(self, encoded: SPS, pps: PPS, target: SPS, pps_id: int, idr_base: int) -> None:
        if (reason := reason_against(encoded, target)) is not None:
            raise DoesNotFit(reason)
        if pps.slice_groups > 1:
            raise DoesNotFit("it uses slice groups")
        self._encoded, self._pps, self._target = encoded, pps, target
        self._pps_id, self._idr_base = pps_id, idr_base
        self._reference: _Picture | None = None  # the last picture that others may refer to
        self._current: _Picture | None = None
        self._shown = (-1, -1)  # the last picture's order, as the encoder counts and as the target does

    def slice(self, nal: bytes) -> bytes:
        """Raises DoesNotFit for what cannot be said under the target, Malformed for what is no slice."""
        nal_type, is_reference = nal[0] & NAL_TYPE, bool(nal[0] >> 5 & 3)
        if nal_type not in (SLICE, IDR_SLICE):
            raise Malformed("its slices cannot be read")
        data = unescape(nal[1:])
        reader, writer = BitReader(data), BitWriter()
        start = _Start.read(reader, nal_type, self._encoded, {self._pps.id: self._pps})
        picture = self._picture_of(start, nal_type, is_reference)
        self._write_start(writer, start, nal_type, picture)
        _Rest(reader, writer, self._pps, self._encoded, self._target).copy(start.type % 5, nal_type, is_reference)
        return nal[:1] + escaped(self._with_macroblocks(data, reader, writer))

    def _picture_of(self, start: _Start, nal_type: int, is_reference: bool) -> _Picture:
        """The slice's picture: a new one where the slice begins with the first macroblock."""
        if start.first_macroblock == 0:
            if nal_type == IDR_SLICE:
                self._reference, self._shown = _Picture(), (-1, -1)
            picture = self._next_picture(start, nal_type, is_reference)
            self._require_expressible(picture, start, is_reference)
            self._current = picture
            if is_reference:
                self._reference = picture
        if self._current is None:
            raise Malformed("it does not begin with a keyframe")
        return self._current

    def _next_picture(self, start: _Start, nal_type: int, is_reference: bool) -> _Picture:
        reference, sps = self._reference, self._encoded
        if reference is None:
            raise Malformed("it does not begin with a keyframe")
        ahead = (start.frame_num - reference.frame) % (1 << sps.log2_frame_num)
        if ahead != (nal_type != IDR_SLICE):
            raise DoesNotFit("the numbers of its frames have gaps")
        frame = reference.frame + ahead
        if sps.poc_type == 2:
            return _Picture(frame, 2 * frame - (not is_reference))
        return _Picture(frame, reference.poc_of(start.poc_lsb, sps.log2_poc_lsb))

    def _require_expressible(self, picture: _Picture, start: _Start, is_reference: bool) -> None:
        """Type 0 says the distance to the last reference in a few bits; type 2 knows only the order of decoding."""
        target = self._target
        if target.poc_type == 0:
            assert self._reference is not None
            if self._reference.poc_of(picture.poc, target.log2_poc_lsb) != picture.poc:
                raise DoesNotFit("its picture order has too few bits")
            return
        shown = (picture.poc, 2 * picture.frame - (not is_reference))
        if min(new - old for new, old in zip(shown, self._shown, strict=True)) <= 0 or self._is_b(start):
            raise DoesNotFit("its frames come in the order in which they are shown")
        self._shown = shown

    def _is_b(self, start: _Start) -> bool:
        """B slices may weigh by distances in picture order, which type 0 and type 2 count differently."""
        return start.type % 5 == B_SLICE and self._encoded.poc_type != 2

    def _write_start(self, writer: BitWriter, start: _Start, nal_type: int, picture: _Picture) -> None:
        target = self._target
        writer.ue(start.first_macroblock)
        writer.ue(start.type)
        writer.ue(self._pps_id)
        writer.u(picture.frame, target.log2_frame_num)
        if nal_type == IDR_SLICE:
            writer.ue((self._idr_base + start.idr_pic_id) % IDR_PIC_ID_COUNT)
        writer.u(picture.poc, target.log2_poc_lsb)
        if target.poc_type == 0 and self._pps.bottom_poc:
            writer.se(start.poc_bottom)

    def _with_macroblocks(self, data: bytes, reader: BitReader, writer: BitWriter) -> bytes:
        """CABAC begins at a whole byte and is copied; CAVLC follows at once, and its end is aligned anew."""
        if self._pps.cabac:
            return writer.aligned(with_ones=True) + data[(reader.position + 7) // 8 :]
        if reader.data_end <= reader.position:
            raise Malformed("its slices cannot be read")
        writer.copy(reader, reader.data_end)
        return writer.aligned()


class _Rest:
    """The rest of a slice's header, copied; only references are counted modulo another frame number."""

    def __init__(self, reader: BitReader, writer: BitWriter, pps: PPS, encoded: SPS, target: SPS) -> None:
        self.reader, self.writer, self.pps = reader, writer, pps
        self.chroma = encoded.chroma_format != 0
        self.modulus, self.new_modulus = 1 << encoded.log2_frame_num, 1 << target.log2_frame_num

    def copy(self, kind: int, nal_type: int, is_reference: bool) -> None:
        if self.pps.redundant_pic_cnt and self._ue():
            raise DoesNotFit("it carries redundant pictures")
        if kind == B_SLICE:
            self._u(1)  # direct prediction is spatial
        if kind != I_SLICE:
            self._predicted(kind)
        if is_reference:
            self._marking(nal_type)
        if self.pps.cabac and kind != I_SLICE:
            self._ue()
        self._se()  # quantiser
        if self.pps.deblocking_control and self._ue() != 1:
            self._se(), self._se()

    def _predicted(self, kind: int) -> None:
        lists = 2 if kind == B_SLICE else 1
        counts = list(self.pps.default_refs)
        if self._u(1):
            counts[:lists] = [self._ue() + 1 for _ in range(lists)]
        if max(counts) > REFERENCES_MAX:
            raise Malformed("its slices cannot be read")
        for _ in range(lists):
            if self._u(1):
                self._references()
        if self.pps.weighted if kind == P_SLICE else self.pps.weighted_bipred == 1:
            self._weights(counts[:lists])

    def _references(self) -> None:
        """How far behind the current picture each reference lies; before each step it is the one before it (8.2.4.3).

        An encoder may go a distance in either direction, around the highest frame number; that is another distance
        under another highest number, so the steps are put together anew.
        """
        behind = 0
        for _ in range(REFERENCES_MAX + 1):
            step = self.reader.ue()
            if step > 1:
                self.writer.ue(step)
            if step == 3:
                return
            if step == 2:
                self._ue()  # a long-term picture's own number
                continue
            distance = self.reader.ue() + 1
            before, behind = behind, (behind + (-distance if step else distance)) % self.modulus
            ahead = behind - before or self.new_modulus
            self.writer.ue(0 if ahead > 0 else 1)
            self.writer.ue(abs(ahead) - 1)
        raise Malformed("its slices cannot be read")

    def _weights(self, counts: list[int]) -> None:
        self._ue()
        if self.chroma:
            self._ue()
        for count in counts:
            for _ in range(count):
                for numbers in (2, 4) if self.chroma else (2,):
                    if self._u(1):
                        for _ in range(numbers):
                            self._se()

    def _marking(self, nal_type: int) -> None:
        """What becomes of reference pictures: distances, which have no modulus, and long-term numbers."""
        if nal_type == IDR_SLICE:
            self._u(2)
        elif self._u(1):
            while command := self._ue():
                if command == _FORGET_ALL:
                    raise DoesNotFit("its frames begin to count anew")
                for _ in range(_MARKING_WORDS.get(command, 0)):
                    self._ue()

    def _u(self, bits: int) -> int:
        value = self.reader.u(bits)
        self.writer.u(value, bits)
        return value

    def _ue(self) -> int:
        value = self.reader.ue()
        self.writer.ue(value)
        return value

    def _se(self) -> int:
        value = self.reader.se()
        self.writer.se(value)
        return value
