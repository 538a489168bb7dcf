"""Two loops of music and what is heard beside the scenes, out of sines and noise; stereo, 48 kHz."""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

RATE = 48_000
BIT_RATE = 160_000
SECTION = 1024  # samples of one AAC frame
PEAK, LOUD = 0.7, 0.16  # of full scale: the loudest sample, and the power of all of them

Samples = NDArray[np.float32]  # n × 2
Mono = NDArray[np.float64]


def slow_tide() -> Samples:
    """Four bars at 72: an electric piano, a soft beat, a long room."""
    beat = 60 / 72
    loop = _Loop(16 * beat)
    chords = ((53, 57, 60, 64), (52, 55, 59, 62), (50, 53, 57, 60), (48, 52, 55, 59))
    for bar, chord in enumerate(chords):
        start = bar * 4 * beat
        loop.add(start, _bass(chord[0] - 12, 3.6 * beat), 0.5)
        for at, strength in ((0, 1.0), (1.5, 0.6), (2.5, 0.75)):
            for number, note in enumerate(chord):
                loop.add(start + (at + 0.02 * number) * beat, _piano(note, 2.6), 0.2 * strength, 0.3 * (number - 1.5))
        loop.add(start + (1 + bar % 2) * beat, _piano(chord[3] + 12, 1.8), 0.12, 0.4)
        for half in range(8):
            loop.add(start + half * beat / 2, _hat(0.05), 0.05 if half % 2 else 0.028, 0.25)
        for at in (0, 2.25):
            loop.add(start + at * beat, _kick(), 0.55)
        for at in (1, 3):
            loop.add(start + at * beat, _brush(), 0.16, -0.15)
    return _mastered(loop.in_a_room(1.9, 0.34))


def bright_steps() -> Samples:
    """Eight bars at 112: plucked steps over a walking bass."""
    beat = 60 / 112
    loop = _Loop(32 * beat)
    for bar, root in enumerate((48, 43, 45, 41, 48, 43, 41, 43)):
        third = 3 if root == 45 else 4
        steps = (0, 7, 12, 12 + third, 19, 12 + third, 12, 7)
        start = bar * 4 * beat
        for number, step in enumerate(steps):
            pan = 0.5 * (-1) ** number
            loop.add(start + number * beat / 2, _pluck(root + 12 + step), 0.3 if number % 4 else 0.38, pan)
            loop.add(start + number * beat / 2, _hat(0.03), 0.07 if number % 2 else 0.03, -0.2)
        for at, step in ((0, 0), (1.5, 0), (2, 7), (3, 12)):
            loop.add(start + at * beat, _bass(root - 12 + step, 0.8 * beat), 0.42)
        for at in range(4):
            loop.add(start + at * beat, _kick(), 0.62)
        for at in (1, 3):
            loop.add(start + at * beat, _brush(), 0.3)
        loop.add(start, _pad((root, root + third, root + 7, root + 14), 4 * beat), 0.16)
    return _mastered(loop.in_a_room(1.1, 0.22))


def sea(seconds: float) -> Samples:
    """Swell that comes and goes."""
    noise = _noise(seconds, 900, seed=2)
    t = np.arange(len(noise)) / RATE
    return _quiet(noise * (0.35 + 0.65 * np.sin(np.pi * t / 3.8)[:, None] ** 2))


def hum(seconds: float) -> Samples:
    """A city far away."""
    return _quiet(_noise(seconds, 240, seed=3) + 0.4 * _noise(seconds, 1400, seed=4) * 0.3)


def air(seconds: float) -> Samples:
    """A chord that hardly moves."""
    chord = _pad((57, 64, 69, 73), seconds)
    return _quiet(np.stack([chord, np.roll(chord, RATE // 90)], 1))


def write(samples: Samples, target: Path) -> Path:
    """An M4A of these samples."""
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as out:
        for packet in packets(track(out), samples):
            out.mux(packet)
    return target


def track(out: OutputContainer) -> AudioStream:
    stream = out.add_stream("aac", rate=RATE)
    stream.codec_context.layout = "stereo"
    stream.codec_context.bit_rate = BIT_RATE
    return stream


def packets(stream: AudioStream, samples: Samples) -> "Iterator[av.Packet[AudioStream]]":
    for start in range(0, len(samples), SECTION):
        piece = np.ascontiguousarray(samples[start : start + SECTION].T, np.float32)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = RATE, start
        yield from stream.encode(frame)
    yield from stream.encode(None)


class _Loop:
    """What rings on past the end is heard at the beginning, so that it can be played round and round."""

    def __init__(self, seconds: float) -> None:
        self.heard = np.zeros((round(seconds * RATE), 2))

    def add(self, at: float, sound: Mono, strength: float, pan: float = 0.0) -> None:
        """`pan` from -1, left, to 1, right."""
        both = np.stack([sound * min(1.0, 1 - pan), sound * min(1.0, 1 + pan)], 1) * strength
        places = (np.arange(len(sound)) + round(at * RATE)) % len(self.heard)
        np.add.at(self.heard, places, both)

    def in_a_room(self, seconds: float, share: float) -> Mono:
        """With so much of its echo, which goes round as well."""
        random = np.random.default_rng(8)
        t = np.arange(round(seconds * RATE)) / RATE
        echo = random.standard_normal((len(t), 2)) * np.exp(-4.5 * t / seconds)[:, None]
        echo /= np.sqrt((echo**2).sum(0))
        padded = np.zeros_like(self.heard)
        padded[: len(echo)] = echo[: len(padded)]
        wet = np.fft.irfft(np.fft.rfft(self.heard, axis=0) * np.fft.rfft(padded, axis=0), len(self.heard), axis=0)
        return np.asarray(self.heard * (1 - share) + wet * share * 1.6)


def _mastered(heard: Mono) -> Samples:
    """As loud as what people upload, and nowhere louder than a file may be."""
    driven = np.tanh(heard * (LOUD / np.sqrt((heard**2).mean())))
    return np.asarray(driven * (PEAK / np.abs(driven).max()), np.float32)


def _quiet(heard: NDArray[np.float64]) -> Samples:
    edge = np.minimum(1, np.minimum(np.arange(len(heard)), np.arange(len(heard))[::-1]) / (0.25 * RATE))
    return np.asarray(heard * (0.12 / np.abs(heard).max()) * edge[:, None], np.float32)


def _noise(seconds: float, below_hz: float, seed: int) -> NDArray[np.float64]:
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((count, 2)), axis=0)
    spectrum /= 1 + (np.fft.rfftfreq(count, 1 / RATE)[:, None] / below_hz) ** 2
    return np.asarray(np.fft.irfft(spectrum, count, axis=0))


def _time(seconds: float) -> Mono:
    return np.arange(round(seconds * RATE)) / RATE


def _pitch(note: int) -> float:
    return float(440 * 2 ** ((note - 69) / 12))


def _piano(note: int, seconds: float) -> Mono:
    t, f = _time(seconds), 2 * np.pi * _pitch(note)
    tine = 0.9 * np.exp(-5 * t) * np.sin(f * 2 * t)
    return np.asarray(np.sin(f * t + tine) * np.exp(-1.7 * t) * np.minimum(1, t / 0.004))


def _pluck(note: int) -> Mono:
    t, f = _time(0.7), 2 * np.pi * _pitch(note)
    parts = sum(np.sin(f * n * t) / n * np.exp(-(4 + 2.2 * n) * t) for n in range(1, 7))
    return np.asarray(parts * np.minimum(1, t / 0.002))


def _bass(note: int, seconds: float) -> Mono:
    t, f = _time(seconds), 2 * np.pi * _pitch(note)
    shape = np.minimum(1, t / 0.01) * np.minimum(1, (seconds - t) / 0.06) * np.exp(-0.9 * t)
    return np.asarray((np.sin(f * t) + 0.25 * np.sin(2 * f * t)) * shape)


def _pad(notes: tuple[int, ...], seconds: float) -> Mono:
    t = _time(seconds)
    voices = [np.sin(2 * np.pi * _pitch(note) * bent * t) for note in notes for bent in (0.9985, 1.0015)]
    shape = np.minimum(1, np.minimum(t, seconds - t) / min(0.6, seconds / 3))
    return np.asarray(sum(voices) / len(voices) * shape)


def _kick() -> Mono:
    t = _time(0.32)
    return np.asarray(np.sin(2 * np.pi * (46 * t + 2.6 * (1 - np.exp(-28 * t)))) * np.exp(-9 * t))


def _hat(seconds: float) -> Mono:
    t = _time(0.2)
    noise = np.diff(np.random.default_rng(6).standard_normal(len(t) + 1))
    return np.asarray(noise * np.exp(-t / seconds * 2.5))


def _brush() -> Mono:
    t = _time(0.25)
    return np.asarray(np.random.default_rng(7).standard_normal(len(t)) * np.exp(-19 * t) * np.minimum(1, t / 0.002))


TUNES: dict[str, Callable[[], Samples]] = {"slow-tide": slow_tide, "bright-steps": bright_steps}
