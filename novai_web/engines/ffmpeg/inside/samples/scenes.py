"""Four upright scenes that nobody filmed: a sea at dusk, a city at night, lights out of focus, folds of silk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from novai_web.engines.ffmpeg.inside.samples import city, tunes

Frame = NDArray[np.uint8]  # height × width × 3
Light = NDArray[np.float32]  # height × width × 3, 0 to 255
Size = tuple[int, int]

DEPTHS = [float(depth) for depth in np.linspace(0, 1, 7)]  # of the rows of swell, from far to near
GRAIN = 1.3  # of 255: a gradient without any shows its steps


@dataclass(frozen=True)
class Scene:
    """What is seen, for how long, and what is heard meanwhile."""

    frames: Callable[[Size, int], Iterator[Frame]]
    sound: Callable[[float], tunes.Samples]
    seconds: float


def waves(size: Size, count: int) -> Iterator[Frame]:
    """A low sun over seven rows of swell."""
    wide, high = size[0] // 2, size[1] // 2
    x, y = _plane(wide, high)
    grain = _Grain(wide, high)
    sun = 0.5 * wide, 0.45 * high
    far = np.hypot(x - sun[0], y - sun[1]) / wide
    sky = _gradient(y / high, (0, 0.25, 0.42, 0.5), ("#16153a", "#5b2a6b", "#e0656a", "#ffb36b"))
    sky += np.exp(-far * 7)[..., None] * _colour("#ffdf9e") * 0.55
    sky += (_soft(0.105 - far, 0.004) * 0.9)[..., None] * (_colour("#fff3d6") - sky)
    for n in range(count):
        frame = sky.copy()
        crests = [_crest(x[0] / wide, depth, number, n / 30) * high for number, depth in enumerate(DEPTHS)]
        for number, depth in enumerate(DEPTHS):
            # What the next row covers anyway is not drawn.
            end = int(crests[number + 1].max()) + 3 if number + 1 < len(DEPTHS) else high
            part = slice(max(0, int(crests[number].min()) - 3), min(high, end))
            _roll(frame[part], y[part] - crests[number], (x[part] - sun[0]) / wide, depth, n / 30 * 3 + number)
        yield grain.over(frame)


def _crest(across: Any, depth: float, number: int, t: float) -> Any:
    """How far down a row of swell begins, as a share of the height."""
    u = across * (9 - 5.5 * depth)
    bent = np.sin(u + t * (0.5 + 0.5 * depth) + number * 1.9) + 0.5 * np.sin(2.3 * u - t * 0.8)
    return (0.5 + 0.44 * depth**1.5 + (0.004 + 0.02 * depth) * bent).astype(np.float32)


def _roll(frame: Light, under: Any, aside: Any, depth: float, phase: float) -> None:
    """One row of swell, darker the nearer, and the sun in it."""
    glint = np.exp(-np.abs(under) / (1.5 + 5 * depth) - (aside / (0.09 + 0.2 * depth)) ** 2)
    glint *= 0.75 + 0.25 * np.sin(aside * 60 + phase)
    water = _mix("#d2596b", "#0d2b45", min(1.0, 0.18 + depth))
    lit = water * (1 - 0.35 * np.clip(under / (0.19 * aside.shape[1]), 0, 1))[..., None]
    lit += glint[..., None] * (_colour("#ffc98a") * (0.75 - 0.35 * depth))
    frame += _soft(under, 0.8)[..., None] * (lit - frame)


def lights(size: Size, count: int) -> Iterator[Frame]:
    """A street at night that nobody focused on."""
    wide, high = size[0] // 2, size[1] // 2
    _, y = _plane(wide, high)
    grain, random = _Grain(wide, high), np.random.default_rng(5)
    ground = _gradient(y / high, (0, 0.55, 1), ("#0b1026", "#231339", "#3a1433"))
    tints = [_colour(each) for each in ("#ffb454", "#ff7a59", "#ffd98a", "#6fd3e8", "#f28bb5", "#fff0cf")]
    discs = [
        (random.uniform(0.04, 0.15) * wide, random.random(), random.random(), random.uniform(0.012, 0.045),
         random.uniform(0.2, 0.62), tints[int(random.integers(len(tints)))], random.uniform(0, 6.28))
        for _ in range(34)
    ]  # fmt: skip
    shapes = [_disc(radius) for radius, *_ in discs]
    for n in range(count):
        t = n / 30
        frame = ground.copy()
        for shape, (_, across, up, speed, strength, tint, phase) in zip(shapes, discs, strict=True):
            side = shape.shape[0]
            left = round((across + 0.03 * np.sin(t * 0.5 + phase)) * wide - side / 2)
            top = round(((up - speed * t) % 1.3 - 0.15) * high - side / 2)
            _add(frame, shape * (strength * (0.8 + 0.2 * np.sin(t * 1.1 + phase))), left, top, tint)
        yield grain.over(frame)


def silk(size: Size, count: int) -> Iterator[Frame]:
    """Folds of cloth in a slow wind, turning from teal to violet to peach."""
    wide, high = size[0] // 2, size[1] // 2
    x, y = _plane(wide, high)
    u, v = x / wide, y / wide
    grain = _Grain(wide, high)
    stops = np.array([_colour(each) for each in ("#0f3d4c", "#2a7f86", "#6a5acd", "#b86fc6", "#ffb199", "#ffe3c2")])
    for n in range(count):
        t = n / 30
        bent = u + 0.24 * np.sin(1.6 * v + 0.5 * t) + 0.09 * np.sin(4.3 * u - 1.9 * v - 0.4 * t)
        fold = np.sin(11 * bent + 4.2 * v + 1.3 * np.sin(1.7 * v - 0.35 * t) + 0.4 * t)
        fine = np.sin(31 * bent + 9 * v - 0.6 * t)
        hue = np.clip(0.5 + 0.34 * np.sin(1.1 * v + 0.8 * u - 0.22 * t) + 0.1 * fold, 0, 1) * (len(stops) - 1)
        low = np.minimum(hue.astype(np.int32), len(stops) - 2)
        part = (hue - low)[..., None].astype(np.float32)
        shade = (0.68 + 0.2 * fold + 0.035 * fine + 0.16 * np.clip(fold, 0, 1) ** 5)[..., None].astype(np.float32)
        yield grain.over((stops[low] * (1 - part) + stops[low + 1] * part) * shade)


class _Grain:
    """Noise in which the steps of a gradient drown; a few fields, taken in turn."""

    def __init__(self, wide: int, high: int) -> None:
        random = np.random.default_rng(1)
        self._fields = [
            (GRAIN * random.standard_normal((high, wide, 1), np.float32)).astype(np.float32) for _ in range(4)
        ]
        self._next = 0

    def over(self, frame: Light) -> Frame:
        self._next = (self._next + 1) % len(self._fields)
        return np.asarray(np.clip(frame + self._fields[self._next], 0, 255), np.uint8)


def _plane(wide: int, high: int) -> tuple[Any, Any]:
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    return x, y


def _colour(code: str) -> Light:
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float32)


def _mix(one: str, other: str, share: float) -> Light:
    return (_colour(one) * (1 - share) + _colour(other) * share).astype(np.float32)


def _gradient(at: NDArray[np.float32], places: tuple[float, ...], codes: tuple[str, ...]) -> Light:
    colours = np.array([_colour(code) for code in codes])
    return np.stack([np.interp(at, places, colours[:, part]) for part in range(3)], -1).astype(np.float32)


def _soft(inside: Any, edge: float) -> Any:
    """1 inside, 0 outside, and something between within `edge`."""
    return np.clip(inside / edge + 0.5, 0, 1)


def _disc(radius: float) -> NDArray[np.float32]:
    """Brighter towards its rim, as a lens draws it."""
    side = int(radius * 2) + 6
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - side / 2 + 0.5
    far = np.hypot(x, y)
    return np.asarray(_soft(radius - far, 2.5) * (0.55 + 0.45 * (far / radius) ** 4), np.float32)


def _add(frame: Light, shape: NDArray[np.float32], left: int, top: int, tint: Light) -> None:
    """Light upon light, where it falls into the frame."""
    high, wide = frame.shape[:2]
    y0, y1, x0, x1 = max(0, top), min(high, top + shape.shape[0]), max(0, left), min(wide, left + shape.shape[1])
    if y0 < y1 and x0 < x1:
        frame[y0:y1, x0:x1] += shape[y0 - top : y1 - top, x0 - left : x1 - left, None] * tint


SCENES = {
    "waves": Scene(waves, tunes.sea, 7),
    "city": Scene(city.frames, tunes.hum, 7),
    "lights": Scene(lights, tunes.hum, 6),
    "silk": Scene(silk, tunes.air, 6),
}
