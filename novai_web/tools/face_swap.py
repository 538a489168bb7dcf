"""Face swap: videos get another face. Each video is a job and a paid run of its own; together they are a batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from novai_web import __version__, choices, consents, prices
from novai_web.config import MEGABYTE, Settings
from novai_web.errors import InvalidInput, ToolFailed
from novai_web.library import words
from novai_web.library.models import Asset
from novai_web.tools import vendored
from novai_web.tools.likeness import Consent, For, hold, insist
from novai_web.tools.picks import Picture, Videos
from novai_web.tools.results import Looked, look_over
from novai_web.tools.tool import Estimate, Input, Made, Part, Promise, Step, Tool, Work
from novai_web.vendors import Swapping, menu
from novai_web.vendors.fal import Fal
from novai_web.vendors.picsi import Picsi
from novai_web.vendors.wavespeed import WaveSpeed

ENGINE = "faces"
SLUG = "face-swap"
TYPE = "swapped"
# The shortest of what the vendors take: ten minutes and 200 MB at WaveSpeed.
SECONDS_MAX = 600
BYTES_MAX = 200 * MEGABYTE
CONTAINERS = ("mp4", "mov", "webm")
FACE_SIDE_MIN = 64
FACE_BYTES_MAX = 20 * MEGABYTE
VIDEOS_MAX = 200
WHICH_MAX = 10
# What a vendor may leave off at the end, of the clip's length, before it counts as half of a result.
SHORTER_SHARE_MAX, SHORTER_SECONDS_MAX = 0.05, 0.5
SECONDS_A_SECOND = 8  # of the vendors' time for one of the clip


class SwapInput(Input):
    videos: Videos = Field(title="Videos", description="The clips that get the face: up to ten minutes each.")
    face: Picture = Field(title="Face", description="A diagram, or a picture of one face that looks at the camera.")
    which: int = Field(
        0,
        ge=0,
        le=WHICH_MAX,
        title="Which face in the clip",
        description="0 is the largest one, 1 the next, and so on. With one person in the clip leave it at 0.",
    )
    consent: Annotated[Consent, For(SLUG)] = Field(
        title="Whose face is it?", description="That person’s consent, or the statement that nobody has this face."
    )

    @field_validator("videos")
    @classmethod
    def _can_be_swapped(cls, videos: list[Asset]) -> list[Asset]:
        if not videos:
            raise ValueError("Pick at least one video.")
        if len(videos) > VIDEOS_MAX:
            raise ValueError(f"At most {VIDEOS_MAX} videos at once; this is {len(videos)}.")
        for video in videos:
            _check_video(video)
        return videos

    @field_validator("face")
    @classmethod
    def _can_be_seen(cls, face: Asset) -> Asset:
        if min(face.width or FACE_SIDE_MIN, face.height or FACE_SIDE_MIN) < FACE_SIDE_MIN:
            raise ValueError(f"“{face.name}” is smaller than {FACE_SIDE_MIN} pixels. Pick a larger picture.")
        if face.size_bytes > FACE_BYTES_MAX:
            raise ValueError(f"“{face.name}” is larger than 20 MB. Save it smaller, as JPEG for instance.")
        return face


def _check_video(video: Asset) -> None:
    seconds, container = video.duration_seconds or 0.0, video.media.get("container", "mp4")
    if seconds > SECONDS_MAX:
        raise ValueError(
            f"“{video.name}” is {seconds / 60:.0f} minutes long; at most {SECONDS_MAX // 60} can be swapped. "
            "Cut it first."
        )
    if video.size_bytes > BYTES_MAX:
        raise ValueError(
            f"“{video.name}” has {video.size_bytes // MEGABYTE} MB; at most {BYTES_MAX // MEGABYTE} can be sent. "
            "Export it smaller."
        )
    if container not in CONTAINERS:
        raise ValueError(f"“{video.name}” is a file that the vendors do not take. Export it as MP4.")


def price(given: SwapInput, settings: Settings) -> int:
    """What the vendor takes for the seconds of each video, and the house's share."""
    return sum(_credits(given, settings))


def _credits(given: SwapInput, settings: Settings) -> list[int]:
    """For each video, in their order."""
    name = menu.swapper(choices.chosen(ENGINE, settings), settings).name
    cost = prices.find(name, model_of(name, settings))
    return [prices.charged(cost.cost_microusd(video.duration_seconds or 0.0), settings) for video in given.videos]


def model_of(vendor: str, settings: Settings) -> str:
    """The model that swaps faces at this vendor, as the table of prices has it."""
    models = {
        Fal.name: settings.fal_swap_model,
        WaveSpeed.name: settings.wavespeed_swap_model,
        Picsi.name: settings.picsi_model,
    }
    return models[vendor]


def estimate(given: SwapInput, settings: Settings) -> Estimate:
    seconds = sum(video.duration_seconds or 0.0 for video in given.videos)
    longest = max((video.duration_seconds or 0.0 for video in given.videos), default=0.0)
    size = sum(video.size_bytes for video in given.videos) + int(seconds) * MEGABYTE
    return Estimate(len(given.videos), 30 + SECONDS_A_SECOND * max(longest, seconds / 5), size)


def split(given: SwapInput, settings: Settings) -> Sequence[Part]:
    """One job a video, which holds what that video costs."""
    _check_which(given, choices.chosen(ENGINE, settings))
    return [
        Part(
            given.model_copy(update={"videos": [video]}),
            [Promise(n, f"{_name(video, given)}.mp4", {"video": video.id})],
            credits=credits,
        )
        for n, (video, credits) in enumerate(zip(given.videos, _credits(given, settings), strict=True))
    ]


def _check_which(given: SwapInput, vendor: str) -> None:
    """Raises InvalidInput where the vendor would put the face on somebody else."""
    if given.which and vendor == Fal.name:
        raise InvalidInput({"which": "fal swaps the main face of a clip only. Leave this at 0."})


def _name(video: Asset, given: SwapInput) -> str:
    return words.name(f"{video.name}, {given.face.name}")


def check(given: SwapInput, work: Work) -> None:
    """Note who will swap it, so that the job stays with them. Somebody else may have been chosen since the submit."""
    _check_which(given, work.notes.setdefault("vendor", choices.chosen(ENGINE, work.settings)))
    _vendor(work)


def send(given: SwapInput, work: Work) -> None:
    """Lend both files to the vendor, which is free. What is paid for, and its cost, are noted as they stand now."""
    vendor = _vendor(work)
    insist(given, work)
    video = given.videos[0]
    addresses = {"video_url": _upload(vendor, video, work), "face_url": _upload(vendor, given.face, work)}
    work.notes["request"] = request = vendor.swap_request(**addresses, which=given.which)
    work.notes["cost_microusd"] = prices.cost_microusd(vendor.name, request["model"], video.duration_seconds or 0.0)


def _upload(vendor: Swapping, asset: Asset, work: Work) -> str:
    """Under a name of ours, for what a person calls it is nobody else's business; the sandbox is told, because that is
    how trouble is asked of it."""
    path = work.fetch(asset)
    name = f"{asset.name if vendor.is_sandbox else asset.kind}{path.suffix}"
    return work.upload(vendor, path, mime=asset.mime, name=name)


def swap(given: SwapInput, work: Work) -> None:
    """One paid run. A consent that was revoked while it lasted keeps its result from being delivered."""
    vendor = _vendor(work)
    request = work.notes["request"]
    insist(given, work)
    answer = vendored.pay(work, vendor, request, work.notes["cost_microusd"])
    looked = _looked(work.bring(vendor, answer.files[0]), given.videos[0], work)
    for promise in list(work.promises):
        made = _made(given, looked, {"vendor": vendored.of(vendor, request, answer)})
        work.keep(looked.path, made, n=promise.n, insisting=lambda: hold(given))


def _vendor(work: Work) -> Swapping:
    return vendored.stay(work, menu.swapper(work.notes["vendor"], work.settings))


def _looked(path: Path, source: Asset, work: Work) -> Looked:
    """Raises ToolFailed for what is no video, or half of one."""
    looked = look_over(path, "video", work)
    wanted, got = source.duration_seconds or 0.0, looked.media.duration_seconds or 0.0
    if got < wanted - max(SHORTER_SECONDS_MAX, SHORTER_SHARE_MAX * wanted):
        raise ToolFailed(
            f"The vendor sent {got:.1f} of {wanted:.1f} seconds. You were not charged; trying again may help."
        )
    return looked


def _made(given: SwapInput, looked: Looked, more: Mapping[str, Any]) -> Made:
    video = given.videos[0]
    return Made(
        kind="video",
        type=TYPE,
        origin="composite",
        name=_name(video, given),
        mime=looked.media.mime,
        sha256=looked.sha256,
        media=looked.media.to_json(),
        recipe={
            "tool": tool.slug,
            "version": __version__,
            "input": given.model_dump(mode="json"),
            "sha256": {"video": video.sha256, "face": given.face.sha256},
            "consent": consents.recipe_of(given.consent),
            **more,
        },
        sources=[("video", video), ("face", given.face)],
        previews=looked.previews,
    )


def _title(given: SwapInput) -> str:
    first = given.videos[0].name
    return f"{first} with another face" if len(given.videos) == 1 else f"{first} and {len(given.videos) - 1} more"


tool = Tool(
    slug=SLUG,
    title="AI Swapper",
    about="Videos get another face, with the consent of the person whose face it is.",
    icon="scan-face",
    input=SwapInput,
    price=price,
    estimate=estimate,
    split=split,
    name=_title,
    steps=(Step("Checking", check), Step("Sending the files", send, weight=2), Step("Swapping", swap, weight=12)),
    makes=("video",),
    queue="io",
    engine=ENGINE,
    is_kept=True,
    deadline_seconds=3 * 3600,
)
