"""Those who judge rendered files are judged: each notices the fault it is there for, and nothing where none is."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import boxes
import conformance
import looking
import matrix
import numpy as np
import pytest
import rendered

START, END = 0.5, 1.2
FRAMES = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, the index last."""
    made = matrix.Clip(options={"g": "30", "bf": "3"}, frames=FRAMES)
    return rendered.once(tmp_path_factory, "clip", lambda folder: made.make(folder / "clip.mp4"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = matrix.Clip(options={"g": "30"}, frames=FRAMES, stamps=matrix.uneven(FRAMES))
    return rendered.once(tmp_path_factory, "uneven", lambda folder: made.make(folder / "uneven.mp4"))


def copied(source: Path, target: Path, change: Callable[[av.Packet], av.Packet | None] = lambda packet: packet) -> Path:
    """Packet by packet, each changed or left out; with the index first."""
    with av.open(str(source)) as before, av.open(str(target), "w", options={"movflags": "+faststart"}) as after:
        streams = {stream: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            if packet.size and (kept := change(packet)) is not None:
                kept.stream = streams[packet.stream]
                after.mux(kept)
    return target


def patched(source: Path, target: Path, path: str, offset: int, layout: str, *values: int) -> Path:
    """Other numbers at a place in a box of the picture's track."""
    movie = boxes.Movie(source)
    (box,) = boxes.find(movie.data, path, movie.video.trak)
    data = bytearray(movie.data)
    struct.pack_into(layout, data, box.body + offset, *values)
    target.write_bytes(data)
    return target


def faults(path: Path) -> list[str]:
    return [fault for fault in conformance.faults(path) if fault != "the index comes after the samples"]


def test_a_good_file_is_found_good(clip: Path, tmp_path: Path) -> None:
    copy = copied(clip, tmp_path / "copy.mp4")
    assert conformance.faults(copy) == []
    assert conformance.header_faults(copy) == []
    for decoder in looking.DECODERS:
        assert looking.decoded(copy, decoder, strictly=True).said == ""
        assert looking.decoded(copy, decoder).frames == looking.decoded(clip, decoder).frames
    assert [frame.number for frame in looking.frames(copy)] == list(range(FRAMES))
    assert looking.flashes(looking.frames(copy)) == pytest.approx(looking.clicks(copy), abs=0.002)


def test_an_index_at_the_end_is_noticed(clip: Path) -> None:
    assert conformance.faults(clip) == ["the index comes after the samples"]


def test_a_frame_that_was_dropped_is_noticed(clip: Path, tmp_path: Path) -> None:
    dropped: list[int] = []

    def without_one(packet: av.Packet) -> av.Packet | None:
        if packet.stream.type == "video" and bytes(packet)[4] == boxes.SLICE and not dropped:  # nobody refers to it
            dropped.append(packet.pts // 3000)
            return None
        return packet

    gone = copied(clip, tmp_path / "gone.mp4", without_one)
    numbers = [frame.number for frame in looking.frames(gone)]
    assert numbers == [number for number in range(FRAMES) if number not in dropped]
    assert looking.decoded(gone, strictly=True).said == "", "no decoder would notice"


def test_a_frame_at_another_time_is_noticed(clip: Path, tmp_path: Path) -> None:
    def late(packet: av.Packet) -> av.Packet:
        if packet.stream.type == "video" and packet.pts == 30 * 3000:
            packet.pts += 100
        return packet

    moved = copied(clip, tmp_path / "late.mp4", late)
    times = [frame.time for frame in looking.frames(moved)]
    assert [n for n, frame in enumerate(looking.frames(clip)) if frame.time != times[n]] == [30]


@pytest.mark.parametrize("seconds", [0.06, -0.06, 0.03])
def test_sound_that_is_late_or_early_is_noticed(clip: Path, tmp_path: Path, seconds: float) -> None:
    def shifted(packet: av.Packet) -> av.Packet:
        if packet.stream.type == "audio":
            packet.pts += round(seconds / packet.time_base)
            packet.dts = packet.pts
        return packet

    moved = copied(clip, tmp_path / "shifted.mp4", shifted)
    (flash, *_), (click, *_) = looking.flashes(looking.frames(moved)), looking.clicks(moved)
    assert click - flash == pytest.approx(seconds, abs=0.003)


def test_a_hook_that_stays_one_frame_too_long_is_noticed(clip: Path, tmp_path: Path) -> None:
    hooked = []
    for n, end in enumerate((END, END + 1 / matrix.RATE)):
        settings = rendered.in_window("start", hook_start_seconds=START, hook_duration_seconds=end - START)
        made = rendered.render(tmp_path / str(n), [(clip, None, looking.HOOK_TEXT)], settings)
        hooked.append([n for n, frame in enumerate(looking.frames(made.files[0])) if frame.hooked])
    assert hooked == [list(range(15, 36)), list(range(15, 37))]


def test_a_frame_that_was_encoded_again_is_not_taken_for_the_same(clip: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    matrix.debian("-i", clip, "-c:v", "libx264", "-crf", 10, "-preset", "veryfast", "-c:a", "copy", again)
    before, after = looking.decoded(clip).frames, looking.decoded(again).frames
    assert all(one[0] == other[0] and one[1] != other[1] for one, other in zip(before, after, strict=True))


def test_similarity_falls_as_quality_falls(clip: Path) -> None:
    luma = looking.frames(clip)[20].luma
    noisy = [np.clip(luma + np.random.default_rng(1).normal(0, much, luma.shape), 0, 255) for much in (0, 2, 8)]
    best, good, bad = (looking.ssim(luma, other) for other in noisy)
    assert best == 1
    assert 0.95 < good < 0.999
    assert bad < good - 0.05


def test_damage_makes_both_decoders_speak(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    at = boxes.Movie(clip).video.offsets[31]
    data[at + 20 : at + 60] = bytes(40)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    for decoder in looking.DECODERS:
        assert looking.decoded(broken, decoder, strictly=True).said != ""


def test_decode_times_that_stand_still_are_noticed(uneven: Path, tmp_path: Path) -> None:
    still = patched(uneven, tmp_path / "still.mp4", "mdia.minf.stbl.stts", 8 + 12, ">I", 0)
    assert any("do not rise" in fault for fault in faults(still))


def test_pictures_shown_before_they_are_decoded_are_noticed(clip: Path, tmp_path: Path) -> None:
    early = patched(clip, tmp_path / "early.mp4", "mdia.minf.stbl.ctts", 8 + 4, ">i", -3000)
    assert "a picture is shown before it is decoded" in faults(early)


def test_two_pictures_at_one_time_are_noticed(clip: Path, tmp_path: Path) -> None:
    offset = boxes.Movie(clip).video.composition[0] + 3000
    double = patched(clip, tmp_path / "double.mp4", "mdia.minf.stbl.ctts", 8 + 4, ">i", offset)
    assert faults(double) != []


def test_keyframes_that_are_none_are_noticed(clip: Path, tmp_path: Path) -> None:
    marked = patched(clip, tmp_path / "marked.mp4", "mdia.minf.stbl.stss", 8 + 4, ">I", 32)
    assert "sample 31 is no keyframe, and the index says it is one" in faults(marked)


def test_a_keyframe_that_the_index_does_not_know_is_noticed(clip: Path, tmp_path: Path) -> None:
    hidden = patched(clip, tmp_path / "hidden.mp4", "mdia.minf.stbl.stss", 4, ">I", 1)
    assert "sample 30 is a keyframe, and the index does not know it" in faults(hidden)


def test_parameter_sets_inside_the_stream_are_noticed(tmp_path: Path) -> None:
    joined = matrix.concatenated(tmp_path / "joined.mp4")
    assert any("has parameter sets inside" in fault for fault in faults(joined))


def test_an_edit_that_hides_a_picture_is_noticed(clip: Path, tmp_path: Path) -> None:
    movie = boxes.Movie(clip)
    late = patched(clip, tmp_path / "late.mp4", "edts.elst", 8 + 4, ">i", movie.video.edits[0].media_time + 3000)
    assert "the edit does not begin with the first picture" in faults(late)
    short = patched(clip, tmp_path / "short.mp4", "edts.elst", 8, ">I", movie.video.edits[0].duration - 34)
    assert "the edit ends before the last picture" in faults(short)
    long = patched(clip, tmp_path / "long.mp4", "edts.elst", 8, ">I", movie.video.edits[0].duration + 90)
    assert "the edit goes on after the last picture" in faults(long)


def test_samples_that_are_somewhere_else_are_noticed(clip: Path, tmp_path: Path) -> None:
    assert faults(patched(clip, tmp_path / "else.mp4", "mdia.minf.stbl.stco", 8, ">I", 4)) != []
    assert faults(patched(clip, tmp_path / "size.mp4", "mdia.minf.stbl.stsz", 12, ">I", 40)) != []


def test_keyframes_side_by_side_that_cannot_be_told_apart_are_noticed(tmp_path: Path) -> None:
    """x264 numbers them 0, 1, 0, 1; without every second one all are 0."""
    intra = matrix.Clip(x264="keyint=1", frames=10, sound=None).make(tmp_path / "intra.mp4")
    assert conformance.header_faults(intra) == []
    halved = copied(intra, tmp_path / "halved.mp4", lambda packet: None if packet.pts // 3000 % 2 else packet)
    assert conformance.header_faults(halved) != []
