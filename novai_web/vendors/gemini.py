"""The client of Gemini's image models: one POST is the whole run, and its answer holds the pictures.

Google lists no runs and knows no marker of ours, so a run whose answer was lost cannot be found again.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr, ValidationError

from novai_web.errors import TooLarge, UnusableMedia
from novai_web.vendors import (
    Away,
    Doubtful,
    File,
    Finished,
    KeyRejected,
    NotStarted,
    OutOfMoney,
    Refused,
    Seen,
    Unknown,
    VendorFailed,
    line,
)
from novai_web.vendors.gemini_answers import Envelope, Problem, finished, is_described, mime_of
from novai_web.vendors.line import Answer, NoAnswer

START_SECONDS = 300.0  # a picture takes 15 to 40 s, a large one longer
ASK_SECONDS = 10.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
PICTURES_MAX = 14
PICTURE_BYTES_MAX = 20 * 1024 * 1024  # of all pictures together; Google takes 100 MB, as base64
ASPECTS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
SIZE = "1K"  # the only one whose price is published
SIZELESS = ("gemini-2.5-flash-image", "gemini-3.1-flash-lite-image")  # models that must not be told a size


class Gemini:
    """Gemini at `url`, such as https://generativelanguage.googleapis.com."""

    name = "gemini"
    title = "Google Gemini"
    is_dear = False
    longest_run_seconds = START_SECONDS
    listed_within_seconds = 0.0
    start_seconds: float | None = START_SECONDS
    has_list = False

    def __init__(self, url: str, key: SecretStr, *, model: str, is_sandbox: bool = False) -> None:
        self.url, self.model, self.is_sandbox = url.rstrip("/"), model, is_sandbox
        self._key = key

    def picture_request(self, *, prompt: str, pictures: Sequence[Path], aspect: str) -> dict[str, Any]:
        """One picture made of words and pictures. `aspect` is one of ASPECTS.

        Raises UnusableMedia for what is no JPEG, PNG or WebP, and TooLarge for more than Gemini takes.
        """
        if aspect not in ASPECTS:
            raise ValueError(f"no such aspect: {aspect}")
        if len(pictures) > PICTURES_MAX:
            raise TooLarge(f"Gemini looks at {PICTURES_MAX} pictures at most. Choose fewer. You were not charged.")
        if sum(each.stat().st_size for each in pictures) > PICTURE_BYTES_MAX:
            raise TooLarge("These pictures have more than 20 MB together. Choose smaller ones. You were not charged.")
        shape = {"aspectRatio": aspect} if self.model in SIZELESS else {"aspectRatio": aspect, "imageSize": SIZE}
        given = {
            "contents": [{"role": "user", "parts": [{"text": prompt}, *map(_inline, pictures)]}],
            "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": shape},
            "safetySettings": [{"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "threshold": "BLOCK_MEDIUM_AND_ABOVE"}],
        }
        return {"model": self.model, "input": given}

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> Finished:
        """Ask, wait, and take the pictures. What in the request is neither model nor input is not sent."""
        model = str(request["model"])
        try:
            answer = line.ask(
                "POST",
                f"{self._at(model)}:generateContent",
                seconds=timeout,
                bytes_max=ANSWER_BYTES_MAX,
                body=request["input"],
                headers={**self._headers, "X-Novai-Run": marker},
            )
        except NoAnswer as problem:
            raise (Doubtful(str(problem)) if problem.was_sent else NotStarted()) from problem
        if answer.status != 200:
            raise self._no(answer, model)
        return finished(answer.body, model, marker)

    def check(self) -> str:
        """Ask for a description of the model, which is free. Raises KeyRejected, and Away with what came instead."""
        try:
            answer = line.ask("GET", self._at(self.model), seconds=ASK_SECONDS, headers=self._headers)
        except NoAnswer as problem:
            raise Away from problem
        if answer.status == 200 and is_described(answer.body):
            return f"{self.title} accepts the key and has the model {self.model}."
        said = _said(answer)
        if said and said.is_about_the_key:
            raise KeyRejected(self.title)
        if said and answer.status == 404:
            return f"{self.title} accepts the key, but has no model {self.model}: set NOVAI_GEMINI_IMAGE_MODEL."
        raise Away(f"{self.title} answered {answer.status}. Try again in a minute.")

    def find(self, marker: str) -> None:
        """Google keeps no list."""
        return

    def poll(self, external_id: str) -> Unknown:
        """Nothing of a run goes on after its answer."""
        return Unknown()

    def cancel(self, external_id: str) -> bool:
        """What was answered is billed."""
        return False

    def recent(self) -> Sequence[Seen]:
        """Google keeps no list."""
        return ()

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        """Pictures come with the answer, so no file of Gemini's lies anywhere."""
        raise VendorFailed("It points to a file that is not its own.")

    def _at(self, model: str) -> str:
        return f"{self.url}/v1beta/models/{quote(model, safe='')}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self._key.get_secret_value()}

    def _no(self, answer: Answer, model: str) -> Exception:
        """What a status other than 200 means. Only Google's own words say for certain that nothing was made."""
        said = _said(answer)
        if said is None:
            return Doubtful(f"status {answer.status}")
        if said.is_about_the_key:
            return KeyRejected(self.title)
        if answer.status == 429 and said.is_used_up_for_today:
            return Refused("What NOVAI may ask of Gemini in one day is used up. Try again tomorrow.")
        if answer.status in (429, 503):
            return NotStarted(said.retry_after or answer.retry_after)
        if said.status == "FAILED_PRECONDITION" and "billing" in said.message.lower():
            return OutOfMoney(self.title)
        if answer.status == 404:
            return Refused(f"There is no model {model}. An administrator can set NOVAI_GEMINI_IMAGE_MODEL.")
        if 400 <= answer.status < 500 and answer.status != 408:
            return Refused(said.message or "It did not say why.")
        return Doubtful(f"status {answer.status}")


def _said(answer: Answer) -> Problem | None:
    try:
        return Envelope.model_validate_json(answer.body).error
    except ValidationError:
        return None


def _inline(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    if (mime := mime_of(data)) is None:
        raise UnusableMedia("Gemini looks at JPEG, PNG and WebP pictures only. You were not charged.")
    return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}
