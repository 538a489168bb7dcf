"""Drawing upright on frames that are stored lying, mirrored, or with pixels that are not square."""

from dataclasses import dataclass

from PIL import Image

from novai_web.engines.ffmpeg.inside.drawing import Picture
from novai_web.engines.ffmpeg.inside.upright import Turn, turn_of_matrix

# What undoes each of libav's turning filters. Pillow's ROTATE_90 is counterclockwise.
UNDO = {
    "hflip": Image.Transpose.FLIP_LEFT_RIGHT,
    "vflip": Image.Transpose.FLIP_TOP_BOTTOM,
    "transpose=clock": Image.Transpose.ROTATE_90,
    "transpose=cclock": Image.Transpose.ROTATE_270,
    "transpose=cclock_flip": Image.Transpose.TRANSPOSE,
    "transpose=clock_flip": Image.Transpose.TRANSVERSE,
}


@dataclass(frozen=True)
class Stored:
    """How a clip's frames lie in its file."""

    turn: Turn
    shown: tuple[int, int]  # upright, square pixels
    size: tuple[int, int]  # as coded

    @classmethod
    def of(cls, matrix: bytes, shown: tuple[int, int], size: tuple[int, int]) -> "Stored":
        """`matrix` is the track's, nine big-endian numbers (ISO/IEC 14496-12, 8.3.2)."""
        a, b, _, c, d = (int.from_bytes(matrix[at : at + 4], "big", signed=True) for at in range(0, 20, 4))
        return cls(turn_of_matrix(a, b, c, d), shown, size)

    def picture(self, upright: Picture) -> Picture:
        """The same, as it must be painted on a stored frame to be seen upright."""
        if not self.turn.filters and self.shown == self.size:
            return upright
        canvas = Image.new("RGBA", self.shown)
        canvas.paste(upright.image, (upright.x, upright.y))
        for turning in reversed(self.turn.filters):
            canvas = canvas.transpose(UNDO[turning])
        if canvas.size != self.size:
            canvas = canvas.resize(self.size, Image.Resampling.BICUBIC)
        seen = canvas.getbbox()
        left, top, right, bottom = seen or (0, 0, 2, 2)
        return Picture(canvas.crop((left, top, right, bottom)), left, top)
