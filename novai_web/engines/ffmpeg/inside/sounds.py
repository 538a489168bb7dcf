"""The sound tracks of a render: each made once, for all the variants that sound the same."""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import av

from novai_web.engines.ffmpeg.inside import audio
from novai_web.engines.ffmpeg.inside.failing import FAILURES, CheckFailed, is_ours, sentence
from novai_web.engines.ffmpeg.inside.lanes import Lanes
from novai_web.engines.ffmpeg.inside.listening import Heard, hear
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.mp4.reading import Movie, Track
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.engines.ffmpeg.planning import Track as Planned
from novai_web.engines.ffmpeg.settings import RenderSettings, Sound
from novai_web.engines.ffmpeg.shelf import Shelf
from novai_web.engines.ffmpeg.source import Source

# Another process that makes the same sound is waited for, so long in a lane and so often between other work.
WAIT_SECONDS, WAITS_MAX = 0.1, 300
IN_MEMORY_BYTES_MAX = 2 * 1024 * 1024  # of one sound; open files are counted, and there may be hundreds of sounds
DAMAGED = "Its sound is damaged somewhere and cannot be decoded. Export that file again."


@dataclass(frozen=True)
class Sounding:
    """A finished sound, or the sentence that says why there is none. `track` is None where silence was asked for."""

    track: TrackOut | None = None
    heard: Heard | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class _Wish:
    """A sound for one clip of this length."""

    planned: Planned
    video: Path
    duration: Fraction

    @property
    def key(self) -> "Key":
        """What files it is made of, and how long it is."""
        return self.planned.audio, self.video if self.planned.with_original else None, self.duration


Key = tuple[Path | None, Path | None, Fraction]
Then = Callable[[Sounding], None]


class Sounds:
    """Whoever asks for a sound is called back when it is there; nobody waits in a lane for another lane's work."""

    def __init__(
        self,
        lanes: Lanes,
        work: Path,
        settings: RenderSettings,
        limits: Limits,
        shelf: Shelf | None,
        alive: Callable[[], None],
    ) -> None:
        self.lanes, self.work, self.settings, self.limits, self.shelf = lanes, work, settings, limits, shelf
        self.alive = alive
        self._lock = threading.Lock()
        self._found: dict[Key, Sounding] = {}
        self._asked: dict[Key, list[Then]] = {}
        self._digests: dict[Path, str] = {}
        self._numbers = count()

    def request(self, planned: Planned, video: Path, duration: Fraction, urgency: tuple[int, ...], then: Then) -> None:
        """`then` may be called at once."""
        wish = _Wish(planned, video, duration)
        with self._lock:
            found = self._found.get(wish.key)
            if found is None:
                asked = self._asked.setdefault(wish.key, [])
                asked.append(then)
                is_first = len(asked) == 1
        if found is not None:
            then(found)
        elif is_first:
            self.lanes.add(urgency, lambda: self._make(wish, urgency))

    def _make(self, wish: "_Wish", urgency: tuple[int, ...], waited: int = 0) -> None:
        try:
            found = self._found_or_made(wish, is_patient=waited < WAITS_MAX)
        except FAILURES as error:
            if is_ours(error):
                raise
            found = Sounding(why_not=DAMAGED if isinstance(error, Malformed | OSError) else sentence(error))
        if found is None:
            self.lanes.add((urgency[0] + 1, *urgency[1:]), lambda: self._make(wish, urgency, waited + 1))
            return
        with self._lock:
            self._found[wish.key] = found
            asked = self._asked.pop(wish.key)
        for then in asked:
            then(found)

    def _found_or_made(self, wish: "_Wish", is_patient: bool) -> Sounding | None:
        """From the shelf, if another render made it before; None while another is about to."""
        if self.shelf is None:
            return self._made(wish)[0]
        name = self._name(wish)
        with self.shelf.lock(name, seconds=WAIT_SECONDS) as ours:
            if (shelved := self.shelf.take(name)) is not None:
                try:
                    return self._heard(shelved, wish.duration, audible=False)
                except (CheckFailed, Malformed, av.FFmpegError):
                    self.shelf.forget(name)  # damaged on the disk; it is made anew
            if not ours and is_patient:
                return None
            sounding, path = self._made(wish)
            with suppress(OSError):  # what cannot be kept for others is still there for this render
                self.shelf.put(name, path)
            return sounding

    def _made(self, wish: "_Wish") -> tuple[Sounding, Path]:
        path = self.work / f"sound-{next(self._numbers)}.m4a"
        made = audio.make(wish.planned, wish.video, wish.duration, self.settings, self.limits, path, self.alive)
        return self._heard(path, wish.duration, made.audible), path

    def _heard(self, path: Path, duration: Fraction, audible: bool) -> Sounding:
        return Sounding(track_of(path), hear(path, self.limits, duration, audible, self.alive))

    def _name(self, wish: "_Wish") -> str:
        """All that decides how the track sounds, and nothing else."""
        sound = {name: getattr(self.settings, name) for name in Sound.model_fields}
        files = [self._digest(path) for path in wish.key[:2] if path]
        parts = [audio.VERSION, av.__version__, files, wish.planned.with_original, str(wish.duration), sound]
        parts.append(self.settings.audio_bit_rate)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]


def track_of(path: Path) -> TrackOut:
    """The sound of an MP4 of ours. A long one stays in its file, which is open as long as it is used."""
    movie = Movie(path)
    track = movie.audio
    if track is None:
        raise Malformed("there is no sound in it")
    start = track.shown.start if track.shown else 0
    made = _copied(track, start, sum(track.durations) - start)
    if path.stat().st_size > IN_MEMORY_BYTES_MAX:
        return made
    made = replace(made, samples=[bytes(sample) for sample in made.samples])
    movie.close()
    return made


def original(source: Source) -> TrackOut:
    """The source's own sound, at the distance that it has to the picture, which begins at 0.

    Raises Malformed for a sound that is put together from several pieces, or has none.
    """
    track = source.audio
    if track is None:
        raise Malformed("there is no sound in it")
    shown = track.shown
    if shown is None:
        raise Malformed("its sound is put together from several pieces")
    total = sum(track.durations)
    end = total if shown.end is None else min(total, shown.end)
    late = round((shown.delay - source.begins) * track.timescale)
    start = min(end, shown.start + max(0, -late))
    return _copied(track, start, end - start, delay=max(0, late))


def _copied(track: Track, media_time: int, duration: int, delay: int = 0) -> TrackOut:
    return TrackOut(
        kind="soun",
        timescale=track.timescale,
        entry=track.entry,
        samples=[track.sample(number) for number in range(len(track.sizes))],
        durations=track.durations,
        media_time=media_time,
        duration=duration,
        delay=delay,
        language=track.language,
    )
