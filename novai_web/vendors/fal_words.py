"""The words of fal: the shapes of its answers, and what its errors mean."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError, field_validator

from novai_web.vendors import AccountTrouble, Failed, KeyRejected, OutOfMoney, Refused, sentence
from novai_web.vendors.line import COME_BACK, Answer

TITLE = "fal"
CANCELLED = "client_cancelled"
# What goes wrong between fal and its own machines; nobody is billed for it.
INFRASTRUCTURE = {
    "request_timeout": "It took longer than it may there.",
    "startup_timeout": "It did not begin in time.",
    "runner_scheduling_failure": "It found no machine for this.",
    "runner_connection_timeout": "Its machine did not answer.",
    "runner_disconnected": "Its machine went away.",
    "runner_connection_refused": "Its machine did not answer.",
    "runner_connection_error": "Its machine did not answer.",
    "runner_incomplete_response": "Its machine stopped in the middle.",
    "runner_server_error": "Its machine had an error.",
    "internal_error": "It had an error of its own.",
    "client_disconnected": "It heard no more of us.",
    CANCELLED: "It was cancelled there.",
}
# Errors of a model that are its own, not those of what it was asked for.
ITS_OWN = ("internal_server_error", "generation_timeout", "downstream_service_error", "downstream_service_unavailable")
NO_MONEY = ("exhausted balance", "user is locked", "top up", "insufficient")
PERSONS_WORDS = ("prompt", "negative_prompt", "trigger_phrase")
STEP = re.compile(r"(?P<done>\d{1,7})\s*/\s*(?P<all>\d{1,7})")


class Submitted(BaseModel):
    request_id: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")
    response_url: str = ""
    status_url: str = ""
    cancel_url: str = ""


class Status(BaseModel):
    status: str
    logs: JsonValue = None
    error: str | None = None
    error_type: str | None = None

    @field_validator("error", "error_type", mode="before")
    @classmethod
    def _in_words(cls, said: object) -> str | None:
        return None if said is None else sentence(said)


class Placed(BaseModel):
    upload_url: str = Field(max_length=4000)
    file_url: str = Field(max_length=2000)


class Token(BaseModel):
    token: str = Field(min_length=1)


class Item(BaseModel):
    request_id: str = Field(max_length=100, pattern=r"^[A-Za-z0-9_-]+$")
    json_input: JsonValue = None

    @property
    def addresses(self) -> str:
        """The addresses among what was asked for, as one text to look into. What a person wrote is none of them: there
        anybody's marker may stand."""
        return "\n".join(_addresses(self.json_input))


def _addresses(said: JsonValue) -> Iterator[str]:
    if isinstance(said, str) and said.startswith("http"):
        yield said
    values = said if isinstance(said, list) else ()
    if isinstance(said, dict):
        values = [value for name, value in said.items() if name not in PERSONS_WORDS]
    for each in values:
        yield from _addresses(each)


class Listed(BaseModel):
    items: list[Item] = Field(max_length=1000)
    next_cursor: str | None = Field(None, max_length=2000)


class Detail(BaseModel):
    msg: str = ""
    type: str = ""


class Problem(BaseModel):
    """Both shapes of an error: flat for what is between fal and its machines, a list for what a model says."""

    detail: str | list[Detail] = Field(max_length=10_000)
    error_type: str = ""

    @property
    def words(self) -> str:
        return self.detail if isinstance(self.detail, str) else "; ".join(each.msg for each in self.detail[:3])

    @property
    def types(self) -> list[str]:
        return [] if isinstance(self.detail, str) else [each.type for each in self.detail]


Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], answer: Answer) -> Shape | None:
    """The answer in this shape, if it has it: whatever else it is says nothing."""
    try:
        return shape.model_validate_json(answer.body)
    except ValidationError:
        return None


def place(model: str) -> str:
    """Where a model's requests are: the first two parts of its id, three if it belongs to one of two families."""
    parts = model.split("/")
    return "/".join(parts[: 3 if parts[0] in ("workflows", "comfy") else 2])


def words(answer: Answer) -> str | None:
    """What fal says is wrong; None when these are not its words."""
    said = read(Problem, answer)
    return said.words if said else None


def trouble(answer: Answer) -> AccountTrouble | None:
    """What is wrong with our key or our account, if that is what this answer is about."""
    said = words(answer)
    if said is None or answer.status not in (401, 402, 403):
        return None
    if answer.status == 402 or any(each in said.lower() for each in NO_MONEY):
        return OutOfMoney(TITLE)
    return KeyRejected(TITLE)


def refusal(answer: Answer) -> Refused | None:
    """What it has against what it was sent, if it says no in its own words and would say so again."""
    said = words(answer)
    is_no = 400 <= answer.status < 500 and answer.status not in COME_BACK
    return Refused(said or "It did not say why.") if is_no and said is not None else None


def is_too_early(answer: Answer) -> bool:
    return "in progress" in (words(answer) or "").lower()


def failure(answer: Answer) -> Failed | None:
    """Why there is no result: a refusal if it is about what was asked for. None when nothing is said about it."""
    said = read(Problem, answer)
    if said is None:
        return None
    if answer.status >= 500 or said.error_type in INFRASTRUCTURE or any(each in ITS_OWN for each in said.types):
        return Failed(INFRASTRUCTURE.get(said.error_type, said.words) or "It did not say why.", is_billed=False)
    is_billed = answer.headers.get("x-fal-billable-units", "").strip() not in ("0", "0.0")
    return Failed(said.words or "It did not say why.", is_refusal=True, is_billed=is_billed)


def output(answer: Answer) -> Mapping[str, Any] | None:
    """The output of a model, which comes without an envelope."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def progress(logs: JsonValue) -> float | None:
    """The share that is done, where the last line of a log says something like "step 120/1000"."""
    for entry in reversed(logs[-20:] if isinstance(logs, list) else []):
        message = entry.get("message") if isinstance(entry, dict) else None
        found = STEP.search(message) if isinstance(message, str) else None
        if found and int(found["all"]):
            return min(1.0, int(found["done"]) / int(found["all"]))
    return None
