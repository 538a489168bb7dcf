"""Every structure a source may have, with a hook at its start, in its middle and at its end: nothing else changes."""

from fractions import Fraction
from pathlib import Path

import av
import conformance
import looking
import matrix
import numpy as np
import pytest
import rendered
from rendered import Case

AAC_FRAME = 1024 / 48_000  # seconds
FADE_SECONDS = 0.6  # of a chosen audio at its end, and a little
BRIDGE_SSIM_MIN = 0.95
SSIM_SLACK = 0.002

CASES = [
    *((name, window) for name in matrix.MAIN for window in ("start", "middle", "end")),
    *((name, "middle") for name in matrix.SOURCES if name not in matrix.MAIN),
]
SLOW = [
    *((name, window) for name in matrix.SOURCES if name not in matrix.MAIN for window in ("start", "end")),
    *((name, "whole") for name in matrix.SOURCES),
]


@pytest.fixture(
    scope="module",
    params=[*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)],
    ids=lambda case: "-".join(case),
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return rendered.case(tmp_path_factory, *request.param)


def only_exact(case: Case) -> None:
    if case.way != "exact":
        pytest.skip("it is encoded as a whole")


def test_it_is_made_in_the_way_it_can_be_and_says_why(case: Case) -> None:
    assert case.first in case.batch.files, case.batch.failed
    checked = case.batch.checked[case.first]
    way, why = case.batch.ways[case.first]
    if case.name.endswith(".mkv") or case.name == "fragmented.mp4":  # until its packets are in an MP4, nobody knows
        way, why = checked.way, checked.why
    assert (way, checked.way) == (case.way, case.way), f"{why} / {checked.why}"
    assert why
    assert case.expected.why in why
    assert case.naive.checked[case.first // 2].way == "naive"


def test_no_decoder_says_anything(case: Case) -> None:
    assert case.decoded.said == ""
    assert case.second_decoded.said == ""


def test_it_is_one_mp4_as_the_standards_have_it(case: Case) -> None:
    trimmed = case.name.startswith("trimmed")
    for path in (case.file, case.second):
        assert conformance.faults(path, trimmed=trimmed) == []
    if case.window == "middle":  # where there are joints on both sides
        assert conformance.header_faults(case.file) == []


def test_every_frame_is_there_at_its_own_time(case: Case) -> None:
    before, after = case.before, case.after
    assert [frame.number for frame in after] == [frame.number for frame in before]
    late = [abs(one.time - other.time) for one, other in zip(before, after, strict=True)]
    assert max(late) <= (0 if case.source.suffix == ".mp4" and case.way == "exact" else Fraction(1, 1000))
    assert case.batch.checked[case.first].frames == len(before)


def test_the_hook_is_on_the_frames_it_was_asked_for_and_on_no_other(case: Case) -> None:
    assert [n for n, frame in enumerate(case.after) if frame.hooked] == list(case.hooked)
    bare = [frame.hook_share for n, frame in enumerate(case.after) if n not in case.hooked]
    assert max(bare, default=0) < looking.HOOKED_SHARE / 10


def test_frames_outside_of_the_keyframes_around_the_window_are_the_source_s_own(case: Case) -> None:
    only_exact(case)
    before, after = case.decoded_before.frames, case.decoded.frames
    changed = [n for n, (one, other) in enumerate(zip(before, after, strict=True)) if one[1] != other[1]]
    assert set(changed) <= set(case.may_change), (changed[:3], changed[-3:], case.may_change)
    assert set(case.hooked) <= set(changed)


def test_frames_that_were_encoded_without_the_hook_look_as_before(case: Case) -> None:
    whole = range(len(case.before))
    encoded = set(case.may_change if case.way == "exact" else whole) - set(case.hooked)
    found = {n: similarity(case, case.before[n].luma, case.after[n].luma) for n in sorted(encoded)[::3]}
    assert min(found.values(), default=1) > BRIDGE_SSIM_MIN, min(found.items(), key=lambda item: item[1])


def test_frames_under_the_hook_are_at_least_as_good_as_when_all_is_encoded(case: Case) -> None:
    found, second, naive = [], [], []
    for n in case.hooked[::3]:
        naively = case.naively[n].luma
        found.append(quality(case, n, case.after[n].luma, looking.HOOK_TEXT))
        second.append(quality(case, n, case.after_second[n].luma, looking.SECOND_TEXT))
        naive.append(quality(case, n, looking.at_size(naively, case.after[n].luma.shape[::-1]), looking.HOOK_TEXT))
    more_pixels = case.naively[0].luma.size > case.after[0].luma.size  # to spend bits on
    least = np.mean(naive) - (3 * SSIM_SLACK if more_pixels else SSIM_SLACK)
    assert np.mean(found) >= least
    assert np.mean(second) >= least


def test_a_second_hook_differs_only_where_it_is(case: Case) -> None:
    assert [n for n, frame in enumerate(case.after_second) if frame.hooked] == list(case.hooked)
    one, other = case.decoded.frames, case.second_decoded.frames
    assert [n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b] == list(case.hooked)


def test_the_sound_stays_with_the_picture(case: Case) -> None:
    if not has_sound(case):
        pytest.skip("it has no sound")
    heard = [click for click in looking.clicks(case.file) if click >= 0]
    wished = [click for click in looking.clicks(case.source) if click >= 0]
    assert heard == pytest.approx(wished, abs=AAC_FRAME)


def test_a_chosen_audio_begins_with_the_first_frame_and_ends_with_the_last(case: Case) -> None:
    end = float(case.before[-1].time)
    starts = np.arange(0, end, rendered.SHORT_SECONDS) if case.song_is_short else [0.0]
    clicks = [rendered.SHORT_CLICK] if case.song_is_short else rendered.CLICKS
    wished = [start + click for start in starts for click in clicks if start + click < end - FADE_SECONDS]
    heard = [click for click in looking.clicks(case.second) if click < end - FADE_SECONDS]
    assert heard == pytest.approx(wished, abs=AAC_FRAME)
    with av.open(str(case.second)) as container:
        seconds = [float(stream.duration * stream.time_base) for stream in container.streams]
    assert seconds[1] == pytest.approx(seconds[0], abs=0.1)


def test_the_picture_keeps_its_shape_colours_and_rotation(case: Case) -> None:
    only_exact(case)
    with av.open(str(case.source)) as before, av.open(str(case.file)) as after:
        assert look(after) == look(before)


def test_frames_of_one_length_stay_so(case: Case) -> None:
    only_exact(case)
    if case.name == "variable_rate.mp4" or case.source.suffix != ".mp4":
        pytest.skip("its frames have several lengths")
    assert len(set(case.movie.video.durations[:-1])) == 1  # the last ends where the source does


def test_many_hooks_made_side_by_side_are_each_whole(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As many threads as there are cores share the decoded frames of one clip."""
    source = rendered.source(tmp_path_factory, "gop_60.mp4")
    hooks = [f"Hook {number}" for number in range(8)]
    made = rendered.render(tmp_path, [(source, None, hook) for hook in hooks], rendered.in_window("middle", threads=0))
    assert made.failed == {}
    first = looking.decoded(made.files[0]).frames
    for number, hook in enumerate(hooks):
        frames, stored = looking.frames(made.files[number]), looking.decoded(made.files[number], strictly=True)
        hooked = [n for n, frame in enumerate(frames) if frame.hooked]
        assert hooked == list(range(51, 96))
        assert stored.said == ""
        assert [n for n, frame in enumerate(stored.frames) if frame != first[n]] == (hooked if number else [])
        before = looking.frames(source)
        others = [looking.composite(before[70].luma, other) for other in hooks]
        assert int(np.argmax([looking.ssim(frames[70].luma, other) for other in others])) == number, hook


def look(container: av.container.InputContainer) -> tuple[object, ...]:
    stream = container.streams.video[0]
    frame = next(container.decode(stream))
    context = stream.codec_context
    colours = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
    return frame.width, frame.height, frame.format.name, frame.rotation, stream.sample_aspect_ratio or 1, colours


def has_sound(case: Case) -> bool:
    with av.open(str(case.source)) as container:
        return bool(container.streams.audio)


def quality(case: Case, number: int, shown: looking.Plane, hook: str) -> float:
    """Against the hook over the source without loss. The naive render makes all pixels square, and so draws it."""
    before, (height, width) = case.before[number].luma, case.naively[number].luma.shape
    full_range = case.name == "full_range.mp4"
    wished = looking.composite(looking.at_size(before, (width, height)), hook, full_range=full_range)
    return looking.ssim(shown, looking.at_size(wished, shown.shape[::-1]))


def similarity(case: Case, before: looking.Plane, after: looking.Plane) -> float:
    height, width = after.shape
    return looking.ssim(looking.at_size(before, (width, height)), after)
