"""How hooks are set and drawn: any script, never cut, alike at every resolution."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from novai_web.engines.ffmpeg import HookStyle
from novai_web.engines.ffmpeg.inside import bidi, fonts, shaping, text
from novai_web.engines.ffmpeg.inside.drawing import Picture
from novai_web.engines.ffmpeg.style import TEXT_LENGTH_MAX
from novai_web.errors import UnusableMedia

SIZE = (540, 960)
PLAIN = HookStyle(hook_outline_width=0)
SCRIPTS = {
    "Latin": "Wait for it",
    "Cyrillic": "Подождите конца",
    "Greek": "Περίμενε μέχρι το τέλος",
    "Arabic": "انتظر حتى النهاية",
    "Hebrew": "חכו לסוף",
    "Devanagari": "अंत तक रुकिए",
    "Japanese": "最後まで見てください",
    "Chinese": "看到最后你会惊讶",
    "Korean": "끝까지 보세요",
    "Thai": "ดูให้จบ",
    "Vietnamese": "Hãy xem đến cuối",
    "Tamil": "இறுதிவரை பாருங்கள்",
}


def draw(words: str, style: HookStyle = PLAIN, size: tuple[int, int] = SIZE) -> Picture:
    picture = text.picture_of(words, style, *size)
    assert picture is not None
    return picture


def glyphs(words: str) -> list[tuple[str, int]]:
    line = shaping.shape(words, "Inter", bidi.base_level(words), shaping.language_of(words))
    return [(glyph.font.name, glyph.number) for glyph in line.glyphs]


def test_all_bundled_fonts_are_there() -> None:
    assert fonts.missing() == []


@pytest.mark.parametrize("words", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("family", fonts.FAMILIES)
def test_every_script_has_letters_in_every_family(words: str, family: str) -> None:
    line = shaping.shape(words, family, bidi.base_level(words), shaping.language_of(words))
    assert all(glyph.number != 0 for glyph in line.glyphs)


def test_arabic_letters_join() -> None:
    assert glyphs("بب") != glyphs("ب") * 2


def test_devanagari_conjuncts_form() -> None:
    assert len(glyphs("क्ष")) < 3


@pytest.mark.parametrize("emoji", ["👩‍👩‍👧‍👦", "🇫🇷", "👍🏽", "1️⃣", "❤️", "☀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "😀"])
def test_an_emoji_of_many_characters_is_one_picture(emoji: str) -> None:
    assert [name for name, _ in glyphs(emoji)] == [fonts.EMOJI]


def test_emoji_are_drawn_in_colour() -> None:
    pixels = np.asarray(draw("🔥").image)
    solid = pixels[pixels[..., 3] > 200][:, :3].astype(int)
    assert (solid.max(axis=1) - solid.min(axis=1)).max() > 100


def test_the_words_of_an_arabic_sentence_run_from_right_to_left() -> None:
    """The exclamation mark ends the sentence, so it stands at its left."""
    line = shaping.shape("مرحبا!", "Inter", 1, "zh-Hans")
    mark = shaping.shape("!", "Inter", 1, "zh-Hans").glyphs[0].number
    assert [glyph.x for glyph in line.glyphs if glyph.number == mark] == [min(glyph.x for glyph in line.glyphs)]


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        ("abc אבג def", [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0]),
        ("אבג 123 (abc)", [1, 1, 1, 1, 2, 2, 2, 1, 1, 2, 2, 2, 1]),
        ("דעم 12,5%", [1, 1, 1, 1, 2, 2, 2, 2, 1]),
    ],
)
def test_levels_follow_the_unicode_bidirectional_algorithm(words: str, levels: list[int]) -> None:
    assert bidi.levels(words, bidi.base_level(words)) == levels


def test_runs_are_seen_in_the_order_of_their_levels() -> None:
    assert bidi.visual_order([0, 1, 2, 1, 0]) == [0, 3, 2, 1, 4]


@settings(max_examples=40, deadline=None)
@given(
    st.text(
        st.sampled_from("ab W\u0627\u0628\u05d0\u0905\u094d\u0937日本のテ한글 😀👩\u200d👧\n.,!()12%"),
        min_size=1,
        max_size=150,
    ),
    st.sampled_from(HookStyle.model_fields["hook_position"].annotation.__args__),  # type: ignore[union-attr]
    st.sampled_from([(108, 192), (192, 108), (128, 128)]),
    st.floats(2, 25),
    st.booleans(),
)
def test_no_text_is_ever_cut(words: str, position: str, size: tuple[int, int], share: float, box: bool) -> None:
    style = HookStyle(hook_position=position, hook_size=share, hook_box=box)  # type: ignore[arg-type]
    picture = text.picture_of(words, style, *size)
    if picture is None:
        assert not any(shaping.paragraphs(words))
        return
    assert picture.x > 0
    assert picture.y > 0
    assert picture.x + picture.image.width < size[0]
    assert picture.y + picture.image.height < size[1]


def test_a_hook_looks_alike_at_every_resolution() -> None:
    words = "Nobody talks about this, but they should"
    small, large = draw(words, HookStyle(), (540, 960)), draw(words, HookStyle(), (1080, 1920))
    assert abs(large.image.width - 2 * small.image.width) <= 6
    assert abs(large.image.height - 2 * small.image.height) <= 6
    shrunk = np.asarray(large.image.resize(small.image.size, Image.Resampling.BOX).convert("RGBA"), int)
    assert np.abs(shrunk - np.asarray(small.image, int)).mean() < 12


def test_a_line_break_of_the_author_is_kept() -> None:
    assert draw("one\ntwo").image.height > draw("one two").image.height * 1.6


def test_a_long_text_is_drawn_smaller_rather_than_in_more_lines_than_asked_for() -> None:
    words = "a text of quite a few words that goes on for a while"
    assert draw(words, HookStyle(hook_max_lines=1)).image.height < draw(words, HookStyle(hook_max_lines=4)).image.height


def test_a_word_longer_than_the_frame_is_broken_between_characters() -> None:
    picture = draw("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2)
    assert picture.image.width < SIZE[0] * 0.9


@pytest.mark.parametrize(
    ("position", "across", "down"),
    [("top-left", 0, 0), ("top", 1, 0), ("right", 2, 1), ("center", 1, 1), ("bottom-right", 2, 2), ("bottom", 1, 2)],
)
def test_nine_places_inside_the_safe_zone(position: str, across: int, down: int) -> None:
    picture = draw("Hi", HookStyle(hook_position=position, hook_outline_width=0))  # type: ignore[arg-type]
    zone = text.safe_zone(*SIZE)
    x, y = picture.x + picture.image.width / 2, picture.y + picture.image.height / 2
    assert zone.left <= picture.x
    assert picture.x + picture.image.width <= zone.right + 1
    assert [x < SIZE[0] * 0.4, SIZE[0] * 0.4 <= x <= SIZE[0] * 0.6, x > SIZE[0] * 0.6][across]
    assert [y < SIZE[1] * 0.3, SIZE[1] * 0.3 <= y <= SIZE[1] * 0.6, y > SIZE[1] * 0.6][down]


def test_colours_outline_and_box_are_as_chosen() -> None:
    style = HookStyle(
        hook_color="#ff0000",
        hook_outline_color="#00ff00",
        hook_box=True,
        hook_box_color="#0000ff",
        hook_box_opacity=0.5,
    )
    pixels = np.asarray(draw("Hook", style).image)
    found = {tuple(int(value) for value in pixel) for pixel in pixels.reshape(-1, 4)}
    assert {(255, 0, 0, 255), (0, 255, 0, 255)} <= found
    assert any(pixel[:3] == (0, 0, 255) and 126 <= pixel[3] <= 128 for pixel in found)


def test_text_that_is_filter_code_is_only_text() -> None:
    words = "drawtext=text='%{pts}':x=0,[in]split;movie=/etc/passwd{\\an8}<b>"
    assert draw(words).image.width > 50


@pytest.mark.parametrize("words", ["", "  \n ", "\u202e\u200f", "\x00\x01"])
def test_nothing_to_show_is_no_picture(words: str) -> None:
    assert text.picture_of(words, PLAIN, *SIZE) is None


def test_a_text_beyond_the_limit_is_refused_in_plain_words() -> None:
    with pytest.raises(UnusableMedia, match="Shorten it"):
        text.picture_of("a" * (TEXT_LENGTH_MAX + 1), PLAIN, *SIZE)


def test_the_longest_text_fits() -> None:
    assert draw("word " * (TEXT_LENGTH_MAX // 5)).image.height < SIZE[1]


def test_hooks_drawn_in_several_threads_are_those_drawn_in_one() -> None:
    hooks = [f"Wait for number {n}, {'x' * (n % 7)} 😱 مرحبا" for n in range(48)]

    def drawn(hook: str) -> bytes:
        picture = text.picture_of(hook, HookStyle(), 360, 640)
        assert picture is not None
        return picture.image.tobytes()

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(drawn, hooks))
    assert together == [drawn(hook) for hook in hooks]
