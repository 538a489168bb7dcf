"""Large still pictures with the statistics of photographs, made from noise, and views of them as a camera has."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

LEAVES = 500  # in a million pixels
LEAF_SIDES = 4  # every so many leaves one has corners

Plane = NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True)
class Still:
    """A picture as Y′CbCr 4:2:0 planes."""

    luma: Image.Image
    blue: Image.Image
    red: Image.Image

    @property
    def planes(self) -> tuple[Image.Image, Image.Image, Image.Image]:
        return self.luma, self.blue, self.red

    @property
    def size(self) -> Size:
        return self.luma.size

    def blurred(self, radius: float) -> "Still":
        luma, *chroma = self.planes
        return Still(
            luma.filter(ImageFilter.GaussianBlur(radius)),
            *(plane.filter(ImageFilter.GaussianBlur(radius / 2)) for plane in chroma),
        )

    def view(self, size: Size, centre: tuple[float, float], zoom: float = 1.0, degrees: float = 0.0) -> "Still":
        """What a camera of `size` sees that looks at `centre`, between pixels too."""
        luma, *chroma = self.planes
        small, middle = (size[0] // 2, size[1] // 2), (centre[0] / 2, centre[1] / 2)
        return Still(
            looked_at(luma, size, centre, zoom, degrees),
            *(looked_at(plane, small, middle, zoom, degrees) for plane in chroma),
        )

    def paste(self, other: "Still", mask: Image.Image, place: tuple[int, int]) -> None:
        """`other` at an even `place`, as far as `mask` lets it through."""
        small = mask.resize((mask.width // 2, mask.height // 2), Image.Resampling.BOX)
        for number, (plane, pasted) in enumerate(zip(self.planes, other.planes, strict=True)):
            where = place if number == 0 else (place[0] // 2, place[1] // 2)
            plane.paste(pasted, where, small if number else mask)


def looked_at(
    plane: Image.Image, size: Size, centre: tuple[float, float], zoom: float = 1.0, degrees: float = 0.0
) -> Image.Image:
    """One plane, turned and scaled around `centre` by bilinear sampling."""
    across, down = cos(radians(degrees)) / zoom, sin(radians(degrees)) / zoom
    left = centre[0] - across * size[0] / 2 - down * size[1] / 2
    top = centre[1] + down * size[0] / 2 - across * size[1] / 2
    matrix = (across, down, left, -down, across, top)
    return plane.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def photograph(seed: int, size: Size, detail: float = 1.0) -> Still:
    """Leaves over leaves of every size, each with its own colour, shade and texture: edges and grain at all scales.

    Such "dead leaves" have the spectrum and the occlusions of photographs
    (Lee, Mumford, Huang: Occlusion models for natural images, IJCV 2001).
    """
    random = np.random.default_rng(seed)
    count = LEAVES * size[0] * size[1] // 1_000_000
    leaves = np.asarray(_leaves(random, size, count))
    colours = random.normal((118, 128, 128), (42, 11, 11), (count + 1, 3))
    rough = random.gamma(1.2, 0.8, count + 1).astype(np.float32)
    slope = random.normal(0, 26, (2, count + 1)).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j].astype(np.float32)
    shade = slope[0][leaves] * y + slope[1][leaves] * x
    luma = colours[:, 0].astype(np.float32)[leaves] + shade + detail * rough[leaves] * _texture(random, size)
    half = leaves[::2, ::2]
    planes = [luma, colours[:, 1][half], colours[:, 2][half]]
    # A lens is never sharper than this, and sharper edges than cameras give would shimmer.
    return Still(*(_image(plane).filter(ImageFilter.GaussianBlur(0.7)) for plane in planes))


def ellipse(size: Size, softness: float) -> Image.Image:
    """A mask: white inside, black at the rim."""
    mask = Image.new("L", size)
    margin = round(3 * softness)
    ImageDraw.Draw(mask).ellipse((margin, margin, size[0] - margin, size[1] - margin), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(softness))


def plain(size: Size, colour: Sequence[int]) -> Still:
    half = size[0] // 2, size[1] // 2
    return Still(*(Image.new("L", size if n == 0 else half, value) for n, value in enumerate(colour)))


def _leaves(random: np.random.Generator, size: Size, count: int) -> Image.Image:
    """Which leaf lies on top, for every pixel. Few are large and many small: the density falls with the cube."""
    picture = Image.new("I", size)
    draw = ImageDraw.Draw(picture)
    smallest, largest = 8.0, max(size) / 5
    share = random.random(count)
    radii = (smallest**-2 - share * (smallest**-2 - largest**-2)) ** -0.5
    # The largest first: else they would hide what is small.
    for number, radius in enumerate(sorted(radii, reverse=True), start=1):
        x, y = random.uniform(0, size[0]), random.uniform(0, size[1])
        wide, high = radius * random.uniform(0.6, 1.4), radius * random.uniform(0.6, 1.4)
        if number % LEAF_SIDES == 0:
            turn = random.uniform(0, 360)
            draw.regular_polygon((x, y, radius), int(random.integers(3, 7)), turn, fill=number)
        else:
            draw.ellipse((x - wide, y - high, x + wide, y + high), fill=number)
    return picture


def _texture(random: np.random.Generator, size: Size) -> NDArray[np.float32]:
    """Noise in octaves, as cloth, bark and grass have it."""
    total = np.zeros((size[1], size[0]), np.float32)
    for step, strength in ((1, 3.0), (2, 4.0), (4, 4.0), (8, 4.0)):
        noise = random.standard_normal((size[1] // step + 2, size[0] // step + 2)).astype(np.float32)
        total += strength * np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))
    return total


def _image(plane: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(plane, 16, 235).astype(np.uint8))
