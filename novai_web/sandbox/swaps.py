"""What the sandbox swaps: real, playable videos with another face where one seems to be, and plainly the sandbox's.

The same video and the same face make the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from novai_web.sandbox.pictures import MARK, Unreadable, font, opened

PACKETS_MAX = 400_000
HEAD_HEIGHT, HEAD_TOP = 0.42, 0.08  # where a head is if none is seen: shares of the shorter side, and of the height
ACROSS = (0.5, 0.25, 0.75, 0.1, 0.9)  # and of the width, for each of several
HEADS = (0.2, 0.3, 0.42, 0.56)  # how tall heads are that are looked for, as shares of the shorter side
LOOK_SIDE = 90  # points on the shorter side of what is looked at
SKIN = ((100, 127), (133, 168), 50)  # of both colours in YCbCr, and the least brightness
SKIN_SHARE_MAX = 0.6  # a wall may have the colour of skin too
SKIN_SHARE_MIN = 0.6  # of where a head is
COVERING = 1.35  # how much taller the face is than the skin that was seen, so that it covers the head
FOLLOWING = 0.4  # how fast the face follows a head: the share of the way that it goes in one frame
X264 = {"preset": "ultrafast", "crf": "24", "threads": "1"}

Planes = list[Any]  # brightness and the two colours of a picture, the colours with half the side lengths


def swapped(video: Path, face: Path, to: Path | None = None, *, which: int = 0) -> Path:
    """The video with this face over a head in it, 0 for the one that is seen best, and with its own sound.

    Written to `to` whole or not at all; without `to`, beside the video. Raises pictures.Unreadable.
    """
    target = to or video.with_name(f"{video.stem}-swapped-{which}.mp4")
    arriving = target.with_name(f"{target.name}.arriving")
    stamp = _Stamp(opened(face), which)
    try:
        shape = _shape(video)
        with av.open(str(video)) as given, av.open(str(arriving), "w", format="mp4") as made:
            _copy(given, made, stamp, shape)
        arriving.replace(target)
    except (av.FFmpegError, ValueError, IndexError) as problem:
        raise Unreadable("no video") from problem
    finally:
        arriving.unlink(missing_ok=True)
    return target


@dataclass
class _Tile:
    """Something to lay over a picture: its colours, and how much they cover, from 0 to 255."""

    paints: Planes
    covers: Planes

    @classmethod
    def of(cls, layer: Image.Image) -> "_Tile":
        """`layer` has even sides and says in its alpha channel what it covers."""
        width, height = layer.size
        colours = av.VideoFrame.from_ndarray(np.asarray(layer.convert("RGB")), format="rgb24")
        paints = _split(colours.reformat(format="yuv420p").to_ndarray(), width, height)
        alpha = layer.getchannel("A")
        half = alpha.resize((width // 2, height // 2), Image.Resampling.BOX)
        covers = [np.asarray(each, dtype=np.uint16) for each in (alpha, half, half)]
        return cls([paint.astype(np.uint16) for paint in paints], covers)

    def lay(self, planes: Planes, left: int, top: int) -> None:
        """Over a picture, at an even place at which it lies within it."""
        for number, (plane, paint, cover) in enumerate(zip(planes, self.paints, self.covers, strict=True)):
            at = (left, top) if number == 0 else (left // 2, top // 2)
            under = plane[at[1] : at[1] + paint.shape[0], at[0] : at[0] + paint.shape[1]]
            under[:] = ((under * (255 - cover) + paint * cover + 127) // 255).astype(np.uint8)


class _Stamp:
    """A face that follows a head, and the mark."""

    def __init__(self, face: Image.Image, which: int) -> None:
        self._face, self._which = face, which
        self._tile: _Tile | None = None
        self._mark: tuple[tuple[int, int], _Tile, int] | None = None
        self._head: tuple[float, float, int] | None = None  # its middle, and how tall it is

    def over(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame, upright and of even size, with the face in it."""
        width, height = frame.width // 2 * 2, frame.height // 2 * 2
        even = frame.reformat(width=width, height=height, format="yuv420p")
        planes = [each.copy() for each in _split(even.to_ndarray(), width, height)]
        if turns := round(frame.rotation / 90) % 4:
            planes = [np.ascontiguousarray(np.rot90(each, turns)) for each in planes]
        self._lay_face(planes)
        self._lay_mark(planes)
        whole = np.concatenate([each.reshape(-1) for each in planes]).reshape(-1, planes[0].shape[1])
        own = av.VideoFrame.from_ndarray(whole, format="yuv420p")
        own.colorspace, own.color_range = even.colorspace, even.color_range
        own.pts, own.time_base = frame.pts, frame.time_base
        return own

    def _lay_face(self, planes: Planes) -> None:
        height, width = planes[0].shape
        head = _head(planes, self._which) or self._head
        if head is None:
            tall = min(width, height) * HEAD_HEIGHT
            head = (width * ACROSS[self._which % len(ACROSS)], height * HEAD_TOP + tall / 2, int(tall))
        if before := self._head:
            x, y = (was + (now - was) * FOLLOWING for was, now in zip(before[:2], head[:2], strict=True))
            head = (x, y, before[2])  # the size stays, else it would tremble
        self._head = head
        if self._tile is None:
            self._tile = _face_tile(self._face, max(8, min(head[2], height, width * 5 // 4) // 2 * 2))
        rows, columns = self._tile.covers[0].shape
        if columns <= width and rows <= height:
            left = min(max(0, int(head[0]) - columns // 2), width - columns) // 2 * 2
            self._tile.lay(planes, left, min(max(0, int(head[1]) - rows // 2), height - rows) // 2 * 2)

    def _lay_mark(self, planes: Planes) -> None:
        size = (planes[0].shape[1], planes[0].shape[0])
        if self._mark is None or self._mark[0] != size:
            bar = _bar(*size)
            self._mark = (size, _Tile.of(bar), size[1] - bar.height)
        self._mark[1].lay(planes, 0, self._mark[2])


def _split(stored: Any, width: int, height: int) -> Planes:
    """The planes of a yuv420p frame, as they lie one after another."""
    flat, whole = stored.reshape(-1), width * height
    halves = [flat[whole + at * whole // 4 : whole + (at + 1) * whole // 4].reshape(height // 2, -1) for at in (0, 1)]
    return [flat[:whole].reshape(height, width), *halves]


def _head(planes: Planes, which: int) -> tuple[float, float, int] | None:
    """The middle and the height of what looks most like a head: much skin, and little of it around."""
    height, width = planes[1].shape
    step = max(1, min(height, width) // LOOK_SIDE)
    bright, blue, red = planes[0][:: 2 * step, :: 2 * step], planes[1][::step, ::step], planes[2][::step, ::step]
    (blue_least, blue_most), (red_least, red_most), least = SKIN
    skin = (blue >= blue_least) & (blue <= blue_most) & (red >= red_least) & (red <= red_most)
    skin &= bright[: skin.shape[0], : skin.shape[1]] >= least
    if not 0 < skin.mean() < SKIN_SHARE_MAX:
        return None
    found = None
    for _ in range(which + 1):
        if (found := _densest(skin)) is None:
            return None
        left, top, across, down = found
        skin[max(0, top - down // 2) : top + 2 * down, max(0, left - across // 2) : left + across * 3 // 2] = False
    left, top, across, down = found or (0, 0, 0, 0)
    return (left + across / 2) * 2 * step, (top + down / 2) * 2 * step, int(down * 2 * step * COVERING)


def _densest(skin: Any) -> tuple[int, int, int, int] | None:
    """The left, top, width and height of the frame around a head that holds most skin for its size."""
    sums = np.pad(skin.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best, found = 0.0, None
    for share in HEADS:
        down = int(min(skin.shape) * share)
        across = down * 4 // 5
        if across < 2:
            continue
        held = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
        top, left = np.unravel_index(int(held.argmax()), held.shape)
        score = float(held[top, left]) - SKIN_SHARE_MIN * across * down
        if score > best:
            best, found = score, (int(left), int(top), across, down)
    return found


def _face_tile(face: Image.Image, tall: int) -> _Tile:
    """The face as an oval with a ring around it."""
    wide = max(6, tall * 4 // 5 // 2 * 2)
    layer, oval = Image.new("RGBA", (wide, tall)), Image.new("L", (wide, tall))
    ImageDraw.Draw(oval).ellipse((0, 0, wide - 1, tall - 1), fill=255)
    layer.paste(ImageOps.fit(_portrait(face), (wide, tall), centering=(0.5, 0.3)), (0, 0), oval)
    ring = (255, 64, 129, 255)
    ImageDraw.Draw(layer).ellipse((0, 0, wide - 1, tall - 1), outline=ring, width=max(1, tall // 40))
    return _Tile.of(layer)


def _portrait(face: Image.Image) -> Image.Image:
    """The head in a picture, or if none is seen, what is not at its edges."""
    even = face.resize((max(16, face.width // 2 * 2), max(16, face.height // 2 * 2)))
    colours = av.VideoFrame.from_ndarray(np.asarray(even), format="rgb24").reformat(format="yuv420p")
    head = _head(_split(colours.to_ndarray(), *even.size), 0)
    if head is None:
        return face.crop((face.width // 6, 0, face.width * 5 // 6, face.height * 4 // 5))
    x, y, tall = head
    left, top = max(0, int(x - tall * 0.4)), max(0, int(y - tall / 2))
    return even.crop((left, top, min(even.width, left + tall * 4 // 5), min(even.height, top + tall)))


def _bar(width: int, height: int) -> Image.Image:
    """A dark bar with the mark on it, for the lower edge."""
    size = max(8, min(width, height) // 14)
    bar = Image.new("RGBA", (width, min(height, size * 2) // 2 * 2), (18, 18, 24, 200))
    ImageDraw.Draw(bar).text((size // 2, size * 0.3), f"NOVAI {MARK}", (255, 255, 255, 255), font(size))
    return bar


def _shape(video: Path) -> tuple[int, int]:
    """Width and height of the video as it is shown, made even."""
    with av.open(str(video)) as given:
        frame = next(given.decode(video=0), None)
    if frame is None:
        raise Unreadable("no picture in it")
    width, height = frame.width // 2 * 2, frame.height // 2 * 2
    return (height, width) if round(frame.rotation / 90) % 2 else (width, height)


def _copy(given: Any, made: Any, stamp: _Stamp, shape: tuple[int, int]) -> None:
    """Every frame with the stamp, and the sound: as it is where an MP4 takes it, or else as AAC."""
    source = given.streams.video[0]
    source.thread_type = "NONE"
    sound = next(iter(given.streams.audio), None)
    copies = sound is not None and sound.codec_context.name == "aac"
    picture_out = made.add_stream("libx264", rate=source.average_rate or 30, options=X264)
    context = picture_out.codec_context
    context.width, context.height, context.pix_fmt = *shape, "yuv420p"
    context.time_base = source.time_base
    sound_out = _sound_out(made, sound, copies=copies)
    made.metadata["comment"] = f"NOVAI {MARK}"
    for number, packet in enumerate(given.demux([source, sound] if sound else [source])):
        if number > PACKETS_MAX:
            raise Unreadable("too long a video")
        if packet.stream is not source:
            _sound(packet, made, sound_out, copies=copies)
            continue
        for frame in packet.decode():
            made.mux(picture_out.encode(stamp.over(frame)))
    made.mux(picture_out.encode(None))
    if sound_out is not None and not copies:
        made.mux(sound_out.encode(None))


def _sound_out(made: Any, sound: Any, *, copies: bool) -> Any:
    if sound is None:
        return None
    return made.add_stream_from_template(sound) if copies else made.add_stream("aac", rate=sound.codec_context.rate)


def _sound(packet: Any, made: Any, stream: Any, *, copies: bool) -> None:
    if not copies:
        for frame in packet.decode():
            frame.pts = None
            made.mux(stream.encode(frame))
    elif packet.dts is not None:
        packet.stream = stream
        made.mux(packet)
