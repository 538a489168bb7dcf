"""What is encoded, what is copied and what is shared."""

from pathlib import Path

import pytest

from novai_web.engines.ffmpeg import Media, Plan, RenderSettings, Variant, target_size
from novai_web.engines.ffmpeg.planning import make_plan
from novai_web.errors import UnusableMedia

CLIP, SECOND, SONG, TUNE = Path("/m/clip.mp4"), Path("/m/second.mp4"), Path("/m/song.mp3"), Path("/m/tune.mp3")


def video(**given: object) -> Media:
    fields = {"width": 1080, "height": 1920, "codec": "h264", "has_audio": True, "audio_codec": "aac"} | given
    return Media("video", "mp4", "video/mp4", ".mp4", duration_seconds=10, frame_rate=30, frames=300, **fields)  # type: ignore[arg-type]


def song() -> Media:
    return Media("audio", "mp3", "audio/mpeg", ".mp3", duration_seconds=20, has_audio=True, audio_codec="mp3")


def planned(
    *cells: tuple[Path, Path | None, str | None],
    found: dict[Path, Media | UnusableMedia] | None = None,
    **given: object,
) -> Plan:
    known = {CLIP: video(), SECOND: video(), SONG: song(), TUNE: song()} | (found or {})
    batch = [Variant(n, *cell, name=f"variant {n}") for n, cell in enumerate(cells)]
    return make_plan(batch, RenderSettings(**given), known)  # type: ignore[arg-type]


def actions(plan: Plan) -> list[tuple[str, int]]:
    return [(segment.action, len(segment.variants)) for segment in plan.segments]


def test_a_video_with_the_same_hook_is_encoded_once_however_many_audios_it_gets() -> None:
    plan = planned((CLIP, SONG, "Hi"), (CLIP, TUNE, "Hi "), (CLIP, None, "Hi"), (CLIP, SONG, "Ho"))
    assert actions(plan) == [("encode", 3), ("encode", 1)]


def test_no_hook_and_no_reframing_is_a_copy() -> None:
    plan = planned((CLIP, SONG, None), (CLIP, None, "  "), (SECOND, TUNE, None))
    assert actions(plan) == [("copy", 2), ("copy", 1)]


@pytest.mark.parametrize("codec", ["vp9", "av1"])
def test_what_mp4_players_may_not_have_is_encoded(codec: str) -> None:
    assert actions(planned((CLIP, None, None), found={CLIP: video(codec=codec)})) == [("encode", 1)]


def test_hevc_is_copied() -> None:
    assert actions(planned((CLIP, None, None), found={CLIP: video(codec="hevc")})) == [("copy", 1)]


def test_a_video_that_has_the_shape_already_is_not_reframed() -> None:
    assert actions(planned((CLIP, None, None), frame="9:16")) == [("copy", 1)]
    assert actions(planned((CLIP, None, None), frame="1:1")) == [("encode", 1)]


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
    mode: str, original: str | None, chosen: Path | None, action: str, mixed: bool
) -> None:
    silent = video(has_audio=original is not None, audio_codec=original)
    plan = planned((CLIP, chosen, None), found={CLIP: silent}, audio_mode=mode)
    track = plan.segments[0].variants[0][1]
    assert (track.action, track.with_original) == (action, mixed)
    assert track.why


def test_an_unusable_file_refuses_only_its_own_variants() -> None:
    plan = planned(
        (CLIP, SONG, "a"), (CLIP, TUNE, "a"), (SECOND, SONG, "a"), found={TUNE: UnusableMedia("It is broken.")}
    )
    assert [variant.n for variant in plan.variants] == [0, 2]
    assert plan.refused == {1: "Its audio cannot be used. It is broken."}


def test_a_hook_after_the_end_is_refused_with_what_to_do() -> None:
    plan = planned((CLIP, None, "late"), (CLIP, None, None), hook_start_seconds=10)
    assert "Let it appear earlier" in plan.refused[0]
    assert [variant.n for variant in plan.variants] == [1]


def test_a_picture_is_no_video_and_a_silent_video_no_audio() -> None:
    picture = Media("image", "png", "image/png", ".png", width=4, height=4)
    plan = planned((CLIP, None, None), (SECOND, SONG, None), found={CLIP: picture, SONG: video(has_audio=False)})
    assert len(plan.refused) == 2


def test_the_plan_explains_itself() -> None:
    told = planned((CLIP, SONG, "Wait\nfor it"), (CLIP, TUNE, "Wait\nfor it"), (SECOND, None, None)).explain()
    assert "3 variants: 1 video encodes, 1 video copies, 2 audio encodes" in told
    assert "clip.mp4 + “Wait for it” → 2 variants, 1080×1920: a hook is drawn on it" in told
    assert "second.mp4 → 1 variants, 1080×1920: nothing in the picture changes" in told


def test_a_plan_for_fewer_variants_leaves_out_what_nobody_needs() -> None:
    plan = planned((CLIP, SONG, "a"), (CLIP, TUNE, "a"), (SECOND, SONG, "b"))
    assert actions(plan.only([1])) == [("encode", 1)]


def test_a_plan_survives_json() -> None:
    plan = planned((CLIP, SONG, "a"), (SECOND, None, None), hook_size=9, audio_mode="mix")
    assert Plan.from_json(plan.to_json()) == plan


def test_every_setting_has_a_title_a_description_and_a_default() -> None:
    for name, field in RenderSettings.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert not field.is_required(), name
