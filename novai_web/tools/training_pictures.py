"""The pictures a model is trained with: checked as far as can be before anybody is paid, and packed for the vendor."""

from collections.abc import Sequence
from pathlib import Path

from novai_web.engines import ffmpeg
from novai_web.errors import ToolFailed, UnusableMedia
from novai_web.library import archives
from novai_web.library.models import Asset
from novai_web.tools.tool import Work

COUNT_MIN, COUNT_MAX = 10, 200
SIDE_MIN = 256
# The model looks at no more of a picture than this, and a vendor should not have to carry it.
SIDE_MAX = 2048
NAMED_MAX = 5
COPIES_AT_ONCE = 10


def check(pictures: Sequence[Asset]) -> None:
    """Raises ValueError, in a sentence, for what is wrong with these pictures as far as the library knows them."""
    if len(pictures) < COUNT_MIN:
        raise ValueError(
            f"Pick at least {COUNT_MIN} pictures; this is {len(pictures)}. More of them make a better model."
        )
    if len(pictures) > COUNT_MAX:
        raise ValueError(f"Pick at most {COUNT_MAX} pictures; this is {len(pictures)}.")
    if small := [each for each in pictures if min(each.width or SIDE_MIN, each.height or SIDE_MIN) < SIDE_MIN]:
        raise ValueError(f"{_named(small)} smaller than {SIDE_MIN} pixels. Take {_it(small)} out, or send larger ones.")
    first: dict[str | None, Asset] = {}
    for picture in pictures:
        same = first.setdefault(picture.sha256, picture)
        if same is not picture:
            raise ValueError(f"“{picture.name}” and “{same.name}” are the same file. Take one of them out.")


def check_captions(pictures: Sequence[Asset]) -> None:
    """Raises ValueError when some pictures have a caption and others not."""
    without = [each for each in pictures if not each.caption]
    if without and len(without) < len(pictures):
        raise ValueError(
            f"{_named(without, verb='have')} no caption, and others do. Write the missing ones on the pictures’ pages, "
            "or leave all captions out."
        )


def copies(pictures: Sequence[Asset], work: Work) -> list[ffmpeg.Copied]:
    """Clean copies of the pictures, in their order. Raises ToolFailed for one that cannot be read or is there twice."""
    if len(pictures) < COUNT_MIN:
        raise ToolFailed("Pictures that it was to learn from were deleted for good. You were not charged.")
    limits = ffmpeg.Limits.of(work.settings)
    found: list[ffmpeg.Copied] = []
    for at in range(0, len(pictures), COPIES_AT_ONCE):
        some = pictures[at : at + COPIES_AT_ONCE]
        made = ffmpeg.copies([work.fetch(each) for each in some], work.folder / f"copies-{at}", SIDE_MAX, limits)
        for picture, copy in zip(some, made, strict=True):
            if isinstance(copy, UnusableMedia):
                raise ToolFailed(f"“{picture.name}” cannot be used: {copy} Take it out. You were not charged.")
            found.append(copy)
        work.progress((at + len(some)) / len(pictures))
    _check_likeness(pictures, found)
    return found


def pack(pictures: Sequence[Asset], made: Sequence[ffmpeg.Copied], path: Path, *, has_captions: bool) -> None:
    """Our own ZIP: numbered pictures and their captions, nothing of what people call them. Always the same bytes."""
    files: list[tuple[str, Path | str]] = []
    for number, (picture, copy) in enumerate(zip(pictures, made, strict=True), start=1):
        files.append((f"{number:03}.jpg", Path(copy.path)))
        if has_captions and picture.caption:
            files.append((f"{number:03}.txt", picture.caption))
    archives.write(path, files)


def _check_likeness(pictures: Sequence[Asset], made: Sequence[ffmpeg.Copied]) -> None:
    """Another size or quality of the same picture teaches nothing and counts twice."""
    for at, copy in enumerate(made):
        for before in range(at):
            if copy.is_like(made[before]):
                raise ToolFailed(
                    f"“{pictures[at].name}” and “{pictures[before].name}” show the same. Take one of them out. "
                    "You were not charged."
                )


def _named(pictures: Sequence[Asset], verb: str = "are") -> str:
    """The first few by name, and the verb that fits."""
    names = ", ".join(f"“{each.name}”" for each in pictures[:NAMED_MAX])
    more = f" and {len(pictures) - NAMED_MAX} more" if len(pictures) > NAMED_MAX else ""
    if len(pictures) == 1:
        verb = {"are": "is", "have": "has"}[verb]
    return f"{names}{more} {verb}"


def _it(pictures: Sequence[Asset]) -> str:
    return "it" if len(pictures) == 1 else "them"
