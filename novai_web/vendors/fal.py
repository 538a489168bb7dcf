"""The client of fal: requests that wait in its queue, files that it keeps for us, and what it says when it cannot.

fal knows no idempotency key. Our marker travels in the address that it may ring and in the address of an input, so
that a request whose answer was lost is found in the list of finished ones; see `_listed` for what is known of that.
"""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from novai_web.config import Settings
from novai_web.vendors import (
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    NotStarted,
    Refused,
    Running,
    Seen,
    Unknown,
    doorbells,
    fal_words,
    fetching,
    line,
)
from novai_web.vendors.fal_words import Listed, Placed, Status, Submitted, Token, read
from novai_web.vendors.line import Answer, NoAnswer
from novai_web.vendors.places import is_allowed, is_below

ASK_SECONDS = 10.0
UPLOAD_SECONDS = 600.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
PAGES_MAX = 10  # of a hundred requests each
FILES_MAX = 100
SANDBOX_KEY = "sandbox"
MARKED = re.compile(r"[?&]novai=(?P<marker>[A-Za-z0-9-]{1,200})")
PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){2,8}", re.ASCII)
# What is cheap enough to be started once more when nobody knows of the first, and how long it may take there.
CHEAP, CHEAP_SECONDS = ("pictures",), 900.0
LISTED_WITHIN_SECONDS = 30.0
# What the files of a training are to us, whatever they are called there: the part, and the name.
PARTS = {
    "diffusers_lora_file": ("low", "low.safetensors"),
    "high_noise_lora": ("high", "high.safetensors"),
    "config_file": ("config", "config.json"),
}


class Fal:
    """fal as these settings know it. `engine` is what it is asked for; it says how dear a doubt is."""

    name = "fal"
    title = "fal"
    start_seconds = None
    has_list = False  # of what has finished only, and nobody promises it

    def __init__(self, settings: Settings, engine: str = "", *, is_sandbox: bool = False) -> None:
        self.is_sandbox = is_sandbox
        self.is_dear = engine not in CHEAP
        self.longest_run_seconds = float(settings.fal_seconds_max) if self.is_dear else CHEAP_SECONDS
        self.listed_within_seconds = LISTED_WITHIN_SECONDS
        self._settings = settings
        sandbox = settings.sandbox_url.rstrip("/")
        self._key = SecretStr(SANDBOX_KEY) if is_sandbox else settings.fal_key
        self.queue_url = f"{sandbox}/fal-queue" if is_sandbox else settings.fal_queue_url.rstrip("/")
        self._rest_url = f"{sandbox}/fal-rest" if is_sandbox else settings.fal_rest_url.rstrip("/")
        self._api_url = f"{sandbox}/fal-api" if is_sandbox else settings.fal_api_url.rstrip("/")
        self._media_url = f"{sandbox}/fal-media"

    # What to ask for

    def training_request(
        self, *, zip_url: str, trigger: str, steps: int, learning_rate: float, is_style: bool
    ) -> dict[str, Any]:
        """A model trained on the pictures in a ZIP. Its files have the parts "low", "high" and "config"."""
        given = {
            "training_data_url": zip_url,
            "trigger_phrase": trigger,
            "steps": steps,
            "learning_rate": learning_rate,
            "is_style": is_style,
        }
        return {"model": self._settings.fal_trainer_model, "input": given}

    def picture_request(
        self,
        *,
        prompt: str,
        low_url: str,
        high_url: str,
        size: tuple[int, int],
        seed: int,
        negative: str = "",
        scale: float = 1.0,
    ) -> dict[str, Any]:
        """One picture with a trained model, whose file has the part "image".

        `size` is width and height in pixels, `scale` from 0 to 4 how strongly the model is felt. A model of one file
        has no `high_url`, and is felt everywhere.
        """
        low = {"path": low_url, "transformer": "low" if high_url else "both", "scale": scale}
        high = {"path": high_url, "transformer": "high", "scale": scale}
        given = {
            "prompt": prompt,
            "negative_prompt": negative,
            "image_size": {"width": size[0], "height": size[1]},
            "seed": seed,
            "image_format": "png",
            "enable_safety_checker": True,
            "enable_output_safety_checker": True,
            "loras": [low, high] if high_url else [low],
        }
        return {"model": self._settings.fal_picture_model, "input": given}

    def swap_request(self, *, video_url: str, face_url: str, which: int) -> dict[str, Any]:
        """A face put into a video. This endpoint chooses the face itself, so `which` is not told. Part "video"."""
        given = {"source_face_url": face_url, "target_video_url": video_url, "enable_occlusion_prevention": True}
        return {"model": self._settings.fal_swap_model, "input": given}

    # Paid runs

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> str:
        """Submit it to the queue. Its id is the path of the address that fal gives for its result."""
        model, place = str(request["model"]), fal_words.place(str(request["model"]))
        bell = doorbells.address(self._settings, self.name, marker, place, is_sandbox=self.is_sandbox)
        url = f"{self.queue_url}/{model}" + (f"?{urlencode({'fal_webhook': bell})}" if bell else "")
        headers = {**self._headers, "X-Novai-Run": marker}
        try:
            answer = line.ask(
                "POST", url, seconds=timeout, body=self._marked(request["input"], marker), headers=headers
            )
        except NoAnswer as problem:
            raise (Doubtful(str(problem)) if problem.was_sent else NotStarted()) from problem
        if 200 <= answer.status < 300 and (begun := read(Submitted, answer)):
            return self._external_id(begun, place)
        raise _no(answer)

    def find(self, marker: str) -> str | None:
        found = self._listed() if marker else ()
        return next((each.external_id for each in found if each.marker == marker), None)

    def poll(self, external_id: str) -> Running | Done | Failed | Unknown:
        answer = self._ask("GET", f"{self._address(external_id, 1)}?logs=1")
        if answer.status == 404 and fal_words.words(answer) is not None:  # and not in those of something between us
            return Unknown()
        seen = read(Status, answer) if answer.status in (200, 202) else None
        if seen is None:
            raise self._away(answer)
        if seen.status != "COMPLETED":
            return Running(fal_words.progress(seen.logs) if seen.status == "IN_PROGRESS" else None)
        if seen.error and seen.error_type in fal_words.INFRASTRUCTURE:
            return Failed(fal_words.INFRASTRUCTURE[seen.error_type], is_billed=False)
        return self._result(external_id, seen.error)

    def cancel(self, external_id: str) -> bool:
        """Ask, then look: fal only takes note of the wish, and may finish all the same."""
        answer = self._ask("PUT", self._address(external_id, 2))
        if answer.status not in (200, 202, 400, 404):
            raise self._away(answer)
        looked = self._ask("GET", self._address(external_id, 1))
        seen = read(Status, looked) if looked.status in (200, 202) else None
        if seen is None or seen.status != "COMPLETED":
            raise Away  # it has not stopped yet
        return seen.error_type == fal_words.CANCELLED

    def recent(self) -> Sequence[Seen]:
        return self._listed()

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        is_its_own = self._is_its_own(file.url)
        fetching.fetch(file.url, path, heard, is_its_own=is_its_own, is_public=not self.is_sandbox)

    # What is free

    def upload(self, path: Path, mime: str, name: str, heard: Callable[[], None]) -> str:
        """Ask for a place, then send the file there."""
        body = {"file_name": name, "content_type": mime}
        answer = self._ask("POST", f"{self._rest_url}/storage/upload/initiate?storage_type=fal-cdn-v3", body=body)
        placed = read(Placed, answer) if answer.status == 200 else None
        if placed is None or not self._may_be_sent_to(placed.upload_url) or not self._is_its_own(placed.file_url):
            if refusal := fal_words.trouble(answer) or fal_words.refusal(answer):
                raise refusal
            raise Away
        headers = {"Content-Type": mime}  # the address is signed; our key is not for whoever is there
        try:
            sent = line.send(
                placed.upload_url,
                path,
                seconds=UPLOAD_SECONDS,
                heard=heard,
                headers=headers,
                is_public=not self.is_sandbox,
            )
        except NoAnswer as problem:
            raise Away from problem
        if sent.status == 413:
            raise Refused("The file is larger than it takes.")
        if not 200 <= sent.status < 300:
            raise Away
        return placed.file_url

    def check(self) -> str:
        """A token for uploads costs nothing, and nobody gets one without a key."""
        answer = self._ask("POST", f"{self._rest_url}/storage/auth/token?storage_type=fal-cdn-v3", body={})
        if refusal := fal_words.trouble(answer):
            raise refusal
        if answer.status != 200 or read(Token, answer) is None:
            raise Away
        return "The key is accepted."

    # How it is asked

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Key {self._key.get_secret_value()}"}

    def _ask(self, method: Literal["GET", "POST", "PUT"], url: str, body: object = None) -> Answer:
        try:
            return line.ask(
                method, url, seconds=ASK_SECONDS, bytes_max=ANSWER_BYTES_MAX, body=body, headers=self._headers
            )
        except NoAnswer as problem:
            raise Away from problem

    def _away(self, answer: Answer) -> Away:
        """With the reason, if it is about our key or our money there."""
        away = Away()
        away.__cause__ = fal_words.trouble(answer)
        return away

    def _external_id(self, begun: Submitted, place: str) -> str:
        """The paths that fal says, or, if they lead anywhere else, the one that they always were."""
        said = [begun.response_url, begun.status_url, begun.cancel_url]
        paths = [each.removeprefix(f"{self.queue_url}/") for each in said]
        usual = f"{place}/requests/{begun.request_id}"
        pairs = zip(said, paths, strict=True)
        if not all(is_below(url, self.queue_url) and PATH.fullmatch(path) for url, path in pairs):
            return usual
        if paths[1:] == [f"{paths[0]}/status", f"{paths[0]}/cancel"]:
            return paths[0]
        return " ".join(paths)

    def _address(self, external_id: str, which: int) -> str:
        """Of its result (0), its status (1), or to cancel it (2)."""
        paths = external_id.split(" ")
        path = paths[which] if len(paths) == 3 else external_id + ("", "/status", "/cancel")[which]
        return f"{self.queue_url}/{path}"

    def _result(self, external_id: str, error: str | None) -> Running | Done | Failed:
        """What a completed request came to: its own status and body."""
        answer = self._ask("GET", self._address(external_id, 0))
        if answer.status == 200 and not error:
            output = fal_words.output(answer)
            if output is None:
                raise Away
            return Done(list(_files(output)), units=self._units(external_id, answer))
        if answer.status == 400 and fal_words.is_too_early(answer):
            return Running(None)
        if refusal := fal_words.trouble(answer):
            raise Away from refusal
        if answer.status == 404 and fal_words.words(answer) is not None:
            return Failed("It no longer has what it made.", is_billed=True)
        if failed := fal_words.failure(answer):
            return failed
        if error:
            return Failed(error, is_billed=answer.status < 500)
        raise Away

    def _units(self, external_id: str, answer: Answer) -> float | None:
        """How many units fal bills, for the one model whose unit is known: steps of training."""
        if external_id.split("/requests/")[0] != fal_words.place(self._settings.fal_trainer_model):
            return None
        said = answer.headers.get("x-fal-billable-units", "")
        units = float(said) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said, re.ASCII) else math.nan
        return units if math.isfinite(units) else None

    def _is_its_own(self, url: str) -> bool:
        return is_below(url, self._media_url) if self.is_sandbox else is_allowed(url, self._settings.fal_hosts)

    def _may_be_sent_to(self, url: str) -> bool:
        """A signed address lies at whoever stores files for fal, so any that is public; see `line.send`."""
        return is_below(url, self._media_url) if self.is_sandbox else urlsplit(url).scheme == "https"

    def _marked(self, given: Mapping[str, Any], marker: str) -> dict[str, Any]:
        """The input, with our marker in the address of one of its files: whoever fetches it there passes it over."""
        marked = dict(given)
        for name in ("training_data_url", "target_video_url"):
            if name in marked and self._is_its_own(marked[name]):
                marked[name] = _with_marker(marked[name], marker)
        loras = marked.get("loras")
        if loras and self._is_its_own(loras[0]["path"]):
            first = {**loras[0], "path": _with_marker(loras[0]["path"], marker)}
            marked["loras"] = [first, *loras[1:]]
        return marked

    def _listed(self) -> Sequence[Seen]:
        """The finished requests of the last day that carry a marker of ours.

        From fal's platform API (fal.ai/docs/platform-apis/v1/models/requests/by-endpoint). A key may not be allowed to
        ask it, and fal may be told not to keep inputs; then nothing is listed, and what is in doubt stays so.
        """
        settings = self._settings
        models = {settings.fal_trainer_model, settings.fal_picture_model, settings.fal_swap_model}
        end = time.monotonic() + line.LIST_SECONDS_MAX
        return [seen for model in sorted(models) for seen in self._listed_of(model, end)]

    def _listed_of(self, model: str, end: float) -> Iterator[Seen]:
        asked = {"endpoint_id": model, "limit": "100", "expand": "payloads"}
        for _ in range(PAGES_MAX):
            if time.monotonic() > end:
                raise Away
            answer = self._ask("GET", f"{self._api_url}/models/requests/by-endpoint?{urlencode(asked)}")
            if 400 <= answer.status < 500 and answer.status not in line.COME_BACK:
                return
            listed = read(Listed, answer) if answer.status == 200 else None
            if listed is None:
                raise Away
            for item in listed.items:
                if found := MARKED.search(item.addresses):
                    yield Seen(f"{fal_words.place(model)}/requests/{item.request_id}", found["marker"], is_over=True)
            if not listed.next_cursor:
                return
            asked["cursor"] = listed.next_cursor


def _no(answer: Answer) -> Exception:
    """What an answer to a submit means that is no id. Only fal's own words say for certain that nothing was started."""
    if refusal := fal_words.trouble(answer):
        return refusal
    words = fal_words.words(answer)
    if words is None:
        return Doubtful(f"status {answer.status}")
    if answer.status in (429, 503):
        return NotStarted(answer.retry_after)
    if 400 <= answer.status < 500 and answer.status != 408:
        return Refused(words)
    return Doubtful(f"status {answer.status}")


def _files(output: Mapping[str, Any]) -> Iterator[File]:
    """Every file of an output, wherever it stands there; of each only the address is certain."""
    for key, value in islice(output.items(), FILES_MAX):
        for each in value[:FILES_MAX] if isinstance(value, list) else [value]:
            if isinstance(each, dict) and isinstance(url := each.get("url"), str):
                said, mime = each.get("file_name"), each.get("content_type")
                called = said if isinstance(said, str) else urlsplit(url).path.rpartition("/")[2]
                part, name = PARTS.get(key, (key[:100], called))
                yield File(url[:2000], name[:200], mime[:100] if isinstance(mime, str) else "", part)


def _with_marker(url: str, marker: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}novai={marker}"
