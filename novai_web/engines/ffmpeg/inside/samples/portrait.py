"""A face that is nobody's: drawn with a few soft shapes, for diagrams and face swaps to be tried on."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE, DRAWN = 1024, 1536  # drawn larger than it is kept
Point = tuple[float, float]
Colour = tuple[int, int, int]
Oval = tuple[float, float, float, float]  # its middle, half its width, half its height

SKIN, SKIN_DARK, SKIN_LIGHT = (226, 170, 138), (190, 122, 96), (246, 204, 172)
HAIR, HAIR_LIGHT, KNIT = (58, 36, 32), (112, 70, 52), (47, 93, 98)


def write(target: Path) -> Path:
    """A square PNG."""
    canvas = _ground()
    _hair_behind(canvas)
    _shoulders(canvas)
    _neck(canvas)
    _head(canvas)
    for side in (-1, 1):
        _eye(canvas, side)
    _nose(canvas)
    _mouth(canvas)
    _fringe(canvas)
    canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(target, "PNG", optimize=True)
    return target


def _ground() -> Image.Image:
    low = Image.new("RGB", (1, 2))
    low.putpixel((0, 0), (238, 214, 196))
    low.putpixel((0, 1), (196, 160, 158))
    ground = low.resize((DRAWN, DRAWN), Image.Resampling.BICUBIC)
    _soft(ground, [(0.72, 0.2, 0.42, 0.34)], (252, 238, 220), 0.12, 0.8)
    return ground


def _hair_behind(canvas: Image.Image) -> None:
    _soft(canvas, [(0.5, 0.43, 0.272, 0.315)], HAIR, 0.004)
    _shape(canvas, [(0.235, 0.42), (0.765, 0.42), (0.79, 0.72), (0.7, 0.8), (0.3, 0.8), (0.21, 0.72)], HAIR, 0.004)


def _shoulders(canvas: Image.Image) -> None:
    _soft(canvas, [(0.5, 1.08, 0.44, 0.28)], KNIT, 0.003)
    _soft(canvas, [(0.5, 0.83, 0.155, 0.075)], (38, 76, 82), 0.003)
    _soft(canvas, [(0.28, 0.98, 0.12, 0.1)], (66, 120, 124), 0.04, 0.6)


def _neck(canvas: Image.Image) -> None:
    _shape(canvas, [(0.41, 0.6), (0.59, 0.6), (0.6, 0.78), (0.5, 0.86), (0.4, 0.78)], SKIN, 0.006)
    _shape(canvas, [(0.41, 0.62), (0.59, 0.62), (0.585, 0.7), (0.5, 0.75), (0.415, 0.7)], SKIN_DARK, 0.022, 0.75)


def _head(canvas: Image.Image) -> None:
    for side in (-1, 1):
        _soft(canvas, [(0.5 + side * 0.206, 0.475, 0.032, 0.058)], SKIN_DARK, 0.004)
        _soft(canvas, [(0.5 + side * 0.208, 0.47, 0.022, 0.045)], SKIN, 0.006)
    face: list[Oval] = [(0.5, 0.425, 0.205, 0.225), (0.5, 0.53, 0.168, 0.17), (0.5, 0.6, 0.112, 0.108)]
    _soft(canvas, face, SKIN, 0.004)
    _soft(canvas, [(0.66, 0.5, 0.07, 0.2)], SKIN_DARK, 0.045, 0.45)
    _soft(canvas, [(0.44, 0.36, 0.12, 0.08), (0.42, 0.54, 0.06, 0.05)], SKIN_LIGHT, 0.05, 0.75)
    for side in (-1, 1):
        _soft(canvas, [(0.5 + side * 0.12, 0.555, 0.055, 0.036)], (226, 128, 112), 0.03, 0.5)


def _eye(canvas: Image.Image, side: int) -> None:
    x, y = 0.5 + side * 0.089, 0.468
    _soft(canvas, [(x, y, 0.058, 0.036)], SKIN_DARK, 0.016, 0.55)
    almond = [(x - 0.046, y + 0.004), (x - 0.02, y - 0.021), (x + 0.016, y - 0.022), (x + 0.046, y), (x, y + 0.021)]
    white = _mask(canvas, lambda draw, at: draw.polygon(_curved(almond, at), 255), 0.0015)
    canvas.paste((250, 246, 242), (0, 0), white)
    inner = Image.new("RGB", canvas.size)
    for radius, colour in ((0.0235, (62, 44, 30)), (0.0195, (122, 84, 50)), (0.0105, (16, 12, 12))):
        _soft(inner, [(x, y - 0.002, radius, radius)], colour, 0.0012)
    _soft(inner, [(x - 0.007, y - 0.0095, 0.0048, 0.0048)], (255, 255, 255), 0.0008)
    iris = _mask(canvas, lambda draw, at: draw.ellipse(at((x, y - 0.002), 0.0235), 255), 0.001)
    canvas.paste(inner, (0, 0), ImageChops.multiply(white, iris))
    _line(canvas, almond[:4], 0.0075, (44, 28, 26), 0.0012)
    brow = [(x - side * 0.052, y - 0.062), (x + side * 0.004, y - 0.079), (x + side * 0.06, y - 0.056)]
    _line(canvas, brow, 0.015, HAIR, 0.003)


def _nose(canvas: Image.Image) -> None:
    _soft(canvas, [(0.508, 0.525, 0.015, 0.06)], SKIN_LIGHT, 0.02, 0.6)
    _soft(canvas, [(0.536, 0.565, 0.014, 0.034)], SKIN_DARK, 0.014, 0.5)
    for side in (-1, 1):
        _soft(canvas, [(0.5 + side * 0.02, 0.592, 0.0105, 0.0052)], (136, 76, 62), 0.003, 0.85)
    _soft(canvas, [(0.5, 0.579, 0.017, 0.012)], SKIN_LIGHT, 0.012, 0.6)


def _mouth(canvas: Image.Image) -> None:
    upper = [(0.428, 0.64), (0.464, 0.636), (0.488, 0.633), (0.5, 0.637), (0.512, 0.633), (0.536, 0.636), (0.572, 0.64)]
    lower = [(0.572, 0.64), (0.545, 0.668), (0.5, 0.681), (0.455, 0.668), (0.428, 0.64)]
    _shape(canvas, upper + lower, (186, 82, 84), 0.002)
    _soft(canvas, [(0.5, 0.667, 0.034, 0.007)], (222, 132, 126), 0.006, 0.8)
    parting = [(0.426, 0.637), (0.462, 0.65), (0.5, 0.656), (0.538, 0.65), (0.574, 0.637)]
    _line(canvas, parting, 0.0045, (122, 44, 52), 0.001)
    for side in (-1, 1):
        _soft(canvas, [(0.5 + side * 0.082, 0.634, 0.01, 0.014)], SKIN_DARK, 0.007, 0.5)
    _soft(canvas, [(0.5, 0.692, 0.045, 0.008)], SKIN_DARK, 0.01, 0.45)


def _fringe(canvas: Image.Image) -> None:
    """Hair parted at one side, and the locks that frame the face."""
    cap = [(0.272, 0.5), (0.265, 0.34), (0.34, 0.2), (0.5, 0.14), (0.66, 0.19), (0.74, 0.34), (0.732, 0.52)]
    right = [(0.7, 0.44), (0.655, 0.33), (0.56, 0.262)]
    left = [(0.47, 0.245), (0.38, 0.31), (0.315, 0.4), (0.3, 0.5)]
    _shape(canvas, cap + right + left, HAIR, 0.003)
    _shape(canvas, [(0.262, 0.4), (0.312, 0.42), (0.3, 0.58), (0.285, 0.74), (0.225, 0.7), (0.232, 0.5)], HAIR, 0.004)
    _shape(canvas, [(0.738, 0.4), (0.69, 0.42), (0.702, 0.58), (0.72, 0.74), (0.776, 0.7), (0.768, 0.5)], HAIR, 0.004)
    for shift in (0.0, 0.035, 0.07):
        shine = [(0.335 + shift, 0.315 - shift), (0.41 + shift, 0.225 - shift / 2), (0.5 + shift, 0.2)]
        _line(canvas, shine, 0.01, HAIR_LIGHT, 0.008, 0.7)


def _soft(canvas: Image.Image, ovals: Sequence[Oval], colour: Colour, blur: float, opacity: float = 1) -> None:
    """Ovals of one colour, their edges blurred."""

    def fill(draw: ImageDraw.ImageDraw, at: "_At") -> None:
        for x, y, wide, high in ovals:
            draw.ellipse(at((x, y), wide, high), 255)

    canvas.paste(colour, (0, 0), _mask(canvas, fill, blur, opacity))


def _shape(canvas: Image.Image, points: list[Point], colour: Colour, blur: float, opacity: float = 1) -> None:
    fill = _mask(canvas, lambda draw, at: draw.polygon(_curved(points, at), 255), blur, opacity)
    canvas.paste(colour, (0, 0), fill)


def _line(
    canvas: Image.Image, points: list[Point], width: float, colour: Colour, blur: float, opacity: float = 1
) -> None:
    """A stroke that is thinner at its ends."""

    def stroke(draw: ImageDraw.ImageDraw, at: "_At") -> None:
        dots = _spline(points, closed=False)
        for number, dot in enumerate(dots):
            middle = 1 - abs(2 * number / (len(dots) - 1) - 1) ** 2
            draw.ellipse(at(dot, width / 2 * (0.35 + 0.65 * middle)), 255)

    canvas.paste(colour, (0, 0), _mask(canvas, stroke, blur, opacity))


class _At:
    """Shares of the canvas as its pixels."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, middle: Point, wide: float, high: float | None = None) -> tuple[float, float, float, float]:
        x, y, half, tall = (value * self.side for value in (*middle, wide, wide if high is None else high))
        return x - half, y - tall, x + half, y + tall


Fill = Callable[[ImageDraw.ImageDraw, _At], None]


def _mask(canvas: Image.Image, fill: Fill, blur: float, opacity: float = 1) -> Image.Image:
    mask = Image.new("L", canvas.size)
    fill(ImageDraw.Draw(mask), _At(canvas.width))
    mask = mask.filter(ImageFilter.GaussianBlur(blur * canvas.width))
    return mask if opacity == 1 else mask.point([round(value * opacity) for value in range(256)])


def _curved(points: list[Point], at: _At) -> list[Point]:
    return [(x * at.side, y * at.side) for x, y in _spline(points, closed=True)]


def _spline(points: list[Point], *, closed: bool, steps: int = 24) -> list[Point]:
    """Through all the points, without a corner (Catmull-Rom)."""
    count = len(points)
    found = []
    for number in range(count if closed else count - 1):
        around = [
            points[(number + step) % count] if closed else points[min(max(number + step, 0), count - 1)]
            for step in (-1, 0, 1, 2)
        ]
        found += [_between(around, step / steps) for step in range(steps)]
    return found if closed else [*found, points[-1]]


def _between(p: list[Point], t: float) -> Point:
    def axis(n: int) -> float:
        a, b, c, d = (point[n] for point in p)
        bent = (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3
        return 0.5 * (2 * b + (c - a) * t + bent)

    return axis(0), axis(1)
