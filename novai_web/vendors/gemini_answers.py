"""What Gemini answers: the shapes of it, what a picture in it is, what a reason means, what it costs."""

import base64
import binascii
import math
import re
from collections.abc import Iterator

from pydantic import BaseModel, Field, JsonValue, ValidationError

from novai_web.vendors import Content, Doubtful, Finished, Refused, VendorFailed

PARTS_MAX = 1000
TOKENS_MAX = 10_000_000
ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
KINDS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

# Millionths of a US dollar a token: of what it is told, of words and thoughts it gives, of pictures (LiteLLM 1.109.1,
# read 2026-11-21). They are what Google bills, and only for the record; what people pay stands in the table of prices.
RATES = {"gemini-nano-banana-2.1": (1.5, 7.5, 30.0)}

# Why it stopped, where that is about what it was asked for: asking again is of no use.
_SAFETY = "Its safety rules forbid this."
_WORK = "The picture would be too close to somebody else's work."
_KIND = "It makes no pictures of this kind."
FORBIDDEN = {
    "SAFETY": _SAFETY,
    "IMAGE_SAFETY": _SAFETY,
    "MODEL_ARMOR": _SAFETY,
    "PROHIBITED_CONTENT": _KIND,
    "IMAGE_PROHIBITED_CONTENT": _KIND,
    "BLOCKLIST": "There is a word in the description that it does not take.",
    "SPII": "The picture would show somebody's personal data.",
    "RECITATION": _WORK,
    "IMAGE_RECITATION": _WORK,
    "JAILBREAK": "It takes the description for an attempt to get round its rules.",
}


class Inline(BaseModel):
    data: str


class Part(BaseModel):
    text: str | None = None
    inline: Inline | None = Field(None, alias="inlineData")
    thought: bool | None = None


class Said(BaseModel):
    parts: list[Part] | None = Field(None, max_length=PARTS_MAX)


class Candidate(BaseModel):
    content: Said | None = None
    reason: str | None = Field(None, alias="finishReason")

    @property
    def answer(self) -> list[Part]:
        """Its parts without the drafts of a model that thinks aloud."""
        parts = self.content.parts if self.content else None
        return [part for part in parts or () if not part.thought]


class Feedback(BaseModel):
    reason: str | None = Field(None, alias="blockReason")


class Response(BaseModel):
    candidates: list[Candidate] | None = Field(None, max_length=20)
    feedback: Feedback | None = Field(None, alias="promptFeedback")
    usage: JsonValue = Field(None, alias="usageMetadata")  # nonsense here is no reason to lose a picture
    id: JsonValue = Field(None, alias="responseId")


class Count(BaseModel):
    modality: str
    tokens: int = Field(0, alias="tokenCount", ge=0, le=TOKENS_MAX)


class Usage(BaseModel):
    told: int = Field(0, alias="promptTokenCount", ge=0, le=TOKENS_MAX)
    made: int = Field(0, alias="candidatesTokenCount", ge=0, le=TOKENS_MAX)
    thought: int = Field(0, alias="thoughtsTokenCount", ge=0, le=TOKENS_MAX)
    details: list[Count] | None = Field(None, alias="candidatesTokensDetails", max_length=20)


class Problem(BaseModel):
    """What went wrong, in Google's own words."""

    message: str = ""
    status: str = ""
    details: list[dict[str, JsonValue]] = Field([], max_length=50)

    @property
    def is_about_the_key(self) -> bool:
        """An invalid key is a 400 here; one without the right to this service a 403."""
        return self.status in ("PERMISSION_DENIED", "UNAUTHENTICATED") or any(
            each.get("reason") == "API_KEY_INVALID" for each in self.details
        )

    @property
    def is_used_up_for_today(self) -> bool:
        return any("PerDay" in str(each.get("violations")) for each in self.details)

    @property
    def retry_after(self) -> float | None:
        """Seconds, from google.rpc.RetryInfo: `{"retryDelay": "41s"}`."""
        for each in self.details:
            if found := re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)s", str(each.get("retryDelay"))):
                return math.ceil(float(found[1]))
        return None


class Envelope(BaseModel):
    error: Problem


class Described(BaseModel):
    """A model, as it is shown to whoever may use it."""

    name: str = Field(pattern=r"^models/")


def is_described(body: bytes) -> bool:
    """Whether this is a description of a model."""
    try:
        return bool(Described.model_validate_json(body).name)
    except ValidationError:
        return False


def finished(body: bytes, model: str, marker: str) -> Finished:
    """The pictures of an answer with status 200. Raises Refused, VendorFailed, or Doubtful for what is no answer."""
    try:
        response = Response.model_validate_json(body)
    except ValidationError as problem:
        raise Doubtful("an answer that is not Gemini's") from problem
    if not response.candidates:
        if response.feedback is None:
            raise Doubtful("an answer that is not Gemini's")
        raise _blocked(response.feedback.reason)
    candidate = response.candidates[0]
    if candidate.reason in FORBIDDEN:
        raise _blocked(candidate.reason)
    contents = list(_pictures(candidate.answer))
    if not contents:
        raise VendorFailed(_instead(candidate))
    external_id = response.id if isinstance(response.id, str) and ID.fullmatch(response.id) else marker
    return Finished(external_id, contents, _cost_microusd(response.usage, model))


def _blocked(reason: str | None) -> Refused:
    return Refused(FORBIDDEN.get(reason or "", "It did not say why."))


def _instead(candidate: Candidate) -> str:
    """What it gave in place of a picture."""
    words = " ".join(part.text for part in candidate.answer if part.text).strip()
    return f"It answered in words instead of a picture: {words}" if words else "It finished and gave no picture back."


def _pictures(parts: list[Part]) -> Iterator[Content]:
    for number, inline in enumerate((part.inline for part in parts if part.inline), 1):
        try:
            data = base64.b64decode(inline.data, validate=True)
        except (binascii.Error, ValueError) as problem:
            raise VendorFailed("What it sent as a picture cannot be read.") from problem
        if (mime := mime_of(data)) is None:
            raise VendorFailed("What it sent as a picture is none.")
        yield Content(data, f"picture {number}.{KINDS[mime]}", mime)


def mime_of(data: bytes) -> str | None:
    """What kind of picture this is, from its first bytes; None: none that NOVAI takes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _cost_microusd(said: JsonValue, model: str) -> int | None:
    """What the tokens of an answer cost, in millionths of a US dollar; None where that is not known."""
    try:
        usage = Usage.model_validate(said)
    except ValidationError:
        return None
    if model not in RATES or not usage.made:
        return None
    told, words, pictures = RATES[model]
    drawn = sum(each.tokens for each in usage.details if each.modality == "IMAGE") if usage.details else usage.made
    spoken = max(0, usage.made - drawn) + usage.thought
    return math.ceil(usage.told * told + spoken * words + drawn * pictures)
