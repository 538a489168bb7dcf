"""Reading still pictures with Pillow, size first."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps

from novai_web.engines.ffmpeg.media import Limits, Media
from novai_web.engines.ffmpeg.sniff import Format
from novai_web.errors import UnusableMedia

FORMATS = ("JPEG", "PNG", "WEBP")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112

Image.MAX_IMAGE_PIXELS = None  # our own limit is asked before anything is decoded, and says what to do


def examine(path: Path, found: Format, limits: Limits) -> Media:
    with open_picture(path, limits) as picture:
        width, height = picture.size
        if picture.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        picture.load()
        extension = ".jpg" if found.name == "jpeg" else f".{found.name}"
        return Media(
            kind="image",
            container=found.name,
            mime=f"image/{found.name}",
            extension=extension,
            width=width,
            height=height,
            codec=found.name,
        )


@contextmanager
def open_picture(path: Path, limits: Limits) -> Iterator[Image.Image]:
    """Raises UnusableMedia for what is no picture, too large, damaged or cut short, also while it is read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > limits.image_pixels_max:
                raise UnusableMedia(
                    f"This picture has {width} × {height} pixels; the most accepted is "
                    f"{limits.image_pixels_max / 1_000_000:g} million. Make it smaller and try again."
                )
            yield picture
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow raises all of these for damaged files
        raise UnusableMedia("This picture is damaged or incomplete. Export or upload it again.") from error


def upright(path: Path, limits: Limits, long_side: int) -> Image.Image:
    """A copy that fits `long_side`, turned as its EXIF data says, on white where it is transparent."""
    with open_picture(path, limits) as picture:
        picture.draft("RGB", (long_side * 2, long_side * 2))
        picture = ImageOps.exif_transpose(picture)
        picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS, reducing_gap=2)
        if picture.mode not in ("RGB", "RGBA", "LA", "PA", "P"):
            return picture.convert("RGB")
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture.convert("RGBA"))
        return ground.convert("RGB")
