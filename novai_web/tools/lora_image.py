"""LoRA Image: pictures with a trained model. Each one is a job and a paid run of its own; together they are a batch."""

import secrets
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from novai_web import __version__, consents, prices
from novai_web.config import MEGABYTE, Pace, Settings
from novai_web.errors import InvalidInput
from novai_web.library import sent
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.tools import vendored
from novai_web.tools.picks import Model, reading_of
from novai_web.tools.results import Looked, look_over
from novai_web.tools.tool import Estimate, Input, Made, Part, Promise, Step, Tool, Work
from novai_web.vendors import Done, Refused, VendorFailed, menu
from novai_web.vendors.fal import Fal

ENGINE = "pictures"
SLUG = "lora-image"
COUNT_MAX = 50
SEED_MAX = 2**31 - 1
SECONDS_A_PICTURE, PICTURE_BYTES = 20, 2 * MEGABYTE

# Width and height in pixels.
SIZES = {
    "square": (1024, 1024),
    "portrait": (768, 1024),
    "tall": (576, 1024),
    "landscape": (1024, 768),
    "wide": (1024, 576),
}


class PicturesInput(Input):
    model: Model = Field(title="Model", description="One that was trained here, or whose file you sent.")
    prompt: str = Field(
        title="Prompt",
        min_length=3,
        max_length=2000,
        description="What the pictures show. The model’s trigger word is put in front if it is not in it.",
    )
    negative: str = Field("", max_length=500, title="Not in the picture", description="What should not be seen.")
    size: Literal["square", "portrait", "tall", "landscape", "wide"] = Field(
        "square", title="Shape", description="Square is 1:1, portrait 3:4, tall 9:16, landscape 4:3, wide 16:9."
    )
    count: int = Field(
        1, ge=1, le=COUNT_MAX, title="How many", description="Each is another picture of the same prompt."
    )
    strength: float = Field(
        1.0,
        ge=0,
        le=2,
        title="Strength of the model",
        description="1 as it was trained; less lets more of the rest in.",
    )
    seed: int = Field(
        default_factory=lambda: secrets.randbelow(SEED_MAX - COUNT_MAX),
        ge=0,
        le=SEED_MAX - COUNT_MAX,
        title="Seed",
        description="Empty: another one each time. The same number makes the same pictures again.",
    )

    @field_validator("model")
    @classmethod
    def _may_be_used(cls, model: Asset, info: ValidationInfo) -> Asset:
        if problem := _problem(model, consents.behind(reading_of(info).library, model)):
            raise ValueError(problem)
        return model

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("Say what the pictures should show.")
        return prompt.strip()


def _problem(model: Asset, consent: consents.Consent | None) -> str:
    """Why it may not be used; empty if it may."""
    if consent is None or consent.is_usable:
        return ""
    was = "revoked" if consent.is_revoked else "given only until a day that is over"
    return f"The consent that “{model.name}” was trained with was {was}. Pick another model."


def _hold(model: Asset) -> None:
    """Look once more in the transaction that delivers. Raises InvalidInput."""
    if problem := _problem(model, consents.behind(Library(model.account_id), model, hold=True)):
        raise InvalidInput({"model": problem})


def price(given: PicturesInput, settings: Settings) -> int:
    """What the vendor takes for so many pictures, and the house's share."""
    vendor = menu.fal(ENGINE, settings)
    return prices.credits(vendor.name, settings.fal_picture_model, given.count, settings)


def estimate(given: PicturesInput, settings: Settings) -> Estimate:
    each = settings.sandbox_seconds if menu.fal(ENGINE, settings).is_sandbox else SECONDS_A_PICTURE
    return Estimate(given.count, 10 + each * (1 + given.count / 2), given.count * PICTURE_BYTES)


def split(given: PicturesInput, settings: Settings) -> Sequence[Part]:
    """One job a picture, each with a seed of its own."""
    return [
        Part(given, [Promise(n, f"{given.model.name} {n + 1}.png", {"seed": given.seed + n})])
        for n in range(given.count)
    ]


def send(given: PicturesInput, work: Work) -> None:
    """Lend the model's files to the vendor, unless it has them still. That is free, and may be repeated."""
    vendor = _vendor(work)
    work.notes["cost_microusd"] = prices.cost_microusd(vendor.name, work.settings.fal_picture_model, 1)
    work.notes["prompt"] = prompt_of(given)  # the trigger word may be edited while this runs
    known: dict[str, str] = {}
    work.write(lambda: known.update(sent.known(given.model, _place(vendor))))
    for part in ("original", "high"):
        if part == "high" and not given.model.has(part):
            work.notes[part] = ""
            continue
        work.notes[part] = known.get(part) or _sent(given.model, part, work)
    work.notes["picture_model"] = work.settings.fal_picture_model


def _sent(model: Asset, part: str, work: Work) -> str:
    """Under a name of ours: what a person calls it is nobody else's business."""
    vendor = _vendor(work)
    path = work.fetch(model, part)
    url = work.upload(vendor, path, mime="application/octet-stream", name=f"{part}.safetensors")
    work.write(lambda: sent.remember(model, part, _place(vendor), url))
    return url


def paint(given: PicturesInput, work: Work) -> None:
    """One paid run; what comes back is looked at like an upload before it is kept."""
    vendor = _vendor(work)
    for promise in list(work.promises):
        request = _request(given, promise, work)
        try:
            done = vendored.pay(work, vendor, request, work.notes["cost_microusd"])
        except (Refused, VendorFailed):
            # It may be the model's files that it has lost: the next one sends them anew.
            work.write(lambda: sent.forget(given.model, _place(vendor)))
            raise
        looked = look_over(work.bring(vendor, done.files[0]), "image", work)
        made = _made(given, promise, looked, done, work)
        work.keep(looked.path, made, n=promise.n, insisting=lambda: _hold(given.model))


def _vendor(work: Work) -> Fal:
    """Raises NotConfigured and BegunInSandbox."""
    return vendored.stay(work, menu.fal(ENGINE, work.settings))


def _place(vendor: Fal) -> str:
    """Whose shelf the files lie on: the sandbox's is another than the vendor's."""
    return f"{vendor.name}-sandbox" if vendor.is_sandbox else vendor.name


def prompt_of(given: PicturesInput) -> str:
    """With the word that calls the model up."""
    trigger = str(given.model.media.get("trigger") or "")
    is_in_it = trigger.casefold() in given.prompt.casefold()
    return given.prompt if is_in_it else f"{trigger}, {given.prompt}"


def _request(given: PicturesInput, promise: Promise, work: Work) -> dict[str, Any]:
    """As it was when the model was sent: a setting that changes meanwhile asks for nothing else."""
    request = _vendor(work).picture_request(
        prompt=work.notes["prompt"],
        low_url=work.notes["original"],
        high_url=work.notes["high"],
        size=SIZES[given.size],
        seed=promise.spec["seed"],
        negative=given.negative,
        scale=given.strength,
    )
    return request | {"model": work.notes.get("picture_model", request["model"])}


def _made(given: PicturesInput, promise: Promise, looked: Looked, done: Done, work: Work) -> Made:
    model = given.model
    return Made(
        kind="image",
        type="generated",
        origin="made",
        name=promise.name.rpartition(".")[0],
        mime=looked.media.mime,
        sha256=looked.sha256,
        media=looked.media.to_json(),
        recipe={
            "tool": tool.slug,
            "version": __version__,
            "input": given.model_dump(mode="json"),
            "prompt": work.notes["prompt"],
            "seed": promise.spec["seed"],
            "sha256": {"model": model.sha256},
            "vendor": vendored.of(_vendor(work), _request(given, promise, work), done),
        },
        sources=[("model", model)],
        previews=looked.previews,
    )


tool = Tool(
    slug=SLUG,
    title="LoRA Image",
    about="Pictures of whoever or whatever a model has learned, as many as you like.",
    icon="wand-sparkles",
    input=PicturesInput,
    price=price,
    estimate=estimate,
    split=split,
    name=lambda given: str(given.model.name),
    steps=(Step("Sending the model", send, weight=3), Step("Painting", paint, weight=7)),
    makes=("image",),
    queue="io",
    deadline_seconds=1800,
    pace=Pace(parallel=5, starts_per_second=5),
    engine=ENGINE,
    is_kept=True,
)
