"""Four scenes that people upload: a talking head, a walk with cuts, a fast pan, and a screen."""

from collections.abc import Callable, Iterator
from math import cos, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.pictures import Size, Still, ellipse, photograph, plain

FONT = Path(__file__).parents[1] / "novai_web/engines/ffmpeg/fonts/RobotoMono-Bold.ttf"
SHAKE_FRAMES = 25  # a hand moves this slowly
FULL_WIDTH = 1080  # the scenes are described for this width, and scale with it
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "reads",
    "twelve",
    "long",
    "emails",
    "about",
    "jumping",
    "over",
    "every",
    "lazy",
    "dog",
    "in",
    "town",
]

Scene = Callable[[Size, int], Iterator[Still]]


def frames(number: int, size: Size, count: int) -> Iterator[bytes]:
    """Scene `number`, frame by frame, as raw yuv420p with the grain of a sensor."""
    scene, grain = SCENES[number % len(SCENES)]
    noise = _noise(size, grain, seed=number)
    random = np.random.default_rng(1000 + number)
    for still in scene(size, count):
        field = noise[int(random.integers(len(noise)))]
        y, x = random.integers(0, 64, 2)
        luma = np.asarray(still.luma, np.int16) + field[y : y + size[1], x : x + size[0]]
        yield np.clip(luma, 0, 255).astype(np.uint8).tobytes() + still.blue.tobytes() + still.red.tobytes()


def talking_head(size: Size, count: int) -> Iterator[Still]:
    """A still camera, a soft background, somebody who sways."""
    unit = size[0] / FULL_WIDTH
    behind = photograph(1, _of(size, 1.2, 1.1)).blurred(5 * unit)
    person, head = photograph(2, _of(size, 1.1, 0.9)), _of(size, 0.85, 0.62)
    mask = ellipse(head, 6 * unit)
    hand = _shake(count, 5 * unit, seed=1)
    for n in range(count):
        frame = behind.view(size, _middle(behind, *hand[n]))
        sway = 25 * sin(n / 23) * unit + 2 * hand[n, 0], 12 * sin(n / 11) * unit + hand[n, 1]
        turned = person.view(head, _middle(person, *sway), 0.95, 1.5 * sin(n / 31))
        frame.paste(turned, mask, _even(size[0] * 0.08, size[1] * 0.2))
        yield frame


def walk(size: Size, count: int) -> Iterator[Still]:
    """Held in the hand, walking on, cut every four seconds, in changing light."""
    unit = size[0] / FULL_WIDTH
    places = [photograph(seed, _of(size, 1.8, 1.4), detail=0.7) for seed in (3, 4, 5)]
    hand = _shake(count, 14 * unit, seed=2)
    for n in range(count):
        cut, since = divmod(n, 117)
        place = places[cut % len(places)]
        at = _middle(place, (1.8 * since - 100) * unit + hand[n, 0], hand[n, 1])
        frame = place.view(size, at, 0.95 + 0.003 * since, 0.05 * hand[n, 0] / unit)
        light = 1 + 0.05 * sin(n / 40)
        yield Still(frame.luma.point([min(235, round(value * light)) for value in range(256)]), frame.blue, frame.red)


def pan(size: Size, count: int) -> Iterator[Still]:
    """The camera swings and turns; two things fly about."""
    unit = size[0] / FULL_WIDTH
    places = [photograph(seed, _of(size, 2.5, 1.9), detail=0.6) for seed in (6, 7)]
    things = [photograph(8, _of(size, 0.8, 0.5)), photograph(9, _of(size, 0.7, 0.4))]
    shapes = [ellipse(_of(size, 0.55, 0.4), 5 * unit), ellipse(_of(size, 0.45, 0.3), 5 * unit)]
    hand = _shake(count, 20 * unit, seed=3)
    for n in range(count):
        place = places[n // 225 % len(places)]
        at = _middle(place, 400 * sin(n / 41) * unit + hand[n, 0], 330 * cos(n / 57) * unit + hand[n, 1])
        frame = place.view(size, at, 1.05 + 0.15 * sin(n / 29), 6 * sin(n / 61))
        for thing, shape, speed, phase in zip(things, shapes, (17, 13), (0, 2), strict=True):
            turned = thing.view(shape.size, _middle(thing, 0, 0), 0.9, 20 * sin(n / 19))
            x = size[0] * (0.25 + 0.25 * sin(n / speed + phase))
            y = size[1] * (0.35 + 0.3 * cos(n / speed / 1.3 + phase))
            frame.paste(turned, shape, _even(x, y))
        yield frame


def screen(size: Size, count: int) -> Iterator[Still]:
    """Sharp letters that scroll, discs that bounce, a counter, over a picture that hardly moves."""
    unit = size[0] / FULL_WIDTH
    behind = photograph(10, _of(size, 1.7, 1.3), detail=0.6)
    window = _of(size, 0.8, 0.36)
    page, opaque = _page((window[0], window[1] * 3), round(44 * unit)), Image.new("L", window, 255)
    font = ImageFont.truetype(str(FONT), max(8, round(90 * unit)))
    for n in range(count):
        frame = behind.view(size, _middle(behind, (0.8 * n - 300) * unit, 0), 1 + 0.0004 * n, 0.015 * n)
        scrolled = page.view(window, (window[0] / 2, window[1] / 2 + n * 3 * unit % window[1]))
        frame.paste(scrolled, opaque, _even(size[0] * 0.1, size[1] * 0.4))
        for disc in range(14):
            at = size[0] * (0.5 + 0.44 * sin(n / (15 + disc) + disc)), size[1] * (0.5 + 0.44 * cos(n / (19 + 2 * disc)))
            _disc(frame, at, (30 + 4 * disc) * unit, disc)
        ImageDraw.Draw(frame.luma).text((120 * unit, 180 * unit), f"SCORE {n * 13:06d}", 235, font)
        yield frame


SCENES: tuple[tuple[Scene, float], ...] = ((talking_head, 2.3), (walk, 2.2), (pan, 1.8), (screen, 0.7))


def _disc(frame: Still, at: tuple[float, float], radius: float, number: int) -> None:
    for half, plane in enumerate(frame.planes):
        x, y, r = (value / 2 if half else value for value in (*at, radius))
        ImageDraw.Draw(plane).ellipse((x - r, y - r, x + r, y + r), fill=40 + (37 + 54 * half) * number % 180)


def _page(size: Size, letter: int) -> Still:
    page = plain(size, (235, 128, 128))
    draw, font = ImageDraw.Draw(page.luma), ImageFont.truetype(str(FONT), max(6, letter))
    random = np.random.default_rng(11)
    for y in range(letter, size[1], round(letter * 1.5)):
        draw.text((letter, y), " ".join(random.choice(WORDS, 7)), 30, font)
    return page


def _of(size: Size, wide: float, high: float) -> Size:
    return _even(size[0] * wide, size[1] * high)


def _even(x: float, y: float) -> tuple[int, int]:
    return round(x) & ~1, round(y) & ~1


def _middle(still: Still, x: float, y: float) -> tuple[float, float]:
    return still.size[0] / 2 + x, still.size[1] / 2 + y


def _shake(count: int, pixels: float, seed: int) -> NDArray[np.float64]:
    """How far a hand moves a camera, for each frame, in both directions."""
    steps = np.random.default_rng(seed).standard_normal((count + 2 * SHAKE_FRAMES, 2))
    kernel = np.hanning(SHAKE_FRAMES) / np.hanning(SHAKE_FRAMES).sum()
    smooth = [np.convolve(steps[:, axis], kernel, "same")[SHAKE_FRAMES:-SHAKE_FRAMES] for axis in (0, 1)]
    return 3 * pixels * np.stack(smooth, 1)


def _noise(size: Size, strength: float, seed: int) -> list[NDArray[np.int16]]:
    """A few fields that are larger than a frame, so that a random cut of one is new each time."""
    random = np.random.default_rng(seed)
    shape = size[1] + 64, size[0] + 64
    return [np.round(strength * random.standard_normal(shape, np.float32)).astype(np.int16) for _ in range(6)]
