"""What WaveSpeed answers: the shapes in its envelope, and what its codes mean."""

import re
from typing import TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError

from novai_web.vendors import sentence

URL_CHARACTERS_MAX = 2000
OVER = ("failed", "cancelled", "timeout", "deleted")
MODERATED = 1200
# https://wavespeed.ai/docs: a task that failed says why with a number, and the answer around it has status 200.
WORDS = {
    MODERATED: "Its rules forbid this content.",
    1400: "Something that it needs was missing.",
    1401: "It did not take what it was asked for.",
    1402: "It could not fetch a file that it was given.",
    5003: "It was not available.",
    5004: "It took too long.",
}
_MODERATION = re.compile(r"content policy|moderation|nsfw|sensitive", re.IGNORECASE)
_MARKER = re.compile(r"novai-[0-9a-f-]{10,100}", re.ASCII)


class Envelope(BaseModel):
    """Around every answer. Its code repeats the status, or contradicts it, and then it is right."""

    code: int
    message: str = ""
    data: JsonValue = None


class Prediction(BaseModel):
    """A run."""

    id: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")
    status: str = Field(max_length=100)
    outputs: JsonValue = None
    code: JsonValue = None
    error: JsonValue = None

    @property
    def urls(self) -> list[str]:
        """Where its files are: for some models each is an object around its address."""
        outputs = self.outputs if isinstance(self.outputs, list) else []
        said = [each.get("url") if isinstance(each, dict) else each for each in outputs[:100]]
        return [url for url in said if isinstance(url, str) and len(url) <= URL_CHARACTERS_MAX and "://" in url]

    @property
    def is_refusal(self) -> bool:
        return self.code == MODERATED or (not self.code and bool(_MODERATION.search(str(self.error or ""))))

    @property
    def words(self) -> str:
        """Why there is no result."""
        if self.status != "failed":
            return {"timeout": "It took too long."}.get(self.status, "It was cancelled there.")
        known = WORDS.get(self.code) if isinstance(self.code, int) else None
        said = sentence(self.error) if isinstance(self.error, str) else ""
        return known or said or "It did not say why."


class Listed(BaseModel):
    items: list[JsonValue] = Field(max_length=1000)


class Place(BaseModel):
    """Where to send a file, and with which headers."""

    url: str = Field(max_length=URL_CHARACTERS_MAX * 4)
    headers: dict[str, str] = Field({}, max_length=20)


class Upload(BaseModel):
    upload: Place
    download_url: str = Field(max_length=URL_CHARACTERS_MAX)


class Balance(BaseModel):
    balance: float = Field(allow_inf_nan=False)


Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], said: object) -> Shape | None:
    """What was said in this shape, if it has it: whatever else it is says nothing. Bytes are read as JSON."""
    try:
        return shape.model_validate_json(said) if isinstance(said, bytes) else shape.model_validate(said)
    except ValidationError:
        return None


def marker_in(words: str) -> str:
    """The marker of ours that stands somewhere in what is said about a run, or nothing."""
    found = _MARKER.search(words)
    return found[0] if found else ""
