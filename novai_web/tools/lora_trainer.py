"""LoRA Creator: pictures of somebody or something become a model that can be named in a prompt."""

import json
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from novai_web import __version__, consents, prices
from novai_web.config import MEGABYTE, Settings
from novai_web.errors import ToolFailed, UnusableMedia
from novai_web.library import editing, safetensors, words
from novai_web.library.models import Asset
from novai_web.library.safetensors import Weights
from novai_web.tools import training_pictures, vendored
from novai_web.tools.likeness import Consent, For, hold, insist
from novai_web.tools.picks import Pictures, reading_of
from novai_web.tools.tool import Estimate, Input, Made, Step, Tool, Work
from novai_web.tools.training_pictures import COUNT_MIN
from novai_web.vendors import Done, File, menu
from novai_web.vendors.fal import Fal

ENGINE = "training"
SLUG = "lora-trainer"
# Both files of a trained model, and room for sending them on.
WEIGHTS_BYTES = 700 * MEGABYTE
CONFIG_BYTES_MAX = MEGABYTE
SECONDS_TO_BEGIN, SECONDS_A_STEP = 120, 1.5
SECONDS_IN_THE_SANDBOX = 10  # beside what a run takes there


class TrainerInput(Input):
    pictures: Pictures = Field(
        title="Pictures", description=f"At least {COUNT_MIN}, each another one: sharp, well lit, from several sides."
    )
    name: str = Field(title="Name", max_length=words.NAME_CHARACTERS_MAX, description="What the model is called.")
    trigger: str = Field(
        title="Trigger word",
        max_length=40,
        description="The word that calls it up in a prompt: one that means nothing else, such as ohwx.",
    )
    steps: int = Field(
        1000, ge=100, le=6000, title="Steps", description="How long it learns. More is dearer, and can be too much."
    )
    learning_rate: float = Field(
        0.0007, ge=1e-6, le=0.1, title="Learning rate", description="How much it learns at a time. 0.0007 suits most."
    )
    is_style: bool = Field(
        False, title="It is a style", description="Not a person or a thing, but how all of it looks."
    )
    captions: Literal["use", "leave-out"] = Field(
        "use",
        validate_default=True,
        title="Captions",
        description="What the pictures show, as written on their pages or in the text files of a ZIP.",
    )
    consent: Annotated[Consent, For(SLUG)] = Field(
        title="Whose likeness is it?", description="No job without it: a consent, or that no real person is shown."
    )

    @field_validator("pictures")
    @classmethod
    def _can_be_learned(cls, pictures: list[Asset], info: ValidationInfo) -> list[Asset]:
        if not reading_of(info).is_begun:
            training_pictures.check(pictures)
        return pictures

    @field_validator("name")
    @classmethod
    def _can_be_read(cls, name: str) -> str:
        clean = words.name(name)
        if not clean:
            raise ValueError("Give it a name of at least one visible character.")
        return clean

    @field_validator("trigger")
    @classmethod
    def _is_a_word(cls, trigger: str) -> str:
        if not editing.TRIGGER.fullmatch(trigger.strip()):
            raise ValueError(editing.NO_TRIGGER)
        return trigger.strip()

    @field_validator("captions")
    @classmethod
    def _are_all_there(cls, captions: str, info: ValidationInfo) -> str:
        if captions == "use" and info.data.get("pictures") and not reading_of(info).is_begun:
            training_pictures.check_captions(info.data["pictures"])
        return captions


def price(given: TrainerInput, settings: Settings) -> int:
    """What the vendor takes for so many steps, of which it bills at least 100, and the house's share."""
    vendor = menu.fal(ENGINE, settings)
    return prices.credits(vendor.name, settings.fal_trainer_model, given.steps, settings)


def estimate(given: TrainerInput, settings: Settings) -> Estimate:
    size = sum(picture.size_bytes for picture in given.pictures)
    seconds = SECONDS_TO_BEGIN + SECONDS_A_STEP * given.steps
    if menu.fal(ENGINE, settings).is_sandbox:
        seconds = settings.sandbox_seconds + SECONDS_IN_THE_SANDBOX
    return Estimate(1, seconds, size + WEIGHTS_BYTES)


def check(given: TrainerInput, work: Work) -> None:
    """Read every picture, so that no vendor is paid to refuse one; and note what this will cost the house."""
    vendor, model = _vendor(work), work.settings.fal_trainer_model
    work.notes["cost_microusd"] = prices.cost_microusd(vendor.name, model, given.steps)
    _packed(given, work)


def send(given: TrainerInput, work: Work) -> None:
    """Lend our own clean ZIP to the vendor. That is free, and may be repeated."""
    insist(given, work)
    packed = _packed(given, work)
    work.notes["sha256"] = _sha256(packed)
    work.notes["url"] = work.upload(_vendor(work), packed, mime="application/zip", name="pictures.zip")
    work.notes["request"] = _made_of(given, work)


def _packed(given: TrainerInput, work: Work) -> Path:
    """Our own ZIP, made once a slice."""
    path = work.folder / "pictures.zip"
    if not path.exists():
        made = training_pictures.copies(given.pictures, work)
        training_pictures.pack(given.pictures, made, path, has_captions=given.captions == "use")
    return path


def train(given: TrainerInput, work: Work) -> None:
    """One paid run, of which a slice now and then asks how it is doing."""
    _paid(given, work)


def deliver(given: TrainerInput, work: Work) -> None:
    """Fetch both files at once, believe nothing of them, and keep them as one model."""
    done = _paid(given, work)
    low, low_weights = _weights(done, "low", work)
    high, high_weights = _weights(done, "high", work)
    previews = {"high": high}
    if config := _config(done, work):
        previews["config"] = config
    media = low_weights.to_json() | {"trigger": given.trigger, "high": high_weights.to_json()}
    made = _made(given, low, media, previews, _recipe(given, done, work))
    work.keep(low, made, insisting=lambda: hold(given))


def _vendor(work: Work) -> Fal:
    """Raises NotConfigured and BegunInSandbox."""
    return vendored.stay(work, menu.fal(ENGINE, work.settings))


def _request(given: TrainerInput, work: Work) -> dict[str, Any]:
    """As it was when the pictures were sent: a setting that changes while it is trained asks for nothing else."""
    request: dict[str, Any] = work.notes.get("request") or _made_of(given, work)
    return request


def _made_of(given: TrainerInput, work: Work) -> dict[str, Any]:
    return _vendor(work).training_request(
        zip_url=work.notes["url"],
        trigger=given.trigger,
        steps=given.steps,
        learning_rate=given.learning_rate,
        is_style=given.is_style,
    )


def _paid(given: TrainerInput, work: Work) -> Done:
    insist(given, work)
    return vendored.pay(work, _vendor(work), _request(given, work), work.notes["cost_microusd"])


def _weights(done: Done, which: str, work: Work) -> tuple[Path, Weights]:
    """One of the two files of weights. Raises ToolFailed for what is none: it is looked at like an upload."""
    file = _file(done.files, which)
    if file is None:
        raise ToolFailed(f"The vendor sent no {which}-noise weights. You were not charged; trying again may help.")
    path = work.bring(_vendor(work), file)
    try:
        found = safetensors.read(path)
    except UnusableMedia as problem:
        raise ToolFailed(
            f"The {which}-noise weights that the vendor sent cannot be used. {problem} You were not charged."
        ) from problem
    return path.replace(path.with_name(f"{which}.safetensors")), found


def _config(done: Done, work: Work) -> Path | None:
    """How it was trained, as the vendor says; a model is as good without it, so what is no JSON is left out."""
    file = _file(done.files, "config")
    if file is None:
        return None
    path = work.bring(_vendor(work), file)
    try:
        is_config = path.stat().st_size <= CONFIG_BYTES_MAX and isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, RecursionError):
        is_config = False
    return path.replace(path.with_name("config.json")) if is_config else None


def _file(files: Sequence[File], part: str) -> File | None:
    return next((file for file in files if file.part == part), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _recipe(given: TrainerInput, done: Done, work: Work) -> dict[str, Any]:
    return {
        "tool": tool.slug,
        "version": __version__,
        "input": given.model_dump(mode="json"),
        "sha256": {"zip": work.notes["sha256"], "pictures": [picture.sha256 for picture in given.pictures]},
        "vendor": vendored.of(_vendor(work), _request(given, work), done),
        "consent": consents.recipe_of(given.consent),
    }


def _made(
    given: TrainerInput, low: Path, media: dict[str, Any], previews: Mapping[str, Path], recipe: dict[str, Any]
) -> Made:
    return Made(
        kind="model",
        type="generated",
        origin="made",
        name=given.name,
        mime="application/octet-stream",
        sha256=_sha256(low),
        media=media,
        recipe=recipe,
        sources=[("picture", picture) for picture in given.pictures],
        previews=previews,
    )


tool = Tool(
    slug=SLUG,
    title="LoRA Creator",
    about="Ten pictures or more of a person, a thing or a style become a model that pictures can be made with.",
    icon="brain-circuit",
    input=TrainerInput,
    price=price,
    estimate=estimate,
    name=lambda given: str(given.name),
    steps=(
        Step("Checking the pictures", check, weight=2),
        Step("Sending the pictures", send, weight=2),
        Step("Training", train, weight=30),
        Step("Fetching the model", deliver, weight=4),
    ),
    makes=("model",),
    queue="io",
    deadline_seconds=6 * 3600,
    engine=ENGINE,
)
