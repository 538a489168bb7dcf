"""Something like music: a beat, a bass drum, plucked notes."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
HARMONICS = 6

Samples = NDArray[np.float64]  # n × 2


def write(path: Path, seconds: float, seed: int, beats_a_minute: int, loudness: float) -> None:
    """A WAV of 16 bits in stereo."""
    samples = np.clip(loudness * song(seconds, seed, beats_a_minute), -1, 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def song(seconds: float, seed: int, beats_a_minute: int) -> Samples:
    random = np.random.default_rng(seed)
    heard = np.zeros((round(seconds * RATE), 2))
    beat = 60 / beats_a_minute
    for number in range(int(seconds / beat)):
        start = round(number * beat * RATE)
        _add(heard, start, _drum())
        if number % 2:
            _add(heard, start, _snare(random))
        _add(heard, start, _pluck(110 * 2 ** (random.integers(0, 24) / 12)))
    return heard


def _add(heard: Samples, start: int, sound: Samples) -> None:
    room = heard[start : start + len(sound)]
    room += sound[: len(room)]


def _drum() -> Samples:
    t = np.arange(round(0.3 * RATE)) / RATE
    return 0.6 * (np.sin(2 * np.pi * (50 + 80 * np.exp(-30 * t)) * t) * np.exp(-9 * t))[:, None] * np.ones(2)


def _snare(random: np.random.Generator) -> Samples:
    t = np.arange(round(0.3 * RATE)) / RATE
    return 0.25 * random.standard_normal((len(t), 2)) * np.exp(-18 * t)[:, None]


def _pluck(frequency: float) -> Samples:
    t = np.arange(round(0.9 * RATE)) / RATE
    parts = [
        (np.sin(2 * np.pi * frequency * harmonic * t) / harmonic * np.exp(-3 * t))[:, None]
        * np.array([0.12, 0.1 + 0.02 * harmonic])
        for harmonic in range(1, HARMONICS + 1)
    ]
    plucked: Samples = np.sum(parts, axis=0)
    return plucked
