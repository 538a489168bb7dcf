"""What a clip is for cutting: where its keyframes are, what it shows, and every reason not to believe it."""

import random
import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import av
import pytest

from novai_web.engines.ffmpeg.h264.bits import BitReader, BitWriter, escape, unescape
from novai_web.engines.ffmpeg.h264.parameters import PPS, SPS, AvcConfig
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import VISUAL_HEADER, box, with_child
from novai_web.engines.ffmpeg.mp4.reading import NOTHING, ONCE, Fragmented
from novai_web.engines.ffmpeg.source import Cut, Source, classify
from tests import media, streams
from tests.movies import changed, rows
from tests.streams import Picture, Stream, encode, sps_with, write_mp4

STBL = "moov/trak/mdia/minf/stbl/"
GROUPS = "bframes=2:b-adapt=0:keyint=8:min-keyint=8:scenecut=0"
TICKS = 48_000 // streams.RATE  # of the movie, in one of the track


@pytest.fixture(scope="module")
def stream() -> Stream:
    """Four groups of eight, with B frames."""
    return encode(GROUPS, frames=32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, stream) -> Path:
    return write_mp4(tmp_path_factory.mktemp("clips") / "clip.mp4", stream)


def facts(path: Path) -> Source:
    found = classify(path)
    assert isinstance(found, Source), found
    return found


def test_an_ordinary_clip_can_be_cut_at_its_keyframes(clip, stream):
    source = facts(clip)
    assert (source.reason, source.copyable) == (None, None)
    assert source.keyframes == [place for place, picture in enumerate(stream.pictures) if picture.is_keyframe]
    assert len(source.keyframes) == 4
    assert (source.origin, source.end - source.origin, source.begins) == (min(source.times), 32, 0)
    assert source.sps is not None
    assert (source.sps.width, source.sps.height, source.tag) == (*streams.SIZE, b"avc1")
    assert source.audio is None


def test_it_stays_of_use_when_it_is_closed_but_for_its_samples(clip):
    source = facts(clip)
    assert source.cut(0, 0.5).hook == 15
    with pytest.raises(ValueError):
        source.track.sample(0)
    with Source(clip) as still_open:
        assert still_open.keyframe(8).idr_pic_id != still_open.keyframe(0).idr_pic_id


@pytest.mark.parametrize("kind", ["video", "b_frames", "variable_rate", "rotated", "silent"])
def test_what_people_upload_can_be_cut(tmp_path, kind):
    source = facts(getattr(media, kind)(tmp_path / "clip.mp4"))
    assert (source.reason, source.copyable) == (None, None)
    assert len(source.keyframes) >= 2
    assert (source.audio is None) == (kind == "silent")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        video = container.streams.video[0]
        frames = [frame.pts for frame in container.decode(video)]
        assert (source.end - source.origin) * source.time_base == video.duration * video.time_base
    assert [moment - source.origin for moment in sorted(source.times)] == frames


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_only_h264_is_cut_but_anything_can_be_copied(tmp_path, ending):
    source = facts(media.hevc(tmp_path / f"clip.{ending}"))
    assert (source.reason, source.copyable, source.keyframes) == ("it is HEVC", None, [])
    with pytest.raises(Malformed, match="it is HEVC"):
        source.cut(0, 1)


def test_what_is_no_movie_is_a_reason(tmp_path, clip):
    assert classify(media.vp9(tmp_path / "clip.webm", frames=2)) == "it is not an MP4"
    assert classify(media.audio(tmp_path / "song.m4a", seconds=0.2)) == "there is no picture in it"
    empty = changed(clip, {STBL + "stsz": struct.pack(">III", 0, 0, 0)}, tmp_path / "empty.mp4")
    assert classify(empty) == "there is no picture in it"
    with pytest.raises(FileNotFoundError):
        classify(tmp_path / "none.mp4")
    fragmented = changed(clip, {"moov/mvex": b""}, tmp_path / "fragmented.mp4")
    assert classify(fragmented) == "it is fragmented"
    with pytest.raises(Fragmented):
        Source(fragmented)


def test_recovery_points_are_no_keyframes(tmp_path):
    open_groups = encode("open-gop=1:bframes=3:b-adapt=0:keyint=8:min-keyint=4:scenecut=0", frames=40)
    syncs = [index % 8 == 0 for index in range(40)]
    source = facts(write_mp4(tmp_path / "open.mp4", open_groups, sync=syncs))
    assert (source.reason, source.keyframes) == (None, [0])
    assert source.cut(0, 0.2).last == 40
    refreshed = encode("intra-refresh=1:keyint=8:bframes=0", frames=24)
    source = facts(write_mp4(tmp_path / "refresh.mp4", refreshed, sync=[True] * 24))
    assert (source.reason, source.keyframes) == (None, [0])


def test_a_keyframe_that_frames_cross_is_none(tmp_path, stream):
    """Such a file can be written, although no encoder writes it: two frames around a keyframe change places."""
    times = [picture.time for picture in stream.pictures]
    before, after = times.index(7), times.index(8)
    assert stream.pictures[after].is_keyframe
    times[before], times[after] = times[after], times[before]
    pictures = tuple(replace(picture, time=moment) for picture, moment in zip(stream.pictures, times, strict=True))
    source = facts(write_mp4(tmp_path / "crossed.mp4", replace(stream, pictures=pictures)))
    assert (source.reason, source.keyframes) == (None, [0, 16, 24])


def test_nor_is_one_that_only_a_later_frame_crosses(tmp_path, stream):
    pictures = [replace(picture, time=2 * picture.time) for picture in stream.pictures]
    pictures[17] = replace(pictures[17], time=pictures[16].time - 1)
    source = facts(write_mp4(tmp_path / "crossed.mp4", replace(stream, pictures=tuple(pictures))))
    assert (source.reason, source.keyframes) == (None, [0, 8, 24])


def test_keyframes_without_end_are_not_looked_at(tmp_path, stream):
    many = replace(stream, pictures=tuple(replace(stream.pictures[0], time=number) for number in range(20_001)))
    source = facts(write_mp4(tmp_path / "many.mp4", many))
    assert (source.reason, source.copyable) == ("it has too many keyframes", None)


def test_a_keyframe_that_discards_what_is_not_shown_yet_is_none(tmp_path, stream):
    sps, pps = stream.parsed
    pictures = [
        replace(picture, nals=(_discarding(picture.nals[0], sps), *picture.nals[1:])) if place in (0, 16) else picture
        for place, picture in enumerate(stream.pictures)
    ]
    source = facts(write_mp4(tmp_path / "discarding.mp4", replace(stream, pictures=tuple(pictures))))
    assert (source.reason, source.keyframes) == (None, [0, 8, 24])
    assert not pps.redundant_pic_cnt


def _discarding(nal: bytes, sps: SPS) -> bytes:
    data = unescape(nal[1:])
    reader, writer = BitReader(data), BitWriter()
    for _ in range(3):
        reader.ue()
    reader.u(sps.log2_frame_num)
    reader.ue()
    place = reader.position + sps.log2_poc_lsb
    reader.position = 0
    writer.copy(reader, place)
    assert reader.u(1) == 0
    writer.u(1, 1)
    writer.copy(reader, reader.size)
    return nal[:1] + escape(writer.aligned())


SPS_REASONS: dict[str, dict[str, Any]] = {
    "its samples have 10 bits": {"bit_depths": (8, 10), "profile": 110},
    "its colours are 4:2:2": {"chroma_format": 2, "profile": 122},
    "its colours are 4:4:4": {"chroma_format": 3, "profile": 244},
    "it is black and white": {"chroma_format": 0},
    "it may be interlaced": {"frame_mbs_only": False},
    "its scaling matrix is its own": {"has_scaling_matrix": True},
    "it may be lossless": {"lossless": True, "profile": 244},
    "its picture order is of a rare type": {"poc_type": 1},
    "its frames never refer to each other": {"ref_frames": 0},
    "the numbers of its frames may have gaps": {"gaps_allowed": True},
    "its picture is cropped in an unusual way": {"crop": (2, 0, 0, 0)},
    "its profile is Extended": {"profile": 88},
    "its profile is number 118": {"profile": 118},
    "its profile allows keyframes only": {"constraints": 0x10},
    "one of its parameter sets is missing": {"id": 3},
}


@pytest.mark.parametrize(("reason", "changes"), SPS_REASONS.items(), ids=SPS_REASONS)
def test_what_its_parameters_allow_speaks_against_cutting(tmp_path, stream, reason, changes):
    sps = sps_with(stream.parsed[0], **changes)
    if changes.get("profile") == 118:
        sps = sps[:1] + b"\x76" + stream.sps[2:]
    source = facts(write_mp4(tmp_path / "clip.mp4", replace(stream, sps=sps)))
    assert (source.reason, source.copyable) == (reason, None)


def _config(stream: Stream, **changes: Any) -> bytes:
    return replace(AvcConfig(4, (stream.sps,), (stream.pps,), 13), **changes).to_bytes()


def _sized(nal: bytes) -> bytes:
    return struct.pack(">H", len(nal)) + nal


def _pps(*, groups: bool = False, redundant: bool = False) -> bytes:
    """Bits of a picture parameter set of its own, with what we do not take."""
    bits = BitWriter()
    for value in (0, 0):
        bits.ue(value)
    bits.u(0b10, 2)
    bits.ue(int(groups))
    if groups:
        bits.ue(1)  # dispersed
    bits.ue(0)
    bits.ue(0)
    bits.u(0, 3)
    for _ in range(3):
        bits.se(0)
    bits.u(0b100 | redundant, 3)
    bits.u(1, 1)
    return b"\x68" + escape(bits.aligned())


def test_what_its_configuration_holds_speaks_against_cutting(tmp_path, stream):
    sps, pps = stream.parsed
    for reason, configuration in {
        "it has 2 sequence parameter sets": _config(stream, sps=(stream.sps, sps_with(sps, id=1))),
        "it has no sequence parameter set": _config(stream)[:5] + b"\xe0\1" + _sized(stream.pps),
        "it has no picture parameter set": _config(stream, pps=()),
        "the lengths in its samples have 16 bits": _config(stream, length_size=2),
        "two of its picture parameter sets have the same number": _config(stream, pps=(stream.pps, _pps())),
        "one of its parameter sets is missing": _config(stream, pps=(pps.with_ids(0, 1),)),
        "it uses slice groups": _config(stream, pps=(_pps(groups=True),)),
        "it may carry redundant pictures": _config(stream, pps=(_pps(redundant=True),)),
        "its H.264 configuration cannot be read": b"\1\x64\0\x0d\xff\xe1\0\xff" + stream.sps,
        "its parameters cannot be read": _config(stream)[:6] + _sized(stream.sps[:5]) + b"\1" + _sized(stream.pps),
    }.items():
        entry = streams.entry(configuration, sps)
        source = facts(write_mp4(tmp_path / "clip.mp4", stream, entry=entry))
        assert source.copyable is None
        assert source.reason == reason


def test_other_tags_and_entries(tmp_path, stream, clip):
    sps, _ = stream.parsed
    for tag, reason, copyable in [
        (b"avc3", None, None),
        (b"av01", "it is AV1", None),
        (b"apcn", "it is ProRes", None),
        (b"dvh1", "it is Dolby Vision", None),
        (b"what", "it is encoded as “what”", None),
        (b"\xff\0at", "it is encoded in an unknown way", None),
        (b"encv", "it is encrypted", "it is encrypted"),
    ]:
        source = facts(write_mp4(tmp_path / "clip.mp4", stream, entry=streams.entry(_config(stream), sps, tag)))
        assert (source.reason, source.copyable) == (reason, copyable)
    without = streams.entry(b"", sps)[4:-8]
    source = facts(write_mp4(tmp_path / "clip.mp4", stream, entry=struct.pack(">I", len(without) + 4) + without))
    assert source.reason == "it has no H.264 configuration"
    two = changed(clip, {STBL + "stsd": lambda data: struct.pack(">II", 0, 2) + 2 * data[8:]}, tmp_path / "two.mp4")
    assert facts(two).copyable == facts(two).reason == "it has 2 sample descriptions"


def test_parameters_in_samples_may_repeat_but_not_change(tmp_path, stream):
    sps, pps = stream.parsed
    other = pps.with_ids(1, 0)
    delimiter = b"\x09\xf0"

    def with_nals(place: int, *nals: bytes) -> Stream:
        pictures = list(stream.pictures)
        pictures[place] = Picture(pictures[place].time, (*nals, *pictures[place].nals))
        return replace(stream, pictures=tuple(pictures))

    for nals in [(stream.sps, stream.pps), (delimiter, stream.sps, stream.pps), (stream.pps + b"\0",)]:
        for place in (0, 3, 8):
            source = facts(write_mp4(tmp_path / "clip.mp4", with_nals(place, *nals)))
            assert (source.reason, source.keyframes) == (None, [0, 8, 16, 24])
    for nals in [(other,), (delimiter, other), (sps_with(sps, log2_frame_num=9), stream.pps)]:
        for place in (0, 3, 8):
            source = facts(write_mp4(tmp_path / "clip.mp4", with_nals(place, *nals)))
            assert (source.reason, source.copyable) == ("its parameters change within it", None)
    source = facts(write_mp4(tmp_path / "clip.mp4", with_nals(8, b"\x06\x05", other)))
    assert source.reason == "its parameters change within it"


def test_what_is_called_a_keyframe_is_looked_at(tmp_path, stream):
    everything = facts(write_mp4(tmp_path / "all.mp4", stream, sync=None))
    assert (everything.reason, everything.keyframes) == (None, [0, 8, 16, 24])
    headless = replace(stream, pictures=stream.pictures[1:])
    for sync in (None, [picture.is_keyframe for picture in headless.pictures]):
        source = facts(write_mp4(tmp_path / "headless.mp4", headless, sync=sync))
        assert (source.reason, source.copyable) == ("it does not begin with a keyframe", None)
    unmarked = facts(write_mp4(tmp_path / "unmarked.mp4", stream, sync=[place == 8 for place in range(32)]))
    assert unmarked.reason == "it does not begin with a keyframe"


def test_samples_that_are_damaged_speak_against_cutting(tmp_path, stream):
    samples = [picture.sample for picture in stream.pictures]

    def of(place: int, sample: bytes) -> Source:
        given = [*samples[:place], sample, *samples[place + 1 :]]
        return facts(write_mp4(tmp_path / "clip.mp4", stream, samples=given))

    assert of(8, samples[8][:-1]).reason == "its samples are damaged"
    assert of(8, samples[8] + b"\0\0\1").reason == "its samples are damaged"
    assert of(3, b"\0\0\0\0").reason == "its samples are damaged"
    assert of(3, b"").reason == of(3, b"").copyable == "some of its frames are empty"
    assert of(8, struct.pack(">IB", 1, 5)).reason is not None
    for first, kind in [(1, 7), (0, 5), (0, 12)]:  # in the middle of the picture; predicted; of no kind
        bits = BitWriter()
        bits.ue(first)
        bits.ue(kind)
        bits.u(1 << 79, 80)
        slice_ = b"\x65" + bits.aligned()
        assert of(8, struct.pack(">I", len(slice_)) + slice_).reason is not None
    assert of(8, 20_000 * b"\0\0\0\1\x06").reason == "its samples are damaged"
    assert of(8, b"\0\0\0\1\x06").keyframes == [0, 16, 24]


def test_two_frames_at_the_same_time_speak_against_everything(tmp_path, stream):
    offsets = [moment - place for place, moment in enumerate(picture.time for picture in stream.pictures)]
    offsets[5] = stream.pictures[4].time - 5
    source = facts(write_mp4(tmp_path / "clip.mp4", stream, composition=offsets, media_time=0))
    assert source.reason == source.copyable == "two of its frames have the same time"


def edited(clip: Path, *edits: tuple[int, int], rate: int = ONCE) -> Source:
    """Edits are durations and media times, both in ticks of the track."""
    table = rows(">IiI", *[(duration * TICKS, begin, rate) for duration, begin in edits])
    return facts(changed(clip, {"moov/trak/edts/elst": table}))


def test_an_edit_list_trims_what_is_shown(clip):
    first = facts(clip).origin
    source = edited(clip, (10, first + 5))
    assert (source.reason, source.copyable) == (None, None)
    assert (source.origin, source.end, source.begins) == (first + 5, first + 15, 0)
    with av.open(str(clip.with_name("changed-clip.mp4"))) as container:
        assert len(list(container.decode(video=0))) == 10
    source = edited(clip, (15, NOTHING), (0, first))
    assert (source.origin, source.end, float(source.begins)) == (first, first + 32, 0.5)
    source = edited(clip, (40, first))
    assert source.end == first + 32
    source = edited(clip, (15, NOTHING), (32, 0))
    assert (source.origin, float(source.begins)) == (first, 0.5 + first / 30)
    assert facts(changed(clip, {"moov/trak/edts": None})).begins == first * source.time_base


def test_an_edit_that_is_rounded_down_trims_nothing(tmp_path, stream):
    """Most movies count in milliseconds, in which 32 frames last 1066.67."""
    scaled = {
        "timescale": 90_000,
        "durations": [3_000] * 32,
        "composition": [3_000 * (picture.time + 3 - place) for place, picture in enumerate(stream.pictures)],
    }
    path = write_mp4(tmp_path / "clip.mp4", stream, **scaled)
    for milliseconds, end in [(1067, 32), (1066, 32), (1034, 31.02), (1033, 30.99)]:
        table = rows(">IiI", (milliseconds, 9_000, ONCE))
        in_milliseconds = {
            "moov/mvhd": lambda data: data[:12] + struct.pack(">I", 1000) + data[16:],
            "moov/trak/edts/elst": table,
        }
        source = facts(changed(path, in_milliseconds))
        assert (source.origin, source.end) == (9_000, 9_000 + end * 3_000)


def test_what_an_edit_list_puts_together_is_neither_cut_nor_copied(clip):
    first, pieces = facts(clip).origin, "its edit list puts it together from several pieces"
    for source, reason in [
        (edited(clip, (10, first), (10, first + 20)), pieces),
        (edited(clip, (10, first), rate=ONCE // 2), pieces),
        (edited(clip, (10, NOTHING)), pieces),
        (edited(clip, (10, first + 99)), "its edit list hides all of it"),
        (edited(clip, (1, 0)), "its edit list hides all of it"),
    ]:
        assert source.reason == source.copyable == reason


def test_the_last_frame_lasts_as_long_as_the_one_before_where_the_file_does_not_say(tmp_path, stream):
    durations = [3] * 31 + [0]
    shown = [3 * picture.time for picture in stream.pictures]
    offsets = [moment - 3 * place + 9 for place, moment in enumerate(shown)]
    path = write_mp4(
        tmp_path / "clip.mp4", stream, durations=durations, composition=offsets, duration=200, media_time=9
    )
    assert facts(path).end == facts(path).origin + 96


def test_how_deep_frames_are_reordered(tmp_path):
    def depth(parameters: str, **changes: Any) -> int:
        made = encode(f"{parameters}:b-adapt=0:keyint=16:ref=4", frames=20)
        base = made.parsed[0]
        return facts(
            write_mp4(tmp_path / "clip.mp4", replace(made, sps=sps_with(base, **changes) if changes else made.sps))
        ).reorder_frames

    unsaid = {"reorder_frames": None, "dpb_frames": None}
    assert depth("bframes=3:b-pyramid=normal") == depth("bframes=3:b-pyramid=normal", **unsaid) == 2
    assert depth("bframes=3:b-pyramid=none") == depth("bframes=3:b-pyramid=none", **unsaid) == 1
    assert depth("bframes=0") == depth("bframes=0", poc_type=0, log2_poc_lsb=8, **unsaid) == 0


def brute_force(source: Source, start: float, end: float) -> Cut:
    """By definition, frame by frame."""
    shown = [moment for moment in sorted(source.times) if source.origin <= moment < source.end]
    inside = [m for m in shown if start <= float((m - source.origin + 0.5) * source.time_base) < end]
    before = [m for m in shown if float((m - source.origin + 0.5) * source.time_base) < start]
    cut = source.cut(start, end)
    encoded = [source.times[place] for place in range(cut.first, cut.last)]
    copied = [m for m in shown if m not in encoded]
    bridge = [m for m in shown if m in encoded and m not in inside]
    return replace(
        cut,
        before=len(before),
        hook=len(inside),
        bridge_before=sum(m in before for m in bridge),
        bridge_after=sum(m not in before for m in bridge),
        copied=len(copied),
    )


@pytest.fixture(scope="module", params=["whole", "trimmed", "trimmed in a group", "variable rate", "quarter ticks"])
def cuttable(request, clip, tmp_path_factory) -> Source:
    folder, first = tmp_path_factory.mktemp("cuttable"), facts(clip).origin
    if request.param == "variable rate":
        return facts(media.variable_rate(folder / "clip.mp4"))
    if request.param == "quarter ticks":
        return facts(media.b_frames(folder / "clip.mov", frames=45))
    if request.param == "whole":
        return facts(clip)
    hidden = (20, first + 8) if request.param == "trimmed" else (13, first + 11)
    return edited(clip, hidden)


def test_a_cut_is_what_it_says(cuttable):
    source, chance = cuttable, random.Random(5)
    seconds = float((source.end - source.origin) * source.time_base)
    edges = [0.0, seconds, seconds / 2, 1 / 30, 0.05, 1 / 60, 0.1, 8 / 30, inf]
    for _ in range(400):
        start, end = sorted(
            chance.choice(edges) if chance.random() < 0.5 else chance.uniform(0, seconds * 1.2) for _ in range(2)
        )
        if start == inf:
            continue
        cut = source.cut(start, end)
        assert cut == brute_force(source, start, end)
        assert cut.first in source.keyframes
        assert cut.first < cut.last
        assert cut.last in (*source.keyframes, len(source.times))
        encoded, rest = source.times[cut.first : cut.last], source.times[cut.last :]
        assert all(moment < min(encoded) for moment in source.times[: cut.first])
        assert all(moment > max(encoded) for moment in rest)
        assert cut.copied == 0 or cut.last == len(source.times) or min(rest) >= cut.end
        assert source.origin <= cut.start <= cut.end <= source.end


def test_what_is_cut_out_is_as_short_as_the_keyframes_allow(clip):
    source = facts(clip)
    begin = source.origin
    assert source.cut(0, 0.2) == Cut(0, 8, begin, begin + 6, 0, 6, 0, 2, 24)
    assert source.cut(8 / 30, 16 / 30) == Cut(8, 16, begin + 8, begin + 16, 8, 8, 0, 0, 24)
    assert source.cut(10 / 30, 17 / 30) == Cut(8, 24, begin + 10, begin + 17, 10, 7, 2, 7, 16)
    assert source.cut(30 / 30, inf) == Cut(24, 32, begin + 30, begin + 32, 30, 2, 6, 0, 24)
    assert source.cut(0, inf) == Cut(0, 32, begin, begin + 32, 0, 32, 0, 0, 0)
    assert source.cut(99, inf).hook == 0


def test_what_is_hidden_at_either_end_is_neither_encoded_nor_kept(clip):
    first = facts(clip).origin
    source = edited(clip, (10, first + 9))
    assert source.cut(0, 0.1) == Cut(8, 16, first + 9, first + 12, 0, 3, 0, 4, 3)
    assert source.cut(0.1, 0.3) == Cut(8, 32, first + 12, first + 18, 3, 6, 3, 1, 0)
    assert source.cut(0, inf).last == 32


def test_the_group_that_is_cut_out_decodes_by_itself(clip):
    with Source(clip) as source, av.open(str(clip)) as container:
        video = container.streams.video[0]
        whole = {frame.pts + source.origin: frame.to_ndarray().tobytes() for frame in container.decode(video)}
        assert source.config is not None
        for window in [(0, 0.1), (0.4, 0.5), (0.9, inf)]:
            cut = source.cut(*window)
            found = _decode(source, range(cut.first, cut.last))
            assert found == {moment: whole[moment] for moment in source.times[cut.first : cut.last]}


def _decode(source: Source, places: Sequence[int]) -> dict[int, bytes]:
    assert source.config is not None
    context = av.CodecContext.create("h264", "r")
    context.extradata = source.config.to_bytes()
    frames = []
    for place in places:
        packet = av.Packet(bytes(source.track.sample(place)))
        packet.pts = source.times[place]
        frames += context.decode(packet)
    frames += context.decode(None)
    return {frame.pts: frame.to_ndarray().tobytes() for frame in frames}


def test_looking_at_a_clip_takes_milliseconds(tmp_path):
    piece = encode(GROUPS.replace("8", "60"), frames=90)
    pictures = [picture for number in range(5) for picture in piece.later(90 * number).pictures]
    path = write_mp4(tmp_path / "clip.mp4", replace(piece, pictures=tuple(pictures)))
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        assert facts(path).reason is None
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.005


def test_broken_clips_are_malformed_or_have_reasons_and_nothing_else(tmp_path, clip):
    data = changed(clip, {}, tmp_path / "clip.mp4").read_bytes()
    index, chance, broken_path = data.index(b"moov"), random.Random(3), tmp_path / "broken.mp4"
    found, begun = set(), time.perf_counter()
    for number in range(700):
        broken = bytearray(data)
        if number % 2:
            place = broken.index(b"avcC") if number % 4 == 1 else index
            for _ in range(2):
                broken[chance.randrange(place, min(len(broken), place + 60 if number % 4 == 1 else 1 << 30))] ^= (
                    1 << chance.randrange(8)
                )
        else:
            for _ in range(20):
                broken[chance.randrange(0, index)] ^= 1 << chance.randrange(8)
        broken_path.write_bytes(broken)
        source = classify(broken_path)
        found.add(source if isinstance(source, str) else source.reason)
        if isinstance(source, Source) and source.reason is None:
            assert source.cut(0.1, 0.7).hook >= 0
            assert source.reorder_frames >= 0
    assert len(found) > 10
    assert time.perf_counter() - begun < 20


def test_quicktimes_additions_to_an_entry_do_not_matter(tmp_path, stream):
    sps, _ = stream.parsed
    entry = streams.entry(_config(stream), sps)
    more = with_child(entry, b"fiel", b"\1\0", VISUAL_HEADER)
    padded = struct.pack(">I", len(more) + 4) + more[4:] + bytes(4)
    source = facts(write_mp4(tmp_path / "clip.mov", stream, entry=padded))
    assert (source.reason, len(source.keyframes)) == (None, 4)
    assert with_child(padded, b"fiel", b"\2\0", VISUAL_HEADER).endswith(box(b"fiel", b"\2\0"))
    assert PPS.parse(stream.pps).id == 0
