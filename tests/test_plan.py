"""What is encoded, what is copied and what is shared, and how a plan tells of it."""

import json
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Limits, Media, Plan, RenderSettings, Variant, explain, target_size
from novai_web.engines.ffmpeg.deciding import make_plan
from novai_web.engines.ffmpeg.planning import Picture
from novai_web.errors import UnusableMedia
from tests import media

SONG, TUNE = Path("/m/song.mp3"), Path("/m/tune.mp3")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    """Six seconds with a keyframe every second, and the same pictures in all the other ways."""
    folder = tmp_path_factory.mktemp("clips")
    long = {"frames": 180, "options": {"preset": "ultrafast", "g": "30", "sc_threshold": "0"}}
    made = {
        "beach": media.video(folder / "beach.mp4", **long),  # type: ignore[arg-type]
        "second": media.video(folder / "second.mp4", **long),  # type: ignore[arg-type]
        "matroska": media.video(folder / "old.mkv", **long),  # type: ignore[arg-type]
        "single": media.video(folder / "single.mp4", frames=180, options={"preset": "ultrafast", "g": "999"}),
        "phone": media.hevc(folder / "phone.mp4"),
        "web": media.vp9(folder / "web.webm"),
    }
    made["fragmented"] = fragmented(made["beach"], folder / "stream.mp4")
    made["gone"] = folder / "gone.mp4"
    return made


def fragmented(source: Path, path: Path) -> Path:
    """The same packets as a live stream is written: without an index in front."""
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


@pytest.fixture(scope="module")
def probed(clips) -> dict[Path, Media | UnusableMedia]:
    paths = [path for path in clips.values() if path.exists()]
    found = dict(zip(paths, ffmpeg.probe_all(paths, Limits()), strict=True))
    return {**found, SONG: song(), TUNE: song(), clips["gone"]: found[clips["beach"]]}


def song() -> Media:
    return Media("audio", "mp3", "audio/mpeg", ".mp3", duration_seconds=20, has_audio=True, audio_codec="mp3")


class Planner:
    def __init__(self, clips: dict[str, Path], probed: dict[Path, Media | UnusableMedia]) -> None:
        self.clips, self.probed = clips, probed

    def __call__(
        self,
        *cells: tuple[str | Path, Path | None, str | None],
        found: dict[Path, Media | UnusableMedia] | None = None,
        limits: Limits | None = None,
        **given: object,
    ) -> Plan:
        """`cells` are clip, sound and hook; hooks are shown for a second, unless said otherwise."""
        settings = RenderSettings(**{"hook_duration_seconds": 1, **given})  # type: ignore[arg-type]
        batch = [
            Variant(n, self.clips.get(str(video), Path(video)), audio, hook, name=f"variant {n}")
            for n, (video, audio, hook) in enumerate(cells)
        ]
        return make_plan(batch, settings, self.probed | (found or {}), limits)


@pytest.fixture(scope="module")
def planned(clips, probed) -> Planner:
    return Planner(clips, probed)


def pictures(plan: Plan) -> list[Picture]:
    return [picture for clip in plan.clips for picture in clip.pictures]


def ways(plan: Plan) -> list[tuple[str, int]]:
    return [(picture.way, len(picture.variants)) for picture in pictures(plan)]


def test_a_video_with_the_same_hook_is_one_picture_however_many_audios_it_gets(planned) -> None:
    plan = planned(("beach", SONG, "Hi"), ("beach", TUNE, "Hi "), ("beach", None, "Hi"), ("beach", SONG, "Ho"))
    assert ways(plan) == [("exact", 3), ("exact", 1)]


def test_no_hook_and_no_reframing_is_a_copy(planned) -> None:
    plan = planned(("beach", SONG, None), ("beach", None, "  "), ("second", TUNE, None))
    assert ways(plan) == [("copy", 2), ("copy", 1)]


def test_only_the_pictures_around_a_hook_are_encoded_and_the_rest_is_copied(planned) -> None:
    plan = planned(("beach", None, "a"), ("beach", None, "b"), hook_start_seconds=1.5)
    cut = plan.clips[0].cut
    assert cut is not None
    assert (cut.bridge_before, cut.hook, cut.bridge_after, cut.copied) == (15, 30, 15, 120)


@pytest.mark.parametrize(
    ("clip", "hook", "way", "why"),
    [
        ("beach", "Hi", "exact", "only the pictures around the hook change"),
        ("phone", "Hi", "normalise", "it is HEVC"),
        ("phone", None, "copy", "nothing in the picture changes"),
        ("web", "Hi", "normalise", "it is VP9"),
        ("web", None, "normalise", "VP9 is not widely played in MP4"),
        ("single", "Hi", "normalise", "it has no keyframe to copy from"),
        ("single", None, "copy", "nothing in the picture changes"),
    ],
)
def test_each_picture_is_made_in_the_way_that_its_source_allows(planned, clip, hook, way, why) -> None:
    [picture] = pictures(planned((clip, None, hook)))
    assert (picture.way, picture.why) == (way, why)


@pytest.mark.parametrize("clip", ["matroska", "fragmented", "gone"])
@pytest.mark.parametrize(("hook", "way"), [("Hi", "exact"), (None, "copy")])
def test_what_has_no_index_that_we_read_is_put_into_an_mp4_first(planned, clip, hook, way) -> None:
    plan = planned((clip, None, hook))
    assert ways(plan) == [(way, 1)] and plan.clips[0].remux and plan.clips[0].cut is None


def test_what_is_not_copied_anyway_is_not_put_into_an_mp4_first(planned) -> None:
    assert not planned(("matroska", None, "Hi"), method="normalise").clips[0].remux


def test_a_hook_on_the_whole_clip_is_encoded_freely_as_nothing_can_be_copied(planned) -> None:
    [picture] = pictures(planned(("beach", None, "Hi"), hook_duration_seconds=None))
    assert (picture.way, picture.why) == ("normalise", "the hook is on all of it")


@pytest.mark.parametrize("method", ["normalise", "naive"])
def test_the_method_that_was_chosen_is_taken_but_what_does_not_change_is_copied_all_the_same(planned, method) -> None:
    plan = planned(("beach", None, "Hi"), ("beach", None, None), method=method)
    assert ways(plan) == [(method, 1), ("copy", 1)]
    assert pictures(plan)[0].why == "this method was chosen"


def test_a_video_that_has_the_shape_already_is_not_reframed(planned) -> None:
    assert ways(planned(("beach", None, None), frame="9:16")) == [("copy", 1)]
    [picture] = pictures(planned(("beach", None, None), frame="1:1"))
    assert (picture.way, picture.why) == ("normalise", "it is fitted to 1:1")
    assert ways(planned(("beach", None, "Hi"), frame="1:1", method="naive")) == [("naive", 1)]


def test_frames_are_kept_for_all_hooks_only_where_they_fit(planned) -> None:
    window = 30 * 180 * 320 * 3 // 2
    for room, held in ((window, True), (window - 1, False)):
        assert planned(("beach", None, "a"), limits=Limits(frame_bytes_max=room)).clips[0].held is held
        [clip] = planned(("beach", None, "a"), limits=Limits(frame_bytes_max=room), method="normalise").clips
        assert clip.held is held


def test_two_thousand_hooks_on_one_video_are_planned_in_a_moment(planned) -> None:
    cells = [("beach", SONG, f"hook {n}") for n in range(2000)]
    start = time.perf_counter()
    plan = planned(*cells)
    assert time.perf_counter() - start < 1
    assert len(plan.clips) == 1 and ways(plan) == [("exact", 1)] * 2000


@pytest.mark.parametrize(
    ("source", "frame", "size"),
    [
        ((1920, 1080), "9:16", (1080, 1920)),
        ((1920, 1080), "1:1", (1080, 1080)),
        ((1080, 1920), "16:9", (1920, 1080)),
        ((1280, 720), "9:16", (720, 1280)),
        ((719, 1279), "source", (718, 1278)),
        ((1080, 1920), "9:16", (1080, 1920)),
        ((1, 1), "16:9", (2, 2)),
    ],
)
def test_the_shorter_side_is_kept_and_both_are_even(source: tuple[int, int], frame: str, size: tuple[int, int]) -> None:
    assert target_size(*source, frame) == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "original", "chosen", "action", "mixed"),
    [
        ("replace", "aac", SONG, "encode", False),
        ("replace", "aac", None, "copy", True),
        ("replace", None, None, "none", False),
        ("replace", "opus", None, "encode", True),
        ("mix", "aac", SONG, "encode", True),
        ("mix", None, SONG, "encode", False),
        ("keep", "aac", SONG, "copy", True),
        ("keep", None, SONG, "none", False),
    ],
)
def test_where_the_sound_comes_from(
    planned, clips, probed, mode: str, original: str | None, chosen: Path | None, action: str, mixed: bool
) -> None:
    clip = replace(probed[clips["beach"]], has_audio=original is not None, audio_codec=original)
    plan = planned(("beach", chosen, None), found={clips["beach"]: clip}, audio_mode=mode)
    track = pictures(plan)[0].variants[0][1]
    assert (track.action, track.with_original) == (action, mixed)
    assert track.why


def test_an_unusable_file_refuses_only_its_own_variants(planned) -> None:
    plan = planned(
        ("beach", SONG, "a"), ("beach", TUNE, "a"), ("second", SONG, "a"), found={TUNE: UnusableMedia("It is broken.")}
    )
    assert [variant.n for variant in plan.variants] == [0, 2]
    assert plan.refused == {1: "Its audio cannot be used. It is broken."}


def test_a_hook_after_the_end_is_refused_with_what_to_do(planned) -> None:
    plan = planned(("beach", None, "late"), ("beach", None, None), hook_start_seconds=10)
    assert "Let it appear earlier" in plan.refused[0]
    assert [variant.n for variant in plan.variants] == [1]


def test_a_picture_is_no_video_and_a_silent_video_no_audio(planned, clips, probed) -> None:
    picture = Media("image", "png", "image/png", ".png", width=4, height=4)
    silent = replace(probed[clips["beach"]], has_audio=False)
    plan = planned(("beach", None, None), ("second", SONG, None), found={clips["beach"]: picture, SONG: silent})
    assert len(plan.refused) == 2


def test_a_mixed_batch_explains_itself(planned) -> None:
    plan = planned(
        ("beach", SONG, "Wait\nfor it"), ("beach", TUNE, "Wait\nfor it"), ("beach", SONG, "Look"),
        ("second", None, None), ("phone", SONG, "Look"), ("matroska", SONG, "Look"), ("web", None, None),
        (SONG, None, None), (SONG, None, "Look"),
        hook_start_seconds=1.5,
    )  # fmt: skip
    assert explain(plan) == EXPLAINED


EXPLAINED = """\
7 variants of 5 clips; 2 refused
  pictures   6 for 7 variants: 3 exact, 1 copy, 2 normalise
  frames     391 encoded of 1,021 that plain renders would encode, 38.3%
  sounds     5 encoded, 1 copied, 7 needed

beach.mp4 · 180×320 · H.264 · 6.0 s · 180 frames → 3 variants
  exact      2 hooks for 3 variants, because only the pictures around the hook change
             60 frames decoded once
             30 frames under the hook encoded for each of 2 hooks
             30 frames between it and the next keyframes encoded once, for all
             120 frames copied, packet for packet
  sound      song.mp3 encoded once for 2 variants, because it replaces the original
  sound      tune.mp3 encoded once for 1 variant, because it replaces the original

second.mp4 · 180×320 · H.264 · 6.0 s · 180 frames → 1 variant
  copy       no hook for 1 variant, because nothing in the picture changes
             all 180 frames copied, packet for packet
  sound      its own copied for 1 variant, because the original sound is kept

phone.mp4 · 180×320 · HEVC · 2.0 s · 60 frames → 1 variant
  normalise  1 hook for 1 variant, because it is HEVC
             60 frames decoded once
             15 frames under the hook encoded once
             45 frames without a hook encoded once
  sound      song.mp3 encoded once for 1 variant, because it replaces the original

old.mkv · 180×320 · H.264 · 6.0 s · about 181 frames → 1 variant
  first      its packets are put into an MP4, as they are
  exact      1 hook for 1 variant, because only the pictures around the hook change
             181 frames decoded once
             30 frames under the hook encoded once
             151 frames without a hook encoded once
             fewer, if it has keyframes near the hook: that is seen when it is an MP4
  sound      song.mp3 encoded once for 1 variant, because it replaces the original

web.webm · 180×320 · VP9 · 2.0 s · about 60 frames → 1 variant
  normalise  no hook for 1 variant, because VP9 is not widely played in MP4
             60 frames decoded once
             60 frames in all encoded once
  sound      its own encoded once for 1 variant, because the original sound is kept, but MP4 wants AAC, not opus

refused: variants 8, 9. Its video has no moving picture. Choose a video."""


def test_a_plan_tells_that_frames_which_do_not_fit_are_decoded_again(planned) -> None:
    told = explain(planned(("beach", None, "a"), ("beach", None, "b"), limits=Limits(frame_bytes_max=0)))
    assert "30 frames decoded once, and again for each few hooks" in told


def test_a_plan_for_fewer_variants_leaves_out_what_nobody_needs(planned) -> None:
    plan = planned(("beach", SONG, "a"), ("beach", TUNE, "a"), ("beach", TUNE, "b"), ("second", SONG, "b"))
    assert ways(plan.only([1])) == [("exact", 1)] and len(plan.only([1]).clips) == 1
    assert plan.only([]).clips == ()


def test_what_crashed_is_rendered_plainly_but_a_copy_stays_a_copy(planned) -> None:
    plan = planned(("beach", SONG, "a"), ("beach", TUNE, None)).plainly("it crashed")
    assert ways(plan) == [("naive", 1), ("copy", 1)]
    assert pictures(plan)[0].why == "it crashed" and plan.clips[0].cut is None


def test_a_plan_survives_json(planned) -> None:
    plan = planned(
        ("beach", SONG, "a"), ("second", None, None), ("web", None, "a"), hook_size=9, audio_mode="mix", method="naive"
    )
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    exact = planned(("beach", SONG, "a"))
    assert exact.clips[0].cut and Plan.from_json(json.loads(json.dumps(exact.to_json()))) == exact


def test_every_setting_has_a_title_a_description_and_a_default() -> None:
    for name, field in RenderSettings.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert not field.is_required(), name
