"""The naive way: everything decoded, drawn on and encoded for this one picture alone."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from novai_web.engines.ffmpeg.inside.canvas import Canvas
from novai_web.engines.ffmpeg.inside.looking import Joint
from novai_web.engines.ffmpeg.inside.normalised import Normalised
from novai_web.engines.ffmpeg.inside.segments import Part
from novai_web.engines.ffmpeg.inside.takes import Finished
from novai_web.engines.ffmpeg.inside.x264 import Encoder
from novai_web.engines.ffmpeg.planning import Picture


def encode(
    material: Normalised, picture: Picture, path: Path, threads: int, on_frame: Callable[[], None]
) -> Finished | None:
    drawing = material.drawing(picture.hook) if picture.hook else None
    canvas = Canvas(drawing) if drawing is not None else None
    encoder: Encoder | None = None
    has_window = False
    for part, frame in material.frames(window_only=False):
        encoder = encoder or material.encoder(Part.BEFORE, path, threads=threads, statistics=None)
        has_window = has_window or part is Part.WINDOW
        encoder.push(canvas.draw(frame) if canvas is not None and part is Part.WINDOW else frame)
        on_frame()
    if picture.hook and not has_window:
        return None
    segment = encoder.finish() if encoder is not None else None
    window = material.window_seconds if picture.hook else ()
    joints = {Fraction(0), material.duration, *(moment for moment in window if moment < material.duration)}
    track = material.track(None, None, segment)
    return Finished(picture, track, material.frame_count, material.duration, tuple(map(Joint, sorted(joints))))
