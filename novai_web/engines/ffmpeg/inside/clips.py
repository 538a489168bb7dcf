"""One clip of a render: the ways its pictures are made, what happens when one fails, and the delivery of variants."""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from novai_web.engines.ffmpeg.deciding import BYTES_PER_PIXEL, reason_against
from novai_web.engines.ffmpeg.inside import faces, plain, previews, remux
from novai_web.engines.ffmpeg.inside.check import Expected, check_picture, check_variant
from novai_web.engines.ffmpeg.inside.exact import Exact
from novai_web.engines.ffmpeg.inside.failing import FAILURES, clause, is_ours, sentence
from novai_web.engines.ffmpeg.inside.lanes import Lanes
from novai_web.engines.ffmpeg.inside.looking import Joint, look, look_at_last_keyframe
from novai_web.engines.ffmpeg.inside.materials import Material
from novai_web.engines.ffmpeg.inside.normalised import Normalised, require_all
from novai_web.engines.ffmpeg.inside.progress import Meter, Progress
from novai_web.engines.ffmpeg.inside.sounds import Sounding, Sounds, original
from novai_web.engines.ffmpeg.inside.takes import DECODING, NEVER_SEEN, Finished, Setting, Take
from novai_web.engines.ffmpeg.inside.tracks import Look, copied, picture_track, shown_range
from novai_web.engines.ffmpeg.inside.upright import UPRIGHT, Turn
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.media import FACES, POSTER_SIDE, Checked, Limits, Media, Way
from novai_web.engines.ffmpeg.mp4 import writing
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.engines.ffmpeg.planning import Clip, Picture, Plan, Track, Variant, target_size
from novai_web.engines.ffmpeg.source import Source

DELIVERY, SOUND = 0, 1  # urgency within a clip, besides those of a take
VARIANT_FRAMES = 5  # what one variant costs besides its picture, in frames to encode
_NEXT: dict[Way, Way] = {"copy": "normalise", "exact": "normalise", "normalise": "naive"}


@dataclass(frozen=True)
class Looked:
    """What was found when a picture was looked at."""

    media: Media
    face: Mapping[str, str]


@dataclass(frozen=True)
class Shop:
    """What all clips of a render share."""

    plan: Plan
    folder: Path
    work: Path
    limits: Limits
    say: Callable[..., None]
    lanes: Lanes
    sounds: Sounds
    progress: Progress


class ClipWork:
    """A clip under way. Every variant of it ends in exactly one word, done or failed."""

    def __init__(self, number: int, clip: Clip, shop: Shop, over: Callable[["ClipWork"], None]) -> None:
        self.number, self.clip, self.shop, self.over = number, clip, shop, over
        self.media = shop.plan.media[clip.video]
        self.shown = self.media.width or 2, self.media.height or 2
        self.left = {variant.n for picture in clip.pictures for variant, _ in picture.variants}
        self.lock = threading.Lock()
        self.frames = self.media.frames or round((self.media.duration_seconds or 0) * (self.media.frame_rate or 30))
        self.window_frames = min(self.frames, self._window_seconds() * (self.media.frame_rate or 30))
        self.is_copied = all(picture.way == "copy" for picture in clip.pictures)
        is_held = clip.held and not self.is_copied
        self.held_bytes = round(self.window_frames * clip.size[0] * clip.size[1] * BYTES_PER_PIXEL) if is_held else 0
        self._meters()
        self._attempts = 0
        self._source: Source | None = None
        self._unreadable: Exception | None = None

    def start(self) -> None:
        self.shop.say(started=sorted(self.left))
        ways: dict[str, list[Picture]] = {}
        for picture in self.clip.pictures:
            ways.setdefault(picture.way, []).append(picture)
        for pictures in ways.values():
            self.attempt(pictures)

    def attempt(self, pictures: Sequence[Picture]) -> None:
        """Pictures of one way. Those of the last resort are made each on its own, so that they fail each alone."""
        groups = [[picture] for picture in pictures] if pictures[0].way == "naive" else [list(pictures)]
        for group in groups:
            self._attempts += 1
            _Attempt(self, self._attempts, group).start()

    def source(self) -> Source:
        """The clip as its container describes it; made into an MP4 first where it is none. Raises Malformed."""
        with self.lock:
            if self._unreadable is not None:
                raise self._unreadable
            if self._source is None:
                try:
                    self._source = self._opened()
                except FAILURES as error:
                    self._unreadable = error
                    raise
            return self._source

    def _opened(self) -> Source:
        path = self.clip.video
        if self.clip.remux:
            path = self.shop.work / f"clip-{self.number}.mp4"
            remux.remux(self.clip.video, path, self.shop.limits, self.shop.progress.alive)
        source = Source(path)
        require_all(len(source.times), self.media)
        return source

    def done(self, variant: Variant, draft: Path, checked: Checked) -> None:
        with self.lock:
            if variant.n not in self.left:
                draft.unlink()
                return
            path = self.shop.folder / f"{variant.n:06d}.mp4"
            draft.replace(path)
            self.shop.say(done=variant.n, path=str(path), checked=checked.to_json())
            self._forget(variant)

    def failed(self, variant: Variant, why: str) -> None:
        with self.lock:
            if variant.n in self.left:
                self.shop.say(failed=variant.n, why=why)
                self._forget(variant)

    def _forget(self, variant: Variant) -> None:
        self.left.remove(variant.n)
        self.variant_meters[variant.n].finish()
        if not self.left:
            self.common.finish()
            if self._source is not None:
                self._source.close()
            for folder in self.shop.work.glob(f"clip-{self.number}-*"):
                shutil.rmtree(folder, ignore_errors=True)
            self.over(self)

    def _window_seconds(self) -> float:
        start, end = self.shop.plan.settings.window
        return max(0.0, min(end, self.media.duration_seconds or 0) - start)

    def _meters(self) -> None:
        pictures = self.clip.pictures
        ways = {picture.way for picture in pictures}
        shared = self.frames - self.window_frames if "normalise" in ways else 0.0
        if "exact" in ways and self.clip.cut is not None:
            shared = self.clip.cut.bridge_before + self.clip.cut.bridge_after
        meter = self.shop.progress.meter
        self.common = meter(shared)
        costs = {"copy": 0.0, "naive": float(self.frames)}
        self.picture_meters = [meter(costs.get(picture.way, self.window_frames)) for picture in pictures]
        self.variant_meters = {number: meter(VARIANT_FRAMES) for number in self.left}


class _Attempt:
    """One try at some pictures of a clip, in one way. When it fails, the next way takes over what is left."""

    def __init__(self, clip: ClipWork, number: int, pictures: Sequence[Picture]) -> None:
        self.clip, self.shop, self.pictures = clip, clip.shop, pictures
        self.way = pictures[0].way
        self.number = number
        self.work = clip.shop.work / f"clip-{clip.number}-{number}"
        self.is_over = False
        self._media: Media | None = None
        self._faces: dict[str, Mapping[str, str]] = {}
        self._looking = threading.Lock()
        self._original: TrackOut | None = None

    def start(self) -> None:
        self.work.mkdir()
        begin = {"copy": self._copy, "exact": self._exact, "normalise": self._normalise, "naive": self._naive}
        self.add(DECODING, begin[self.way])

    def add(self, urgency: int, work: Callable[[], None]) -> None:
        self.shop.lanes.add((self.clip.number, urgency), self.guarded(work))

    def guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            if self.is_over or not self.clip.left:
                return
            try:
                work()
            except FAILURES as error:
                self._fail(error)
            except ValueError:
                if self.clip.left:
                    raise  # else the clip was closed meanwhile, and its samples with it

        return guarded

    def _fail(self, error: Exception) -> None:
        if is_ours(error):
            raise error
        with self.clip.lock:
            if self.is_over:
                return
            self.is_over = True
        way = _NEXT.get(self.way)
        if way is None:
            for picture in self.pictures:
                self.refuse(picture, sentence(error))
            return
        self._hand_over(way, f"{self.way} did not work out: {clause(error)}")

    def _hand_over(self, way: Way, why: str) -> None:
        left = [replace(picture, way=way, why=why) for picture in map(self._left_of, self.pictures) if picture.variants]
        if left:
            self.clip.attempt(left)

    def _left_of(self, picture: Picture) -> Picture:
        with self.clip.lock:
            pairs = tuple(pair for pair in picture.variants if pair[0].n in self.clip.left)
        return replace(picture, variants=pairs)

    # The four ways

    def _copy(self) -> None:
        source = self.clip.source()
        if source.copyable is not None:
            raise Malformed(source.copyable)
        track = whole(source)
        look_at_last_keyframe(track)
        for picture in self.pictures:  # only where a copy begins, something may not be as the source had it
            self.publish(Finished(picture, track, source.frame_count, source.duration, (Joint(Fraction(0)),)))

    def _exact(self) -> None:
        material = Exact(self.clip.source(), self.shop.plan.settings, self.clip.shown)
        if (reason := reason_against(material.cut)) is not None:
            self._hand_over("normalise", reason)
            return
        self._ask_early(material.duration)
        self._take(material, material.stored.turn, self.clip.shown)

    def _normalise(self) -> None:
        self._take(self._normalised(), UPRIGHT, self._target)

    def _normalised(self) -> Normalised:
        has_window = any(picture.hook for picture in self.pictures)
        settings, limits = self.shop.plan.settings, self.shop.limits
        return Normalised(self.clip.clip.video, self.clip.media, self._target, settings, limits, has_window)

    def _take(self, material: Material, turn: Turn, shown: tuple[int, int]) -> None:
        setting = Setting(
            lanes=self.shop.lanes,
            work=self.work,
            number=self.clip.number,
            held=self.clip.clip.held,
            threads=max(1, self.shop.lanes.width // len(self.pictures)),
            turn=turn,
            shown=shown,
            guarded=self.guarded,
            publish=self.publish,
            refuse=self.refuse,
        )
        pictures = [(picture, self._meter(picture)) for picture in self.pictures]
        Take(setting, material, pictures, self.clip.common).start()

    def _naive(self) -> None:
        (picture,) = self.pictures
        threads = max(1, self.shop.lanes.width // len(self.shop.plan.clips))
        meter = self._meter(picture)
        path = self.work / "picture.h264"
        finished = plain.encode(self._normalised(), picture, path, threads, lambda: meter.add(1))
        if finished is None:
            self.refuse(picture, NEVER_SEEN)
        else:
            self.publish(finished)

    @property
    def _target(self) -> tuple[int, int]:
        """Even in both directions, as an encoder wants it; a clip that was to be copied may not be."""
        return target_size(*self.clip.clip.size, "source")

    def _meter(self, picture: Picture) -> Meter:
        hooks = [planned.hook for planned in self.clip.clip.pictures]
        return self.clip.picture_meters[hooks.index(picture.hook)]

    # Delivery

    def refuse(self, picture: Picture, why: str) -> None:
        for variant, _ in picture.variants:
            self.clip.failed(variant, why)

    def publish(self, finished: Finished) -> None:
        """The joints of a picture are looked at once; then its variants get their sounds."""
        self.add(DELIVERY, lambda: self._look(finished))

    def _look(self, finished: Finished) -> None:
        look(finished.track, finished.joints, finished.meant)
        self._meter(finished.picture).finish()
        for variant, track in finished.picture.variants:
            self._sounded(finished, variant, track)

    def _looked(self, finished: Finished, draft: Path, expected: Expected) -> Looked:
        """What the file is: the same for all variants of a clip. So is its face, where the hook is not on it."""
        name, folder = f"picture-{finished.picture.variants[0][0].n}", self.shop.folder / FACES
        with self._looking:
            if self._media is None:
                self._media = check_picture(draft, expected, self.shop.limits)
            if finished.face is None:
                name = "picture"
            if name not in self._faces:
                face = finished.face or previews.still(draft, self._media, self.shop.limits, POSTER_SIDE)
                self._faces[name] = faces.draw(face.convert("RGB"), folder, f"{self.clip.number}-{self.number}-{name}")
            return Looked(self._media, self._faces[name])

    def _sounded(self, finished: Finished, variant: Variant, track: Track) -> None:
        def deliver(sounding: Sounding) -> None:
            self.add(DELIVERY, lambda: self._deliver(finished, variant, sounding))

        if track.action == "none":
            deliver(Sounding())
            return
        if track.action == "copy":
            try:
                deliver(Sounding(self._own_sound()))
                return
            except FAILURES:
                track = replace(track, action="encode")
        video_path, seconds = self.clip.clip.video, finished.duration
        self.shop.sounds.request(track, video_path, seconds, (self.clip.number, SOUND), deliver)

    def _ask_early(self, seconds: Fraction) -> None:
        """Sounds are begun before the pictures that will need them, so that nothing finished has to wait."""
        for picture in self.pictures:
            for _, track in picture.variants:
                if track.action == "encode":
                    urgency = self.clip.number, SOUND
                    self.shop.sounds.request(track, self.clip.clip.video, seconds, urgency, lambda _: None)

    def _own_sound(self) -> TrackOut:
        if self._original is None:
            self._original = original(self.clip.source())
        return self._original

    def _deliver(self, finished: Finished, variant: Variant, sounding: Sounding) -> None:
        if sounding.why_not is not None:
            self.clip.failed(variant, sounding.why_not)
            return
        tracks = [finished.track, *([sounding.track] if sounding.track else [])]
        draft = self.work / f"variant-{variant.n}.mp4"
        writing.write(draft, tracks)
        expected = self._expected(finished, tracks)
        looked = self._looked(finished, draft, expected)
        media = check_variant(draft, expected, looked.media, self.shop.limits)
        checked = Checked(
            size_bytes=draft.stat().st_size,
            pieces=writing.pieces(tracks),
            media=media,
            frames=finished.frames,
            peak_dbfs=sounding.heard.peak_dbfs if sounding.heard else None,
            way=self.way,
            why=finished.picture.why,
            faces=looked.face,
        )
        self.clip.done(variant, draft, checked)

    def _expected(self, finished: Finished, tracks: Sequence[TrackOut]) -> Expected:
        is_kept = self.way in ("copy", "exact")
        return Expected(
            codec=self.clip.media.codec or "h264" if self.way == "copy" else "h264",
            size=self.clip.shown if is_kept else self._target,
            frames=finished.frames,
            duration=finished.duration,
            tracks=tracks,
        )


def whole(source: Source) -> TrackOut:
    """All packets of a picture, as they are."""
    return picture_track(copied(source, *shown_range(source)), Look.of(source.track), source.origin, source.end)
