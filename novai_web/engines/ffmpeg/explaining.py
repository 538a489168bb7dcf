"""A plan in words: first what it comes to, then each clip, what is made of it, what is shared, and why."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from novai_web.engines.ffmpeg.media import Media
from novai_web.engines.ffmpeg.planning import Clip, Picture, Plan, Track

CODECS = {"h264": "H.264", "mpeg4": "MPEG-4"}
NUMBERS_SHOWN = 8  # of refused variants, before it says how many more


def explain(plan: Plan) -> str:
    clips = [_Told(clip, plan) for clip in plan.clips]
    blocks = ["\n".join(_totals(plan, clips)), *("\n".join(clip.lines()) for clip in clips)]
    if plan.refused:
        blocks.append("\n".join(_refusals(plan)))
    return "\n\n".join(blocks)


def _totals(plan: Plan, clips: "list[_Told]") -> Iterator[str]:
    variants = len(plan.variants)
    yield f"{_many(variants, 'variant')} of {_many(len(clips), 'clip')}" + (
        f"; {len(plan.refused)} refused" if plan.refused else ""
    )
    ways = Counter(picture.way for clip in plan.clips for picture in clip.pictures)
    each = ", ".join(f"{count} {way}" for way, count in ways.items())
    yield _line("pictures", f"{sum(ways.values())} for {_many(variants, 'variant')}: {each}" if ways else "none")
    encoded, plain = sum(clip.encoded for clip in clips), sum(clip.plain for clip in clips)
    share = f", {encoded / plain:.1%}" if plain else ""
    yield _line("frames", f"{encoded:,} encoded of {plain:,} that plain renders would encode{share}")
    made = {clip.sound_of(track) for clip in clips for track in clip.sounds if track.action == "encode"}
    copied = sum(users for clip in clips for track, users in clip.sounds.items() if track.action == "copy")
    needed = sum(sum(clip.sounds.values()) for clip in clips)
    yield _line("sounds", f"{len(made)} encoded, {copied} copied, {needed} needed")


class _Told:
    """One clip, with its frames counted."""

    def __init__(self, clip: Clip, plan: Plan) -> None:
        self.clip, self.media, self.window = clip, plan.media[clip.video], plan.settings.window
        self.frames = _frames(self.media)
        has_hook = any(picture.hook for picture in clip.pictures)
        self.under = clip.cut.hook if clip.cut else _under_hook(self.media, self.window) if has_hook else 0
        self.variants = sum(len(picture.variants) for picture in clip.pictures)
        self.plain = self.frames * self.variants
        self.encoded = sum(self._encoded_by(way, pictures) for way, pictures in self._by_way().items())
        tracks = (track for picture in clip.pictures for _, track in picture.variants)
        self.sounds = Counter(track for track in tracks if track.action != "none")

    def sound_of(self, track: Track) -> tuple[object, ...]:
        """What is equal for all that sound the same: clips of one length share a sound."""
        return track.audio, self.clip.video if track.with_original else None, self.media.duration_seconds

    def lines(self) -> Iterator[str]:
        width, height = self.media.width or 0, self.media.height or 0
        seconds, codec = self.media.duration_seconds or 0, self.media.codec or "?"
        yield (
            f"{self.clip.video.name} · {width}×{height} · {CODECS.get(codec, codec.upper())} · {seconds:.1f} s · "
            f"{'' if self.media.frames else 'about '}{_many(self.frames, 'frame')} → {_many(self.variants, 'variant')}"
        )
        if self.clip.remux:
            yield _line("first", "its packets are put into an MP4, as they are")
        for way, pictures in self._by_way().items():
            yield from self._way(way, pictures)
        for track, users in self.sounds.items():
            yield _line("sound", _sound(track, users))
        if self.variants > sum(self.sounds.values()):
            yield _line("silent", _many(self.variants - sum(self.sounds.values()), "variant"))

    def _by_way(self) -> dict[str, list[Picture]]:
        found: dict[str, list[Picture]] = defaultdict(list)
        for picture in self.clip.pictures:
            found[picture.way].append(picture)
        return found

    def _encoded_by(self, way: str, pictures: list[Picture]) -> int:
        if way == "copy":
            return 0
        if way == "naive":
            return self.frames * len(pictures)
        return self._shared() + self.under * len(pictures)

    def _shared(self) -> int:
        """Frames that carry no hook and are encoded all the same, once."""
        cut = self.clip.cut
        if cut is not None:
            return cut.bridge_before + cut.bridge_after
        return self.frames - self.under

    def _way(self, way: str, pictures: list[Picture]) -> Iterator[str]:
        yield _line(way, f"{_pictures(pictures)}, because {_reasons(pictures)}")
        if way == "copy":
            yield _line("", f"all {_many(self.frames, 'frame')} copied, packet for packet")
        elif way == "naive":
            yield _line("", f"all {_many(self.frames, 'frame')} decoded and encoded for each picture")
        else:
            yield from self._shared_work(pictures)

    def _shared_work(self, pictures: list[Picture]) -> Iterator[str]:
        cut, shared, is_alone = self.clip.cut, self._shared(), len(pictures) == 1
        often = "once" if self.clip.held or is_alone else "once, and again for each few hooks"
        yield _line("", f"{_many(self.under + shared, 'frame')} decoded {often}")
        if self.under:
            hooks = "hooks" if all(picture.hook for picture in pictures) else "pictures"
            each = "once" if is_alone else f"for each of {len(pictures)} {hooks}"
            yield _line("", f"{_many(self.under, 'frame')} under the hook encoded {each}")
        if shared:
            where = "between it and the next keyframes" if cut else "without a hook" if self.under else "in all"
            yield _line("", f"{_many(shared, 'frame')} {where} encoded once" + ("" if is_alone else ", for all"))
        if cut is not None:
            yield _line("", f"{_many(cut.copied, 'frame')} copied, packet for packet")
        elif self.clip.remux:
            yield _line("", "fewer, if it has keyframes near the hook: that is seen when it is an MP4")


def _pictures(pictures: list[Picture]) -> str:
    hooks = sum(picture.hook is not None for picture in pictures)
    variants = sum(len(picture.variants) for picture in pictures)
    what = _many(hooks, "hook") if hooks == len(pictures) else "no hook" if not hooks else f"{hooks} hooks and none"
    return f"{what} for {_many(variants, 'variant')}"


def _reasons(pictures: list[Picture]) -> str:
    return "; ".join(dict.fromkeys(picture.why for picture in pictures))


def _sound(track: Track, users: int) -> str:
    what = track.audio.name if track.audio else "its own"
    done = "copied" if track.action == "copy" else "encoded once"
    return f"{what} {done} for {_many(users, 'variant')}, because {track.why}"


def _refusals(plan: Plan) -> Iterator[str]:
    alike: dict[str, list[int]] = defaultdict(list)
    for n, sentence in plan.refused.items():
        alike[sentence].append(n)
    for sentence, numbers in alike.items():
        more = len(numbers) - NUMBERS_SHOWN
        named = ", ".join(str(n + 1) for n in numbers[:NUMBERS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        yield f"refused: {'variant' if len(numbers) == 1 else 'variants'} {named}. {sentence}"


def _frames(media: Media) -> int:
    return media.frames or round((media.duration_seconds or 0) * (media.frame_rate or 30))


def _under_hook(media: Media, window: tuple[float, float]) -> int:
    """About how many; exactly, where the clip is cut."""
    start, end = window
    seconds = max(0.0, min(end, media.duration_seconds or 0) - start)
    return min(_frames(media), round(seconds * (media.frame_rate or 30)))


def _line(label: str, text: str) -> str:
    return f"  {label:<10} {text}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
