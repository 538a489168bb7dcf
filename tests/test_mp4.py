"""Movies are read as libav reads them, written so that it reads the same again, and never believed blindly."""

import errno
import os
import random
import signal
import struct
import threading
import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4 import writing
from novai_web.engines.ffmpeg.mp4.boxes import AUDIO_HEADER, UNITY, VISUAL_HEADER, box, boxes, child, find, with_child
from novai_web.engines.ffmpeg.mp4.reading import NOTHING, ONCE, Edit, Fragmented, Movie, Shown, Track
from novai_web.engines.ffmpeg.mp4.sound import plain_entry
from novai_web.engines.ffmpeg.mp4.writing import TrackOut, write
from tests import media, movies, streams
from tests.movies import changed, payload, rows

STBL = "moov/trak/mdia/minf/stbl/"
Packets = list[tuple[int | None, int | None, bool, bytes]]


def copied(track: Track) -> TrackOut:
    """As it is, from and to where it is shown."""
    shown = track.shown
    assert shown is not None
    return TrackOut(
        kind=track.kind,
        timescale=track.timescale,
        entry=track.entry,
        samples=[track.sample(index) for index in range(track.count)],
        durations=track.durations,
        composition=track.composition,
        sync=track.sync,
        media_time=shown.start,
        duration=(shown.end or sum(track.durations)) - shown.start,
        delay=round(shown.delay * track.timescale),
        matrix=track.matrix,
        width=track.width,
        height=track.height,
        language=track.language,
    )


def packets(path: Path, kind: str) -> Packets:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [(p.pts, p.dts, p.is_keyframe, bytes(p)) for p in container.demux(stream) if p.size]


KINDS = {
    "plain": lambda folder: media.video(folder / "clip.mp4"),
    "quicktime": lambda folder: media.video(folder / "clip.mov"),
    "b frames": lambda folder: media.b_frames(folder / "clip.mp4"),
    "b frames in quicktime": lambda folder: media.b_frames(folder / "clip.mov"),
    "variable rate": lambda folder: media.variable_rate(folder / "clip.mp4"),
    "rotated": lambda folder: media.rotated(folder / "clip.mp4"),
    "hevc": lambda folder: media.hevc(folder / "clip.mp4"),
    "vp9": lambda folder: media.vp9(folder / "clip.mp4", sound=False),
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def clip(request, tmp_path_factory) -> Path:
    return request.param(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A picture of twelve frames, without sound; B frames, so that every table is there."""
    stream = streams.encode("bframes=2:b-adapt=0:keyint=6:min-keyint=6", frames=12)
    return streams.write_mp4(tmp_path_factory.mktemp("plain") / "plain.mp4", stream)


def test_tables_say_what_libav_reads(clip):
    with Movie(clip) as movie:
        video = movie.video
        assert video is not None
        shown = video.shown
        assert shown is not None
        found = [
            (moment - shown.start, is_sync, bytes(video.sample(index)))
            for index, (moment, is_sync) in enumerate(zip(video.times, video.sync, strict=True))
        ]
        assert found == [(pts, is_key, data) for pts, _, is_key, data in packets(clip, "video")]
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            assert Fraction(1, video.timescale) == stream.time_base
            assert video.count == stream.frames


def test_a_written_movie_has_the_same_packets_at_the_same_times(clip, tmp_path):
    with Movie(clip) as movie:
        size = write(tmp_path / "out.mp4", [copied(track) for track in movie.tracks])
        kinds = ["video", "audio"][: len(movie.tracks)]
    assert size == (tmp_path / "out.mp4").stat().st_size
    for kind in kinds:
        assert packets(tmp_path / "out.mp4", kind) == packets(clip, kind)
    assert faces(tmp_path / "out.mp4") == faces(clip)


def faces(path: Path) -> list[tuple[object, ...]]:
    """What is decoded, and how it is to be shown."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(frame.pts, frame.rotation, frame.width, bytes(frame.planes[0])) for frame in container.decode(stream)]


def test_what_is_written_is_read_as_it_was_meant(clip, tmp_path):
    with Movie(clip) as movie:
        write(tmp_path / "out.mp4", [copied(track) for track in movie.tracks])
        with Movie(tmp_path / "out.mp4") as again:
            assert len(again.tracks) == len(movie.tracks)
            for track, other in zip(movie.tracks, again.tracks, strict=True):
                assert (track.durations, track.composition, track.sync) == (
                    other.durations,
                    other.composition,
                    other.sync,
                )
                assert (track.matrix, track.width, track.height) == (other.matrix, other.width, other.height)
                assert (track.timescale, track.language) == (other.timescale, other.language)
                assert other.entry == plain_entry(track.entry)
                assert other.shown == track.shown


def test_tracks_take_turns_of_half_a_second(tmp_path):
    with Movie(media.video(tmp_path / "clip.mp4", frames=90)) as movie:
        write(tmp_path / "out.mp4", [copied(track) for track in movie.tracks])
    with Movie(tmp_path / "out.mp4") as movie:
        pieces = []
        for track in movie.tracks:
            ends = [offset + size for offset, size in zip(track.offsets, track.sizes, strict=True)]
            breaks = [index + 1 for index, end in enumerate(ends[:-1]) if end != track.offsets[index + 1]]
            seconds = [
                Fraction(sum(track.durations[first:last]), track.timescale)
                for first, last in pairwise([0, *breaks, track.count])
            ]
            assert max(seconds) <= Fraction(11, 20)
            pieces.append(len(seconds))
        assert pieces == [6, 6]


def test_thousands_of_samples_are_written_in_order(tmp_path, plain):
    with Movie(plain) as movie:
        entry = movie.video.entry
    samples = [memoryview(number.to_bytes(4, "big") * 50) for number in range(5000)]
    track = TrackOut("vide", 1000, entry, samples, [3] * 5000, duration=15_000)
    write(tmp_path / "many.mp4", [track])
    with Movie(tmp_path / "many.mp4") as movie:
        assert [bytes(movie.video.sample(index)[:4]) for index in range(5000)] == [bytes(s[:4]) for s in samples]


def test_what_the_system_takes_only_in_part_is_given_again(tmp_path, plain):
    """A signal cuts a write to a pipe short when some of it is taken."""
    with Movie(plain) as movie:
        entry = movie.video.entry
    samples = [random.Random(number).randbytes(150_000) for number in range(20)]
    track = TrackOut("vide", 1000, entry, samples, [3] * 20, duration=60)
    write(tmp_path / "file.mp4", [track])
    os.mkfifo(tmp_path / "pipe.mp4")
    before, writer, read = signal.signal(signal.SIGUSR1, lambda *_: None), threading.get_ident(), bytearray()

    def reader() -> None:
        with (tmp_path / "pipe.mp4").open("rb", buffering=0) as pipe:
            while piece := pipe.read(40_000):
                read.extend(piece)
                signal.pthread_kill(writer, signal.SIGUSR1)

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        write(tmp_path / "pipe.mp4", [track])
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert read == (tmp_path / "file.mp4").read_bytes()


def test_a_full_disk_is_told_of(plain):
    with Movie(plain) as movie, pytest.raises(OSError) as caught:
        write(Path("/dev/full"), [copied(movie.video)])
    assert caught.value.errno == errno.ENOSPC


def test_a_pause_before_a_track_is_a_pause_for_libav(tmp_path, plain):
    with Movie(plain) as movie:
        write(tmp_path / "late.mp4", [replace(copied(movie.video), delay=15)])
    with av.open(str(tmp_path / "late.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.start_time * stream.time_base == Fraction(1, 2)
    with Movie(tmp_path / "late.mp4") as movie:
        assert movie.video.shown.delay == Fraction(1, 2)


def test_frames_may_be_shown_before_they_would_be_decoded(tmp_path, plain):
    with Movie(plain) as movie:
        track = copied(movie.video)
        earlier = [offset - track.media_time for offset in track.composition]
        assert min(earlier) < 0
        write(tmp_path / "early.mp4", [replace(track, composition=earlier, media_time=0)])
        assert b"iso4" in (tmp_path / "early.mp4").read_bytes()[:40]
        with Movie(tmp_path / "early.mp4") as again:
            assert list(again.video.times) == [moment - track.media_time for moment in movie.video.times]
    assert [pts for pts, *_ in packets(tmp_path / "early.mp4", "video")] == [pts for pts, *_ in packets(plain, "video")]


def test_times_of_more_than_32_bits(tmp_path, plain):
    with Movie(plain) as movie:
        track = copied(movie.video)
        scale = 1_000_000_000
        long = replace(
            track,
            timescale=scale,
            durations=[duration * scale for duration in track.durations],
            composition=None,
            media_time=3 * scale,
            duration=(len(track.samples) - 3) * scale,
        )
        write(tmp_path / "long.mp4", [long])
    with Movie(tmp_path / "long.mp4") as again:
        video = again.video
        assert (video.timescale, video.times[-1]) == (scale, 11 * scale)
        assert video.shown == Shown(Fraction(0), 3 * scale, 12 * scale)
    with av.open(str(tmp_path / "long.mp4")) as container:
        assert container.duration == 9_000_000


def test_offsets_of_more_than_32_bits(tmp_path, plain, monkeypatch):
    """The index is supposed to be so large that the samples lie behind the first four gigabytes."""
    monkeypatch.setattr(writing, "INDEX_BYTES_MAX", 1 << 32)
    with Movie(plain) as movie:
        write(tmp_path / "far.mp4", [copied(movie.video)])
    assert len(payload(tmp_path / "far.mp4", STBL + "co64")) == 8 + 8
    assert packets(tmp_path / "far.mp4", "video") == packets(plain, "video")
    with Movie(tmp_path / "far.mp4") as movie:
        assert [movie.video.sample(index).nbytes for index in range(12)] == list(movie.video.sizes)


@pytest.mark.parametrize("kind", ["mp4", "mov"])
def test_sound_from_quicktime_is_described_as_mp4_does(tmp_path, kind):
    clip = media.video(tmp_path / f"clip.{kind}", frames=15)
    with Movie(clip) as movie:
        sound = movie.audio
        assert sound is not None
        assert child(plain_entry(sound.entry), b"esds", AUDIO_HEADER)
        assert (plain_entry(sound.entry) == sound.entry) == (kind == "mp4")
        write(tmp_path / "sound.mp4", [copied(sound)])
    assert decoded_sound(tmp_path / "sound.mp4") == decoded_sound(clip)


def test_so_is_quicktimes_second_form(tmp_path):
    with Movie(media.video(tmp_path / "clip.mov", frames=15)) as movie:
        first = movie.audio.entry
    wave = child(first, b"wave", AUDIO_HEADER + 16)
    assert wave is not None
    shape = struct.pack(">H6x4HIIdIIIIII", 2, 3, 16, 0xFFFE, 0, 1 << 16, 72, 44_100.0, 6, 0x7F00_0000, 0, 0, 0, 1024)
    second = box(b"mp4a", first[8:16], shape, box(b"wave", wave))
    plain = plain_entry(second)
    assert struct.unpack_from(">H", plain, 24) == (6,)
    assert struct.unpack_from(">I", plain, 32) == (44_100 << 16,)
    assert child(plain, b"esds", AUDIO_HEADER) == child(wave, b"esds", 0)


def test_other_sounds_and_broken_ones_stay_as_they_are():
    for entry in (b"", box(b"mp4a", bytes(5)), box(b"Opus", bytes(60)), box(b"mp4a", b"\0" * 8 + b"\0\1" + bytes(40))):
        assert plain_entry(entry) == entry


def decoded_sound(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(frame.to_ndarray().tobytes() for frame in container.decode(audio=0))


def test_the_first_picture_that_is_switched_on_and_no_cover_is_the_video(tmp_path, plain):
    with Movie(plain) as movie:
        track = copied(movie.video)
        cover = replace(
            track,
            entry=box(b"jpeg", track.entry[8:VISUAL_HEADER]),
            samples=[b"\xff\xd8"],
            durations=[1],
            composition=None,
            sync=None,
        )
        write(tmp_path / "three.mp4", [cover, track, replace(track, width=5 << 16)])
    with Movie(tmp_path / "three.mp4") as movie:
        assert [found.is_cover for found in movie.tracks] == [True, False, False]
        assert movie.video is movie.tracks[1]
        assert movie.audio is None
    off = changed(tmp_path / "three.mp4", {"moov/trak#1/tkhd": lambda data: b"\0\0\0\6" + data[4:]})
    with Movie(off) as movie:
        assert movie.video is movie.tracks[2]
    all_off = {f"moov/trak#{number}/tkhd": lambda data: b"\0\0\0\6" + data[4:] for number in range(3)}
    with Movie(changed(tmp_path / "three.mp4", all_off)) as movie:
        assert movie.video is movie.tracks[1]


def test_edit_lists(plain):
    scale = 30 * -(-48_000 // 30)  # of the movie
    second = 30  # of the track
    for edits, wanted in [
        (None, Shown(Fraction(0), 0, None)),
        ([(scale, 7, ONCE)], Shown(Fraction(0), 7, 7 + second)),
        ([(0, 7, ONCE)], Shown(Fraction(0), 7, None)),
        ([(scale // 4, NOTHING, ONCE), (scale, 7, ONCE)], Shown(Fraction(1, 4), 7, 7 + second)),
        ([(scale // 4, NOTHING, ONCE)] * 2 + [(scale, 0, ONCE)], Shown(Fraction(1, 2), 0, second)),
        ([(scale, 7, ONCE)] * 2, None),
        ([(scale, 7, ONCE), (scale, NOTHING, ONCE)], None),
        ([(scale, 7, 2 * ONCE)], None),
        ([(scale, 7, 0)], None),
        ([(scale, NOTHING, ONCE)], None),
    ]:
        for version, layout in (0, ">IiI"), (1, ">QqI"):
            table = None if edits is None else rows(layout, *edits, head=version << 24)
            change = {"moov/trak/edts": None} if table is None else {"moov/trak/edts/elst": table}
            with Movie(changed(plain, change)) as movie:
                assert movie.video.shown == wanted
                assert movie.video.edits == [Edit(*edit) for edit in edits or ()]


def test_a_turned_movie_turns_its_tracks(tmp_path, plain):
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    half = struct.pack(">9i", -(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30)
    with Movie(plain) as movie:
        write(tmp_path / "quarter.mp4", [replace(copied(movie.video), matrix=quarter)])
    turned = changed(tmp_path / "quarter.mp4", {"moov/mvhd": lambda data: data.replace(UNITY, quarter)})
    with Movie(turned) as movie:
        assert movie.video.matrix == half
    with av.open(str(turned)) as container:
        assert abs(next(container.decode(video=0)).rotation) == 180


def test_sizes_in_every_form(tmp_path, plain):
    with Movie(plain) as movie:
        track = copied(movie.video)
    for size, form in [(1, 4), (200, 8), (300, 16), (300, 32)]:
        samples = [bytes([number]) * size for number in range(11)]
        cut = replace(track, samples=samples, durations=[1] * 11, composition=None, sync=None)
        path = tmp_path / f"{form}.mp4"
        write(path, [cut])
        if form == 32:  # all the same
            change = {STBL + "stsz": struct.pack(">III", 0, size, 11)}
        else:
            values = (
                bytes([0x11] * 5 + [0x10]) if form == 4 else struct.pack({8: ">11B", 16: ">11H"}[form], *[size] * 11)
            )
            change = {STBL + "stsz": None, STBL + "stz2": struct.pack(">III", 0, form, 11) + values}
        with Movie(changed(path, change)) as movie:
            assert [bytes(movie.video.sample(index)) for index in range(11)] == samples


def test_chunks_in_runs(plain):
    with Movie(plain) as movie:
        offsets, sizes = list(movie.video.offsets), list(movie.video.sizes)
    begins = struct.unpack(">I", payload(changed(plain, {}), STBL + "stco")[8:])[0]
    moved = [offset - offsets[0] + begins for offset in offsets]
    chunks = [moved[index] for index in (0, 1, 2, 5, 8, 11)]
    change = {
        STBL + "stco": rows(">I", *[(chunk,) for chunk in chunks]),
        STBL + "stsc": rows(">III", (1, 1, 1), (3, 3, 1), (6, 1, 1)),
    }
    with Movie(changed(plain, change)) as movie:
        assert list(movie.video.offsets) == moved
        assert list(movie.video.sizes) == sizes


def test_quicktimes_zeros_at_the_end_of_a_list_are_no_box(plain):
    described = changed(plain, {STBL + "stsd": lambda data: data + bytes(4)})
    padded = changed(described, {"moov/trak/udta": bytes(12), "moov/udta": bytes(4)}, plain.with_name("padded.mp4"))
    assert packets(padded, "video") == packets(plain, "video")
    with Movie(padded) as movie:
        assert movie.video.count == 12


def test_samples_outlive_the_movie(plain):
    with Movie(plain) as movie:
        view, wanted = movie.video.sample(0), bytes(movie.video.sample(0))
    assert bytes(view) == wanted
    with pytest.raises(ValueError):
        movie.video.sample(1)


def test_what_is_no_movie(tmp_path, plain):
    fragmented = tmp_path / "fragmented.mp4"
    with av.open(str(fragmented), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height = 64, 64
        out.mux([*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode(None)])
    with pytest.raises(Fragmented, match="it is fragmented"):
        Movie(fragmented)
    others = {
        media.vp9(tmp_path / "clip.webm", frames=2): "it is not an MP4",
        media.image(tmp_path / "picture.png"): "it is not an MP4",
        _file(tmp_path, b""): "it is empty",
        _file(tmp_path, b"\0\0"): "it is not an MP4",
        _file(tmp_path, box(b"ftyp", b"isom")): "it has no index",
        _file(tmp_path, box(b"ftyp", b"isom") + b"\0\0\0\0mdat12345678"): "it has no index",
        _file(tmp_path, box(b"ftyp", b"isom") + b"\0\0\1\0mdat"): "its index is damaged",
        _file(tmp_path, box(b"ftyp", b"isom") + box(b"free") * 20_000): "its index has too many parts",
        _file(
            tmp_path,
            box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", payload(plain, "moov/mvhd")) + 65 * box(b"trak")),
        ): "it has too many tracks",
    }
    for path, reason in others.items():
        with pytest.raises(Malformed, match=reason):
            Movie(path)


def _file(folder: Path, data: bytes) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.mp4"
    path.write_bytes(data)
    return path


MANY = 0xFFFF_FFFF
LIES = {
    "more durations than fit": {STBL + "stts": struct.pack(">IIII", 0, MANY, 1, 1)},
    "a run of four billion": {STBL + "stts": rows(">II", (MANY, 1))},
    "runs of more than there are": {STBL + "stts": rows(">II", *[(12, 1)] * 2)},
    "too few durations": {STBL + "stts": rows(">II", (11, 1))},
    "a duration that is negative": {STBL + "stts": rows(">II", (11, 1), (1, MANY))},
    "no durations": {STBL + "stts": None},
    "a run of offsets of four billion": {STBL + "ctts": rows(">Ii", (MANY, 1))},
    "too few compositions": {STBL + "ctts": rows(">Ii", (1, 1))},
    "more sizes than fit": {STBL + "stsz": struct.pack(">III", 0, 0, 3_000_000)},
    "more samples than we take": {STBL + "stsz": struct.pack(">III", 0, 1, MANY)},
    "samples larger than the file": {STBL + "stsz": struct.pack(">III", 0, 1 << 30, 12)},
    "no sizes": {STBL + "stsz": None},
    "compact sizes of no known form": {STBL + "stsz": None, STBL + "stz2": struct.pack(">III", 0, 5, 12) + bytes(99)},
    "a keyframe that is none of them": {STBL + "stss": rows(">I", (13,))},
    "keyframe number zero": {STBL + "stss": rows(">I", (0,))},
    "more keyframes than fit": {STBL + "stss": struct.pack(">II", 0, MANY)},
    "chunks beyond the end": {STBL + "stco": rows(">I", (1 << 31,))},
    "chunks far beyond the end": {STBL + "stco": None, STBL + "co64": rows(">Q", ((1 << 64) - 1,))},
    "no chunks": {STBL + "stco": rows(">I")},
    "no table of chunks": {STBL + "stco": None},
    "chunks over each other": {STBL + "stco": rows(">I", (48,), (49,)), STBL + "stsc": rows(">III", (1, 6, 1))},
    "four billion samples a chunk, and too few": {STBL + "stco": rows(">I"), STBL + "stsc": rows(">III", (1, MANY, 1))},
    "too few samples a chunk": {STBL + "stsc": rows(">III", (1, 5, 1))},
    "chunks in no order": {STBL + "stsc": rows(">III", (1, 6, 1), (1, 6, 1))},
    "chunks from number zero on": {STBL + "stsc": rows(">III", (0, 12, 1))},
    "chunks from number two on": {STBL + "stsc": rows(">III", (2, 12, 1))},
    "a run of chunks that do not exist": {STBL + "stsc": rows(">III", (1, 12, 1), (MANY, 1, 1))},
    "no samples a chunk": {STBL + "stsc": rows(">III")},
    "more edits than fit": {"moov/trak/edts/elst": struct.pack(">II", 0, 9_000)},
    "more edits than we take": {"moov/trak/edts/elst": struct.pack(">II", 0, MANY)},
    "an edit before the beginning": {"moov/trak/edts/elst": rows(">IiI", (1, -7, ONCE))},
    "no time scale": {"moov/trak/mdia/mdhd": lambda data: data[:12] + bytes(4) + data[16:]},
    "no time scale of the movie": {"moov/mvhd": lambda data: data[:12] + bytes(4) + data[16:]},
    "a head that is too short": {"moov/trak/tkhd": lambda data: data[:60]},
    "another head that is too short": {"moov/mvhd": b""},
    "no head": {"moov/trak/tkhd": None},
    "no sample description": {STBL + "stsd": rows(">I")},
    "a sample description that is too long": {STBL + "stsd": lambda data: data[:8] + b"\0\1\0\0" + data[12:]},
    "a sample description of no length": {STBL + "stsd": lambda data: data[:8] + b"\0\0\0\4" + data[12:]},
    "a version of 64 bits without them": {"moov/trak/mdia/mdhd": lambda data: b"\1" + data[1:]},
    "no tables": {"moov/trak/mdia/minf/stbl": b""},
    "tables that are none": {"moov/trak/mdia/minf/stbl": b"\0\0\0\7stsz"},
    "a matrix beyond all numbers": {
        "moov/mvhd": lambda data: data.replace(UNITY, b"\x7f" * 36),
        "moov/trak/tkhd": lambda data: data.replace(UNITY, b"\x7f" * 36),
    },
}


@pytest.mark.parametrize("changes", LIES.values(), ids=LIES)
def test_tables_that_lie_are_malformed_at_once(plain, changes):
    path = changed(plain, changes)
    begun = time.perf_counter()
    with pytest.raises(Malformed):
        read_all(path)
    assert time.perf_counter() - begun < 0.5


def read_all(path: Path) -> None:
    with Movie(path) as movie:
        for track in movie.tracks:
            assert len(track.times) == len(track.sync) == len(track.offsets) == track.count
            assert track.is_cover in (True, False)
            if track.shown is not None:
                assert track.shown.start >= 0
            for index in range(track.count):
                assert len(track.sample(index)) == track.sizes[index]


def test_flipped_and_missing_bytes_are_malformed_or_read_and_nothing_else(tmp_path):
    source = changed(media.video(tmp_path / "clip.mp4", frames=12), {})
    data = bytearray(source.read_bytes())
    index = data.index(b"moov") - 4
    chance, refused, begun = random.Random(11), 0, time.perf_counter()
    path = tmp_path / "broken.mp4"
    for number in range(700):
        broken = bytearray(data)
        if number % 7 == 0:
            del broken[chance.randrange(8, len(broken)) :]
        elif number % 7 == 1:
            place = chance.randrange(index, len(broken) - 4)
            broken[place : place + 4] = struct.pack(">I", chance.choice([0, 1, 7, 8, 0x7FFF_FFFF, MANY]))
        else:
            for _ in range(chance.randint(1, 3)):
                broken[chance.randrange(index, len(broken))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        try:
            read_all(path)
        except Malformed:
            refused += 1
    assert 200 < refused < 700
    assert time.perf_counter() - begun < 20


def test_boxes_and_their_children():
    inner = box(b"aaaa", b"1") + box(b"bbbb", b"22") + box(b"aaaa", b"3")
    entry = box(b"avc1", bytes(4), inner)
    assert child(entry, b"bbbb", 12) == b"22"
    assert child(entry, b"cccc", 12) is None
    assert with_child(entry, b"bbbb", b"", 12) == box(
        b"avc1", bytes(4), inner.replace(box(b"bbbb", b"22"), box(b"bbbb"))
    )
    assert with_child(entry, b"cccc", b"!", 12, drop=(b"aaaa",)) == box(
        b"avc1", bytes(4), box(b"bbbb", b"22"), box(b"cccc", b"!")
    )
    long = struct.pack(">I4sQ", 1, b"long", 17) + b"x" + b"\0\0\0\0last!"
    assert [(part.name, long[part.start : part.end]) for part in boxes(long, 0, len(long))] == [
        (b"long", b"x"),
        (b"last", b"!"),
    ]
    assert find(entry, 0, len(entry), b"avc1", b"none") is None
    for data in (struct.pack(">I4sQ", 1, b"long", 15), b"\0\0\0\7none", b"\0\0\0\1none", b"\0\0\0\x09none"):
        with pytest.raises(Malformed):
            list(boxes(data, 0, len(data)))
    assert movies.rows(">I", (1,)) == b"\0\0\0\0\0\0\0\1\0\0\0\1"
