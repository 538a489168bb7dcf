"""Making a sound track: loop or trim, loudness by one static gain, mix, fade, AAC once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from math import ceil, isfinite
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Drained
from av.error import InvalidDataError
from av.filter import Graph
from numpy.typing import NDArray

from novai_web.engines.ffmpeg.inside.opening import decodable_audio, open_media, video_stream
from novai_web.engines.ffmpeg.inside.remux import first_moment
from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.planning import Track
from novai_web.engines.ffmpeg.settings import RenderSettings
from novai_web.errors import UnusableMedia

RATE = 48_000
VERSION = 1  # of how sounds are made: a change makes shelved ones unfit
CHUNK = 4096
KEPT_SAMPLES_MAX = 8_000_000  # almost three minutes, 64 MB: decoded once; what is longer is decoded for each pass
BAD_PACKETS_MAX, BAD_SHARE_MAX = 3, 0.01
GAP_SAMPLES = RATE // 40  # less is rounding, or the resampler's delay
AUDIBLE = 0.01  # −40 dBFS
REPEATED_SAMPLES_MAX = 2 * RATE
GAIN_DB_MAX = 24.0  # more would only make noise loud
PEAK_MAX = 0.84  # −1.5 dBFS: room for what AAC adds
SILENCE_LUFS = -69.0  # ebur128 answers −70 for silence

Samples = NDArray[np.float32]  # 2 × n, ±1


@dataclass(frozen=True)
class Made:
    """A finished sound track; `audible` is false where its sources are silent themselves."""

    path: Path
    audible: bool


def make(
    track: Track,
    video: Path,
    duration: Fraction,
    settings: RenderSettings,
    limits: Limits,
    path: Path,
    alive: Callable[[], None],
) -> Made:
    """An M4A exactly as long as the picture, to the sample. `alive` is called as the work gets on."""
    total = round(duration * RATE)
    parts: list[tuple[_Source, float]] = []
    target = settings.audio_loudness_lufs
    if track.audio is not None:
        chosen = _Source(track.audio, total, settings.audio_loop, settings.audio_fade_seconds, None, limits, alive)
        level = settings.audio_level_db if track.with_original else 0.0
        parts.append((chosen, _gain(chosen, target) * 10 ** (level / 20)))
    if track.with_original:
        original = _Source(video, total, False, 0, video, limits, alive)
        parts.append((original, _gain(original, target) if track.audio is not None else 1.0))
    peak = max((float(np.abs(chunk).max()) for chunk in _mixed(parts)), default=0.0)
    chunks = _mixed(parts)
    _encode(_limited(chunks) if peak > PEAK_MAX else chunks, total, settings.audio_bit_rate, path)
    return Made(path, peak > AUDIBLE)


@dataclass
class _Source:
    """A file's sound as exactly `total` stereo samples at 48 kHz, as often as it is asked for."""

    path: Path
    total: int
    loop: bool
    fade_seconds: float
    picture: Path | None  # of the same file: where its time begins
    limits: Limits
    alive: Callable[[], None]
    _kept: list[Samples] | None = None

    def chunks(self) -> Iterator[Samples]:
        """Chunks of CHUNK samples, the last one shorter. Not to be written to."""
        if self.total > KEPT_SAMPLES_MAX:
            return self._read()
        if self._kept is None:
            self._kept = list(self._read())
        return iter(self._kept)

    def _read(self) -> Iterator[Samples]:
        rest = np.zeros((2, 0), np.float32)
        at = 0
        for piece in self._pieces():
            self.alive()
            rest = np.concatenate((rest, piece), axis=1)
            while rest.shape[1] >= CHUNK and at < self.total:
                yield self._faded(rest[:, : min(CHUNK, self.total - at)], at)
                at += CHUNK
                rest = rest[:, CHUNK:]
            if at >= self.total:
                return
        while at < self.total:
            size = min(CHUNK, self.total - at)
            chunk = np.zeros((2, size), np.float32)
            chunk[:, : min(size, rest.shape[1])] = rest[:, :size]
            yield self._faded(chunk, at)
            rest = rest[:, size:]
            at += size

    def _pieces(self) -> Iterator[Samples]:
        """A short file that is repeated is decoded once, however often it is heard."""
        kept: list[Samples] | None = []
        heard = 0
        for piece in decoded(self.path, self.limits, aligned=self.picture is not None):
            heard += piece.shape[1]
            kept = [*kept, piece] if kept is not None and self.loop and heard < REPEATED_SAMPLES_MAX else None
            yield piece
        if not heard:
            raise UnusableMedia("There is no sound in this audio that can be decoded.")
        if kept:
            once = np.concatenate(kept, axis=1)
            yield from repeat(np.tile(once, (1, ceil(CHUNK / heard))))
        while self.loop:
            yield from decoded(self.path, self.limits, aligned=False)

    def _faded(self, chunk: Samples, at: int) -> Samples:
        fade = min(round(self.fade_seconds * RATE), self.total)
        start = self.total - fade
        if not fade or at + chunk.shape[1] <= start:
            return chunk
        moments = np.arange(at, at + chunk.shape[1], dtype=np.float32)
        return chunk * np.clip((self.total - moments) / fade, 0, 1).astype(np.float32)


def decoded(path: Path, limits: Limits, aligned: bool) -> Iterator[Samples]:
    """Stereo at 48 kHz. `aligned` begins with the file's first picture: earlier sound goes, later sound waits.

    So does sound after a gap, where the file says that there is one.
    """
    with open_media(path, limits) as container:
        stream = decodable_audio(container)
        if stream is None:
            raise UnusableMedia("There is no sound in this file that can be decoded.")
        picture = video_stream(container) if aligned else None
        zero = first_moment(picture) if picture is not None else None
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
        given = drop = 0  # samples that were yielded, and coming ones that will not be
        is_first = True
        for frame in _frames(container, stream):
            if zero is not None and frame.pts is not None and frame.time_base is not None:
                place = round((frame.pts * frame.time_base - zero) * RATE)
                if is_first or abs(place - (given - drop)) > GAP_SAMPLES:
                    yield from _silence(place - given)
                    given, drop, is_first = max(given, place), max(0, given - place), False
            for piece in _arrays(resampler.resample(frame)):
                rest = piece[:, drop:]
                drop = max(0, drop - piece.shape[1])
                given += rest.shape[1]
                yield rest
        yield from _arrays(resampler.resample(None))


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Without packets that cannot be decoded, as players have it: a stray byte at a song's end does no harm."""
    packets = bad = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except InvalidDataError:
            bad += 1
            if bad > BAD_PACKETS_MAX and bad > BAD_SHARE_MAX * packets:
                raise
            continue
        yield from frames


def _silence(length: int) -> Iterator[Samples]:
    for start in range(0, length, CHUNK):
        yield np.zeros((2, min(CHUNK, length - start)), np.float32)


def _arrays(frames: Iterable[av.AudioFrame]) -> Iterator[Samples]:
    for frame in frames:
        if frame.samples:
            yield np.asarray(frame.to_ndarray(), np.float32)


def _gain(source: _Source, target: float | None) -> float:
    """One factor for the whole track, from its integrated loudness (EBU R 128): no pumping, one pass."""
    if target is None:
        return 1.0
    heard = loudness(source.chunks())
    if heard is None:
        return 1.0
    return float(10 ** (min(GAIN_DB_MAX, target - heard) / 20))


def loudness(chunks: Iterator[Samples]) -> float | None:
    """LUFS; None for silence and for less than the 0.4 s that the measure needs."""
    graph = Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo", time_base=Fraction(1, RATE))
    meter, sink = graph.add("ebur128", "metadata=1:framelog=quiet"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    heard: float | None = None
    for frame in _through(graph, chunks):
        value = frame.metadata.get("lavfi.r128.I")
        heard = float(value) if value is not None else heard
    return heard if heard is not None and isfinite(heard) and heard > SILENCE_LUFS else None


def _limited(chunks: Iterator[Samples]) -> Iterator[Samples]:
    graph = Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo", time_base=Fraction(1, RATE))
    limiter = graph.add("alimiter", f"limit={PEAK_MAX}:attack=5:release=50:level=0:latency=1")
    shape, sink = graph.add("aformat", "sample_fmts=fltp"), graph.add("abuffersink")
    source.link_to(limiter)
    limiter.link_to(shape)
    shape.link_to(sink)
    graph.configure()
    yield from _arrays(_through(graph, chunks))


def _through(graph: Graph, chunks: Iterator[Samples]) -> Iterator[av.AudioFrame]:
    at = 0
    for chunk in chunks:
        graph.push(_frame(chunk, at))
        at += chunk.shape[1]
        yield from _pull(graph)
    graph.push(None)
    yield from _pull(graph)


def _pull(graph: Graph) -> Iterator[av.AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except (NothingYet, Drained):
            return
        assert isinstance(frame, av.AudioFrame)
        yield frame


def _frame(chunk: Samples, at: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="fltp", layout="stereo")
    frame.sample_rate = RATE
    frame.time_base = Fraction(1, RATE)
    frame.pts = at
    return frame


def _mixed(parts: list[tuple[_Source, float]]) -> Iterator[Samples]:
    for chunks in zip(*(source.chunks() for source, _ in parts), strict=True):
        total = chunks[0] * np.float32(parts[0][1])
        for chunk, (_, gain) in zip(chunks[1:], parts[1:], strict=True):
            total = total + chunk * np.float32(gain)
        yield total


def _encode(chunks: Iterator[Samples], total: int, bit_rate: int, path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=RATE, layout="stereo")
        stream.codec_context.bit_rate = bit_rate
        at = 0
        for chunk in chunks:
            chunk = chunk[:, : total - at]
            if chunk.shape[1]:
                out.mux(stream.encode(_frame(chunk, at)))
                at += chunk.shape[1]
        out.mux(stream.encode(None))
