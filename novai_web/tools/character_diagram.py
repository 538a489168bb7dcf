"""Character diagrams: one picture of somebody becomes a reference sheet that other tools can work from."""

from typing import Literal

from pydantic import Field, field_validator

from novai_web import __version__, prices
from novai_web.config import Settings
from novai_web.library import words
from novai_web.library.models import Asset
from novai_web.tools import vendored
from novai_web.tools.picks import Picture
from novai_web.tools.results import look_over
from novai_web.tools.tool import Estimate, Input, Made, Step, Tool, Work
from novai_web.vendors import Done, VendorFailed, menu
from novai_web.vendors.gemini import Gemini

ENGINE = "diagram"
TYPE = "diagram"
PICTURE_BYTES_MAX = 20 * 1024 * 1024
# Smaller, and there is nothing of a face to be seen.
PICTURE_SIDE_MIN = 128
NOTES_CHARACTERS_MAX = 1000
PROMPT_CHARACTERS_MAX = 4000
SECONDS = 40

PROMPT = """\
Draw a character reference sheet of the one figure in this picture, on a plain light grey background.
Keep face, hair, skin, build, age and clothes exactly as they are in the picture.
Turnaround: the whole figure standing upright, four times in a row, of the same height: from the front, \
from three quarters, from the side, from behind.
Expressions: head and shoulders, six times: neutral, smiling, laughing, sad, angry, surprised.
Details: close views of the eyes, the hair, the hands, the shoes and whatever is worn or carried.
Sharp, in even light, nothing overlapping, with a small plain label under each view and no other text.
The figure is an adult and fully clothed; nothing about it is sexual."""


class DiagramInput(Input):
    picture: Picture = Field(title="Picture", description="One figure, well lit; the more of it is seen, the better.")
    notes: str = Field(
        "",
        max_length=NOTES_CHARACTERS_MAX,
        title="Notes",
        description="What the picture does not show, such as “a scar on the left hand, boots instead of sandals”.",
    )
    aspect: Literal["16:9", "4:3", "1:1", "9:16"] = Field("16:9", title="Shape", description="Of the sheet.")
    prompt: str = Field(
        PROMPT,
        max_length=PROMPT_CHARACTERS_MAX,
        title="Prompt",
        description="What is asked for, besides your notes. It is ours; change it as you like, or empty it.",
    )

    @field_validator("picture")
    @classmethod
    def _can_be_looked_at(cls, picture: Asset) -> Asset:
        if picture.size_bytes > PICTURE_BYTES_MAX:
            raise ValueError("This picture is larger than 20 MB. Save it smaller, as JPEG for instance.")
        if min(picture.width or PICTURE_SIDE_MIN, picture.height or PICTURE_SIDE_MIN) < PICTURE_SIDE_MIN:
            raise ValueError(f"This picture is smaller than {PICTURE_SIDE_MIN} pixels. Pick a larger one.")
        return picture

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        return prompt if prompt.strip() else PROMPT


def price(given: DiagramInput, settings: Settings) -> int:
    """What the vendor takes for one picture, and the house's share."""
    vendor = menu.gemini(settings)
    return prices.credits(vendor.name, vendor.model, 1, settings)


def estimate(given: DiagramInput, settings: Settings) -> Estimate:
    return Estimate(outputs=1, seconds=SECONDS, bytes=4 * 1024 * 1024)


def whole_prompt(given: DiagramInput) -> str:
    """The words that the vendor is sent."""
    notes = given.notes.strip()
    return f"{given.prompt.strip()}\nNotes of the person who asks, about the figure: {notes}" if notes else given.prompt


def check(given: DiagramInput, work: Work) -> None:
    """Note which model will draw it and what that costs; what is missing is said before anything is paid."""
    vendor = vendored.stay(work, menu.gemini(work.settings))
    work.notes.setdefault("model", vendor.model)
    work.notes.setdefault("cost_microusd", prices.cost_microusd(vendor.name, vendor.model, 1))
    work.fetch(given.picture)


def draw(given: DiagramInput, work: Work) -> None:
    """One sheet. A vendor that gives no picture and no reason is asked once more, which the house pays."""
    vendor = vendored.stay(work, menu.gemini(work.settings, model=work.notes["model"]))
    request = _request(given, vendor, work)
    try:
        answer = _paid(vendor, request, work)
    except VendorFailed:
        request = {**request, "try": 2}
        answer = _paid(vendor, request, work)
    looked = look_over(work.bring(vendor, answer.files[0]), "image", work)
    work.keep(
        looked.path,
        Made(
            kind="image",
            type=TYPE,
            origin="made",
            name=_title(given),
            mime=looked.media.mime,
            sha256=looked.sha256,
            media=looked.media.to_json(),
            recipe=_recipe(given) | {"vendor": vendored.of(vendor, request, answer)},
            sources=[("picture", given.picture)],
            previews=looked.previews,
        ),
    )


def _request(given: DiagramInput, vendor: Gemini, work: Work) -> dict[str, object]:
    picture = work.fetch(given.picture)
    return vendor.picture_request(prompt=whole_prompt(given), pictures=[picture], aspect=given.aspect)


def _paid(vendor: Gemini, request: dict[str, object], work: Work) -> Done:
    return vendored.pay(work, vendor, request, work.notes["cost_microusd"])


def _recipe(given: DiagramInput) -> dict[str, object]:
    return {
        "tool": tool.slug,
        "version": __version__,
        "input": given.model_dump(mode="json"),
        "sha256": {"picture": given.picture.sha256},
    }


def _title(given: DiagramInput) -> str:
    return words.name(f"{given.picture.name}, diagram")


tool = Tool(
    slug="character-diagram",
    title="Character Diagrams",
    about="One picture becomes a reference sheet: turnaround, expressions and details.",
    icon="layout-template",
    input=DiagramInput,
    price=price,
    estimate=estimate,
    name=_title,
    steps=(Step("Checking the picture", check), Step("Drawing the sheet", draw, weight=9)),
    makes=("image",),
    queue="io",
    engine=ENGINE,
    deadline_seconds=3600,
)
