"""Parameter sets say what libav says, and slices moved under another stream's set decode to the very same pictures."""

import random
from dataclasses import replace
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from novai_web.engines.ffmpeg.h264.bits import BitReader, BitWriter, escape, unescape
from novai_web.engines.ffmpeg.h264.parameters import (
    PPS,
    SPS,
    AvcConfig,
    nals_of_annexb,
    nals_of_sample,
)
from novai_web.engines.ffmpeg.h264.slices import DoesNotFit, Retarget, is_intra, read_keyframe, reason_against
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import VISUAL_HEADER, child
from novai_web.engines.ffmpeg.mp4.reading import Movie
from tests import media, streams
from tests.streams import Picture, Stream, encode, sps_with

MANY_B = "ref=4:bframes=3:b-adapt=0:b-pyramid=normal"
ZEROS = st.lists(st.sampled_from([b"\0", b"\0\0", b"\1", b"\2", b"\3", b"\xff"]), max_size=40).map(b"".join)


@given(ZEROS | st.binary(max_size=200))
def test_what_is_escaped_holds_no_start_code_and_comes_back(data):
    escaped = escape(data)
    assert not any(escaped[at : at + 2] == b"\0\0" and escaped[at + 2] < 3 for at in range(len(escaped) - 2))
    assert unescape(escaped) == data


@given(st.lists(st.tuples(st.sampled_from(["u", "ue", "se"]), st.integers(-(1 << 31) + 1, (1 << 31) - 1))))
def test_numbers_are_read_as_they_were_written(numbers):
    writer = BitWriter()
    wanted = [(kind, value if kind == "se" else abs(value)) for kind, value in numbers]
    for kind, value in wanted:
        writer.u(value, 31) if kind == "u" else getattr(writer, kind)(value)
    reader = BitReader(writer.aligned())
    assert [(kind, reader.u(31) if kind == "u" else getattr(reader, kind)()) for kind, _ in wanted] == wanted
    assert reader.position == writer.size


@pytest.mark.parametrize("data", [b"", b"\0", bytes(9), b"\0\0\0\0\1"])
def test_a_number_that_does_not_end_is_malformed(data):
    with pytest.raises(Malformed):
        BitReader(data).ue()


def test_reading_stops_at_the_end():
    reader = BitReader(b"\xff")
    assert (reader.u(5), reader.u(3), reader.u(0)) == (31, 7, 0)
    with pytest.raises(Malformed):
        reader.u(1)


def test_the_stop_bit_is_the_last_one():
    assert BitReader(b"\xff\x80\0\0").data_end == 9
    assert BitReader(b"\0\0").data_end == 0


SHAPES = {
    "high": {},
    "cropped": {"size": (118, 70)},
    "baseline": {"profile": "baseline"},
    "main": {"profile": "main"},
    "ten bits": {"pixel_format": "yuv420p10le"},
    "4:2:2": {"pixel_format": "yuv422p"},
    "4:4:4, odd": {"pixel_format": "yuv444p", "size": (111, 63)},
    "black and white": {"pixel_format": "gray"},
    "interlaced": {"parameters": "tff=1"},
    "one buffer": {"parameters": "nal-hrd=cbr:vbv-maxrate=500:vbv-bufsize=500:bitrate=500"},
    "all of the usability": {
        "parameters": "sar=4/3:fullrange=on:colorprim=bt709:transfer=smpte170m:colormatrix=bt470bg:overscan=show"
        ":videoformat=pal:chromaloc=2:pic-struct=1"
    },
    "rare aspect": {"parameters": "sar=1234/1001"},
    "keyframes only": {"parameters": "keyint=1"},
}


@pytest.mark.parametrize("given_", SHAPES.values(), ids=SHAPES)
def test_parameter_sets_say_what_libav_says(given_):
    stream = encode(frames=2, **given_)
    sps, _ = stream.parsed
    context = av.CodecContext.create("h264", "r")
    context.extradata = streams.annexb([stream.sps, stream.pps])
    (frame, *_) = context.decode(av.Packet(streams.annexb(stream.pictures[0].nals))) + context.decode(None)
    assert (sps.width, sps.height) == (frame.width, frame.height)
    assert Fraction(*(sps.sample_aspect or (1, 1))) == (context.sample_aspect_ratio or 1)
    assert sps.bit_depth == frame.format.components[0].bits
    chroma = frame.format.name.removeprefix("yuvj").removeprefix("yuv")[:3]
    has_none = given_.get("pixel_format") == "gray"  # libav paints it grey in 4:2:0
    assert sps.chroma_format == (0 if has_none else {"420": 1, "422": 2, "444": 3}[chroma])
    assert bool(sps.full_range) == (context.color_range == 2)
    assert (sps.colour or (2, 2, 2)) == (context.color_primaries, context.color_trc, context.colorspace)


def test_what_x264_was_told_is_what_its_parameter_sets_say():
    sps, pps = encode("ref=5:bframes=3:b-pyramid=normal:weightp=2", frames=2, level="3.1").parsed
    assert (sps.profile, sps.level, sps.ref_frames, sps.reorder_frames, sps.dpb_frames) == (100, 31, 5, 2, 5)
    assert (sps.poc_type, sps.frame_mbs_only, sps.direct_8x8, sps.gaps_allowed) == (0, True, True, False)
    assert (pps.cabac, pps.weighted, pps.weighted_bipred, pps.default_refs[0]) == (True, True, 2, 5)
    assert sps.timing == (1, 2 * streams.RATE, False)
    sps, pps = encode("weightp=0:ref=1", frames=2, profile="baseline").parsed
    assert (sps.poc_type, pps.cabac, pps.weighted, sps.encoder_profile) == (2, False, False, "baseline")
    assert not sps.allows_b_slices
    assert encode("nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500:bitrate=400", frames=2).parsed[0].has_hrd
    assert not encode("tff=1", frames=2).parsed[0].frame_mbs_only


@pytest.mark.parametrize(
    "changes",
    [
        {"log2_frame_num": 16, "log2_poc_lsb": 16, "id": 31},
        {"poc_type": 1, "log2_poc_lsb": 0},
        {"poc_type": 2, "log2_poc_lsb": 0, "reorder_frames": None, "dpb_frames": None},
        {"frame_mbs_only": False, "crop": (4, 6, 8, 4), "macroblocks": (7, 6)},
        {"chroma_format": 3, "profile": 244, "separate_planes": True, "has_scaling_matrix": True, "lossless": True},
        {"bit_depths": (10, 9), "profile": 110, "gaps_allowed": True, "ref_frames": 16, "direct_8x8": False},
        {"has_scaling_matrix": True, "level": 9, "constraints": 0x10},
    ],
)
def test_rare_parameters_are_read_as_they_were_written(changes):
    base = replace(SPS.parse(encode(frames=2).sps), timing=None)
    written = sps_with(base, **changes)
    assert SPS.parse(written) == replace(base, **changes, nal=written)


def test_picture_parameters_get_other_numbers_and_stay_the_same_otherwise():
    stream = encode("cqm=jvt", frames=3)
    for number, sps_id in [(0, 0), (7, 31), (255, 1)]:
        renamed = PPS.parse(stream.parsed[1].with_ids(number, sps_id))
        assert replace(renamed, nal=b"") == replace(stream.parsed[1], nal=b"", id=number, sps_id=sps_id)
        assert renamed.with_ids(0, 0) == stream.pps


def test_slice_groups_and_redundant_pictures_are_seen():
    for kind, numbers in {0: (4, 5), 1: (), 2: (0, 9), 3: (1, 3), 6: ()}.items():
        bits = BitWriter()
        for value in (1, 0):
            bits.ue(value)
        bits.u(0b00, 2)
        bits.ue(1)
        bits.ue(kind)
        for number in numbers:
            bits.u(1, 1) if kind == 3 and number == 1 else bits.ue(number)
        if kind == 6:
            bits.ue(27)
            bits.u(0, 28)
        bits.ue(2)
        bits.ue(1)
        bits.u(0b101, 3)
        for _ in range(3):
            bits.se(0)
        bits.u(0b0011, 4)
        pps = PPS.parse(b"\x68" + escape(bits.aligned()))
        assert (pps.slice_groups, pps.default_refs, pps.weighted_bipred, pps.redundant_pic_cnt) == (2, (3, 2), 1, True)


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"options": {"profile": "baseline"}},
        {"pixel_format": "yuv420p10le"},
        {"pixel_format": "yuv444p"},
        {"pixel_format": "yuv422p10le"},
    ],
    ids=["high", "baseline", "ten bits", "4:4:4", "4:2:2"],
)
def test_the_configuration_is_written_as_libav_writes_it(tmp_path, given_):
    path = media.video(tmp_path / "clip.mp4", frames=3, sound=False, **given_)
    with Movie(path) as movie:
        record = child(movie.video.entry, b"avcC", VISUAL_HEADER)
    config = AvcConfig.parse(record)
    assert config.to_bytes() == record
    assert (config.length_size, len(config.sps), len(config.pps)) == (4, 1, 1)
    assert AvcConfig.parse(replace(config, pps=config.pps * 3).to_bytes()).pps == config.pps * 3


def test_a_high_profile_without_its_extension_is_read_all_the_same():
    stream = encode(frames=2)
    record = AvcConfig(4, (stream.sps,), (stream.pps,), 13).to_bytes()
    assert AvcConfig.parse(record[:-4]) == AvcConfig.parse(record)


def test_samples_whose_lengths_do_not_add_up_are_malformed():
    assert [bytes(nal) for nal in nals_of_sample(b"\0\1a\0\2bc\0\0", 2)] == [b"a", b"bc"]
    for sample in (b"\0\1", b"\0", b"\0\1a\0", b"\xff\xffa"):
        with pytest.raises(Malformed):
            nals_of_sample(sample, 2)


def test_zeros_between_nal_units_belong_to_none():
    assert nals_of_annexb(b"\0\0\0\1a\0\0\0\1b\0\0\1\0\0\1c\0\0") == [b"a", b"b", b"c"]


ENCODERS = {
    "b frames as references": {"parameters": MANY_B},
    "b frames as strict references": {"parameters": "ref=4:bframes=3:b-adapt=0:b-pyramid=strict:weightb=1"},
    "no b frames": {"parameters": "ref=4:bframes=0"},
    "weights": {"parameters": MANY_B + ":weightp=2", "fade": True},
    "weights without b frames": {"parameters": "ref=4:bframes=0:weightp=2", "fade": True},
    "CAVLC": {"parameters": MANY_B + ":cabac=0:weightp=2", "fade": True},
    "CAVLC in slices": {"parameters": "ref=3:bframes=0:cabac=0:slices=3:weightp=2"},
    "CAVLC, fine": {"parameters": "ref=2:cabac=0", "crf": "4", "frames": 9},
    "slices": {"parameters": MANY_B + ":slices=4"},
    "refreshed bit by bit": {"parameters": "intra-refresh=1:keyint=12"},
    "many keyframes": {"parameters": "keyint=5:min-keyint=1:ref=8:bframes=2"},
    "keyframes only": {"parameters": "keyint=1", "frames": 6},
    "many references": {"parameters": "ref=16:bframes=6:b-adapt=0:b-pyramid=normal", "preset": "slow"},
    "baseline": {"profile": "baseline"},
    "matrices": {"parameters": MANY_B + ":cqm=jvt"},
    "edges left as they are": {"parameters": MANY_B + ":no-deblock=1:cabac=0"},
    "temporal prediction": {"parameters": MANY_B + ":direct=temporal"},
}
TARGETS = {
    "longest": {"log2_frame_num": 16, "log2_poc_lsb": 16},
    "odd": {"log2_frame_num": 7, "log2_poc_lsb": 9},
    "shorter order": {"log2_poc_lsb": 5},
    "other type": {"poc_type": 2, "log2_poc_lsb": 0},
}


@pytest.fixture(scope="module", params=ENCODERS.values(), ids=ENCODERS)
def encoded(request) -> Stream:
    return encode(**{"frames": 40, **request.param})


@pytest.mark.parametrize("changes", TARGETS.values(), ids=TARGETS)
def test_slices_under_another_set_decode_to_the_same_pictures(encoded, changes):
    sps, pps = encoded.parsed
    changes = {"poc_type": 0, "log2_frame_num": max(sps.log2_frame_num, 5), "id": 9} | changes
    nal = sps_with(sps, **changes)
    target = SPS.parse(nal)
    if (sps.allows_b_slices and target.poc_type == 2) or (sps.ref_frames == 16 and target.log2_poc_lsb == 5):
        with pytest.raises(DoesNotFit):
            moved(Retarget(sps, pps, target, 77, 1000), encoded)
        return
    pictures = moved(Retarget(sps, pps, target, 77, 1000), encoded)
    assert streams.decode([nal, pps.with_ids(77, 9)], pictures) == encoded.shown()
    renamed = {77: PPS.parse(pps.with_ids(77, 9))}
    for before, after in zip(encoded.pictures, pictures, strict=True):
        if before.is_keyframe:
            number = read_keyframe(before.nals[0], sps, {pps.id: pps}).idr_pic_id
            assert read_keyframe(after.nals[0], target, renamed).idr_pic_id == 1000 + number


def test_under_its_own_set_a_slice_stays_as_it_is(encoded):
    sps, pps = encoded.parsed
    assert moved(Retarget(sps, pps, sps, pps.id, 0), encoded) == list(encoded.pictures)


def moved(retarget: Retarget, stream: Stream) -> list[Picture]:
    return [replace(picture, nals=tuple(map(retarget.slice, picture.nals))) for picture in stream.pictures]


PAIRS = {
    "the same settings": (MANY_B, MANY_B),
    "fewer b frames": (MANY_B, "ref=3:dpb-size=4:bframes=2:b-pyramid=none"),
    "none at all, of another type of order": (MANY_B, "ref=2:dpb-size=4:bframes=0:weightp=2"),
    "a phone's": ("ref=1:bframes=0", "ref=1:bframes=0:slices=2"),
    "longer numbers": ("ref=8:bframes=3:b-pyramid=normal", "ref=8:dpb-size=8:bframes=3:b-pyramid=none"),
    "CAVLC beside CABAC": (MANY_B, MANY_B + ":cabac=0"),
    "CABAC beside CAVLC": (MANY_B + ":cabac=0", MANY_B),
    "its own matrices": (MANY_B + ":cqm=jvt", MANY_B),
    "weights": (MANY_B + ":weightp=2", MANY_B + ":weightp=2:subme=7"),
}


def joined(source: Stream, ours: Stream) -> tuple[Stream, list[bytes], streams.Shown]:
    """The source's first group, ours, and the source's third; its picture parameter sets; and what each part shows."""
    keyframes = [place for place, picture in enumerate(source.pictures) if picture.is_keyframe]
    first, third = source.pictures[: keyframes[1]], source.pictures[keyframes[2] : keyframes[3]]
    (sps, _), (ours_sps, ours_pps) = source.parsed, ours.parsed
    assert reason_against(ours_sps, sps) is None
    middle = ours.later(len(first))
    last = replace(source, pictures=third).later(len(first) + len(middle.pictures) - min(p.time for p in third))
    meant = replace(source, pictures=first).shown() + middle.shown() + last.shown()
    pictures = (*first, *moved(Retarget(ours_sps, ours_pps, sps, 5, 100), middle), *last.pictures)
    return replace(source, pictures=pictures), [source.pps, ours_pps.with_ids(5, sps.id)], meant


@pytest.mark.parametrize(("theirs", "ours"), PAIRS.values(), ids=PAIRS)
def test_another_encode_stands_between_two_groups_of_a_source(theirs, ours):
    source = encode(theirs + ":keyint=10:min-keyint=10", frames=40, fade="weightp" in theirs)
    stream, ppss, meant = joined(source, encode(ours + ":keyint=infinite", frames=17, seed=2, fade="weightp" in ours))
    assert streams.decode([stream.sps, *ppss], stream.pictures) == meant


def test_so_does_one_under_the_constrained_baseline_profile():
    source = encode("keyint=10:min-keyint=10:slices=2", frames=40, profile="baseline")
    stream, ppss, meant = joined(source, encode("keyint=infinite", frames=17, seed=2, profile="baseline"))
    assert streams.decode([stream.sps, *ppss], stream.pictures) == meant


def test_a_joined_stream_plays_from_an_mp4_of_ours(tmp_path):
    source = encode(MANY_B + ":keyint=10:min-keyint=10", frames=40)
    stream, ppss, meant = joined(source, encode("ref=2:dpb-size=4:bframes=0:keyint=infinite", frames=17, seed=2))
    path = streams.write_mp4(tmp_path / "joined.mp4", stream, ppss)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        frames = [(frame.pts, frame.to_ndarray().tobytes()) for frame in container.decode(video)]
    assert [pixels for _, pixels in frames] == [pixels for _, pixels in meant]
    assert [time - frames[0][0] for time, _ in frames] == [time for time, _ in meant]


def test_what_decoding_depends_on_must_agree():
    base = SPS.parse(encode(MANY_B, frames=2).sps)
    for changes, reason in {
        ("ref_frames", 3): "its frames refer to 3 others, and 4 would be needed",
        ("macroblocks", (8, 4)): "its picture is cropped in an unusual way",
        ("crop", (2, 0, 0, 0)): "its picture is cropped in an unusual way",
        ("poc_type", 1): "its picture order is of a rare type",
        ("poc_type", 2): "its frames come in the order in which they are shown",
        ("reorder_frames", 0): "its frames come in the order in which they are shown",
        ("reorder_frames", 1): "players are told to keep only 1 of its frames, and more would be needed",
        ("dpb_frames", 3): "players are told to keep only 3 of its frames, and more would be needed",
        ("has_scaling_matrix", True): "its scaling matrix is its own",
        ("frame_mbs_only", False): "it may be interlaced",
        ("direct_8x8", False): "its frames predict in an unusual way",
        ("bit_depths", (8, 10)): "its samples are stored in another way",
        ("lossless", True): "its samples are stored in another way",
        ("profile", 77): "its profile is only main",
        ("constraints", 0x40): "its profile is only main",
        ("constraints", 0x80): "its profile is only baseline",
        ("constraints", 0x04): "its frames come in the order in which they are shown",
    }.items():
        assert reason_against(base, replace(base, **dict([changes]))) == reason
    assert reason_against(base, base) is None
    assert reason_against(base, replace(base, reorder_frames=None, dpb_frames=None, log2_frame_num=16)) is None
    assert reason_against(base, replace(base, profile=110)) is None
    assert reason_against(replace(base, log2_frame_num=5), base) == "its frame numbers are too short"


def test_level_1b_lies_between_1_and_1_1_however_it_is_written():
    base = SPS.parse(encode(frames=2, profile="baseline").sps)
    one_b = replace(base, level=11, constraints=base.constraints | 0x10)
    one, one_one, other = replace(base, level=10), replace(base, level=11), replace(base, level=9)
    assert reason_against(one_b, one_one) is reason_against(one, one_b) is reason_against(other, one_b) is None
    assert reason_against(one_one, one_b) == "its level is only 1b, and 1.1 would be needed"
    assert reason_against(one_b, one) == "its level is only 1, and 1b would be needed"


def test_slices_that_are_predicted_from_no_other_picture_are_told_apart():
    stream = encode("bframes=2:keyint=4:min-keyint=4:scenecut=0:slices=2", frames=12)
    assert {is_intra(nal) for picture in stream.pictures if picture.is_keyframe for nal in picture.nals} == {True}
    assert {is_intra(nal) for picture in stream.pictures if not picture.is_keyframe for nal in picture.nals} == {False}


def test_what_does_not_fit_the_target_is_refused_at_the_slice():
    sparse = encode("ref=4:bframes=8:b-adapt=0:b-pyramid=none", frames=20)
    narrow = SPS.parse(sps_with(sparse.parsed[0], log2_poc_lsb=4))
    with pytest.raises(DoesNotFit):
        moved(Retarget(*sparse.parsed, narrow, 1, 0), sparse)
    plain = encode("bframes=0:ref=2", frames=5)
    headless = replace(plain, pictures=plain.pictures[1:])
    gap = replace(plain, pictures=plain.pictures[:1] + plain.pictures[2:])
    for broken in (headless, gap):
        with pytest.raises(Malformed):
            moved(Retarget(*plain.parsed, plain.parsed[0], 1, 0), broken)


def test_a_jump_of_half_the_range_of_the_order_fits():
    sparse = encode("ref=4:bframes=3:b-adapt=0:b-pyramid=none", frames=20)
    (sps, pps), nal = sparse.parsed, sps_with(sparse.parsed[0], log2_poc_lsb=4)
    pictures = moved(Retarget(sps, pps, SPS.parse(nal), 1, 0), sparse)
    assert streams.decode([nal, pps.with_ids(1, sps.id)], pictures) == sparse.shown()


def test_frames_that_are_no_reference_keep_their_place_in_the_order():
    """x264 makes none without B slices, other encoders do; so these headers are written by hand."""
    sps, pps = encode("bframes=0:ref=2:cabac=0:weightp=0", frames=2).parsed
    assert sps.poc_type == 2
    target = SPS.parse(sps_with(sps, poc_type=0, log2_poc_lsb=8, log2_frame_num=9))
    retarget = Retarget(sps, pps, target, 1, 0)
    found = []
    for is_reference, frame_num in [(True, 0), (True, 1), (False, 2), (True, 2), (False, 3), (True, 3)]:
        is_keyframe = frame_num == 0
        nal = retarget.slice(_slice(sps, pps, frame_num, is_reference=is_reference, is_keyframe=is_keyframe))
        reader = BitReader(unescape(nal[1:]))
        assert (reader.ue(), reader.ue(), reader.ue()) == (0, 7 if is_keyframe else 5, 1)
        assert reader.u(9) == frame_num
        if is_keyframe:
            reader.ue()
        found.append(reader.u(8))
    assert found == [0, 2, 3, 4, 5, 6]


def _slice(sps: SPS, pps: PPS, frame_num: int, *, is_reference: bool, is_keyframe: bool) -> bytes:
    bits = BitWriter()
    for value in (0, 7 if is_keyframe else 5, pps.id):
        bits.ue(value)
    bits.u(frame_num, sps.log2_frame_num)
    if is_keyframe:
        bits.ue(0)
        bits.u(0, 2)
    else:
        bits.u(0, 2)  # as many references as usual, in the usual order
        bits.u(0, int(is_reference))
    bits.se(0)
    bits.ue(1)
    bits.u(1, 1)
    head = (0x60 if is_reference else 0) | (5 if is_keyframe else 1)
    return bytes([head]) + escape(bits.aligned())


def test_flipped_bits_are_malformed_or_slices_and_nothing_else():
    stream = encode(MANY_B + ":weightp=2:slices=2", frames=12, fade=True)
    sps, pps = stream.parsed
    chance = random.Random(7)
    for _ in range(600):
        nal = bytearray(chance.choice([nal for picture in stream.pictures for nal in picture.nals])[:40])
        for _ in range(chance.randint(1, 4)):
            nal[chance.randrange(len(nal))] ^= 1 << chance.randrange(8)
        retarget = Retarget(sps, pps, sps, 1, 0)
        for data in (stream.pictures[0].nals[0], stream.pictures[0].nals[1], bytes(nal)):
            try:
                retarget.slice(data)
            except Malformed:
                continue


@given(st.binary(max_size=120))
def test_any_bytes_are_malformed_or_parameter_sets_and_nothing_else(data):
    for parse in (
        lambda: SPS.parse(b"\x67" + data),
        lambda: SPS.parse(b"\x67\x64\x00\x1f" + data),
        lambda: PPS.parse(b"\x68" + data),
        lambda: AvcConfig.parse(b"\x01\x64\x00\x1f\xff" + data),
        lambda: SPS.parse(data),
    ):
        try:
            parse()
        except Malformed:
            continue
