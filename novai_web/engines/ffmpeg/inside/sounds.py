"""The sound tracks of a render: each made once, for all the variants that sound the same."""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import av

from novai_web.engines.ffmpeg.inside import audio
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
from novai_web.errors import UnusableMedia

DAMAGED = "Its sound is damaged somewhere and cannot be decoded. Export that file again."


@dataclass(frozen=True)
class Sounding:
    """A finished sound, or the sentence that says why there is none. `track` is None where silence was asked for."""

    track: TrackOut | None = None
    heard: Heard | None = None
    why_not: str | None = None


Then = Callable[[Sounding], None]


class Sounds:
    """Whoever asks for a sound is called back when it is there; nobody waits in a lane for another lane's work."""

    def __init__(self, lanes: Lanes, work: Path, settings: RenderSettings, limits: Limits, shelf: Shelf | None) -> None:
        self.lanes, self.work, self.settings, self.limits, self.shelf = lanes, work, settings, limits, shelf
        self._lock = threading.Lock()
        self._found: dict[tuple[object, ...], Sounding] = {}
        self._asked: dict[tuple[object, ...], list[Then]] = {}
        self._digests: dict[Path, str] = {}
        self._numbers = count()

    def request(self, planned: Planned, video: Path, duration: Fraction, urgency: tuple[int, ...], then: Then) -> None:
        """`then` may be called at once."""
        key = (planned.audio, video if planned.with_original else None, duration)
        with self._lock:
            found = self._found.get(key)
            if found is None:
                asked = self._asked.setdefault(key, [])
                asked.append(then)
                is_first = len(asked) == 1
        if found is not None:
            then(found)
        elif is_first:
            self.lanes.add(urgency, lambda: self._make(key, planned, video, duration))

    def _make(self, key: tuple[object, ...], planned: Planned, video: Path, duration: Fraction) -> None:
        try:
            path, audible = self._path(planned, video, duration)
            heard = hear(path, self.limits, duration, audible)
            found = Sounding(track_of(path), heard)
        except UnusableMedia as error:
            found = Sounding(why_not=str(error))
        except (av.FFmpegError, Malformed):
            found = Sounding(why_not=DAMAGED)
        with self._lock:
            self._found[key] = found
            asked = self._asked.pop(key)
        for then in asked:
            then(found)

    def _path(self, planned: Planned, video: Path, duration: Fraction) -> tuple[Path, bool]:
        """A finished track in a file of its own; from the shelf, if another render made it before."""
        own = self.work / f"sound-{next(self._numbers)}.m4a"
        if self.shelf is None:
            return own, audio.make(planned, video, duration, self.settings, self.limits, own).audible
        name = self._name(planned, video, duration)
        with ExitStack() as stack:
            if (shelved := self.shelf.take(name)) is not None:
                return shelved, False
            stack.enter_context(self.shelf.lock(name))
            if (shelved := self.shelf.take(name)) is not None:
                return shelved, False
            made = audio.make(planned, video, duration, self.settings, self.limits, own)
            return self.shelf.put(name, own), made.audible

    def _name(self, planned: Planned, video: Path, duration: Fraction) -> str:
        """All that decides how the track sounds, and nothing else."""
        sound = {name: getattr(self.settings, name) for name in Sound.model_fields}
        files = [self._digest(path) for path in (planned.audio, video if planned.with_original else None) if path]
        parts = [audio.VERSION, av.__version__, files, planned.with_original, str(duration), sound]
        parts.append(self.settings.audio_bit_rate)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]


def track_of(path: Path) -> TrackOut:
    """The sound of an MP4 of ours. The views keep the file open as long as they are used."""
    track = Movie(path).audio
    if track is None:
        raise Malformed("there is no sound in it")
    start = track.shown.start if track.shown else 0
    return _copied(track, start, sum(track.durations) - start)


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
