"""Listening to a finished sound before it counts."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from novai_web.engines.ffmpeg.inside.failing import CheckFailed
from novai_web.engines.ffmpeg.inside.opening import audio_stream, open_media
from novai_web.engines.ffmpeg.media import Limits

INAUDIBLE = 10 ** (-70 / 20)  # far below what was found audible before it was encoded
TOLERANCE_SECONDS = Fraction(1, 10)


@dataclass(frozen=True)
class Heard:
    """What a decoder gave."""

    peak_dbfs: float
    seconds: Fraction


def hear(path: Path, limits: Limits, seconds: Fraction, audible: bool, alive: Callable[[], None]) -> Heard:
    """Decode all of it. Raises CheckFailed when it has another length, or is silent though it should be audible."""
    peak, samples, rate = 0.0, 0, 1
    with open_media(path, limits) as container:
        stream = audio_stream(container)
        if stream is None:
            raise CheckFailed("its sound is missing")
        for frame in container.decode(stream):
            alive()
            peak = max(peak, float(np.abs(frame.to_ndarray()).max(initial=0)))
            samples, rate = samples + frame.samples, frame.sample_rate
    if abs(Fraction(samples, rate) - seconds) > TOLERANCE_SECONDS:
        raise CheckFailed(f"its sound lasts {samples / rate:.2f} s instead of {float(seconds):.2f} s")
    if audible and peak < INAUDIBLE:
        raise CheckFailed("its sound is silent")
    return Heard(float(20 * np.log10(max(peak, 1e-9))), Fraction(samples, rate))
