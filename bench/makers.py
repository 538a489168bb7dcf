"""People who use the paid tools in a chaos run: what they have, what they ask for, and who rings falsely."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from bench.crowd import Person, noted
from novai_web.tools import character_diagram, face_swap, lora_image, lora_trainer
from novai_web.vendors import menu
from tests import media
from tests.things import png
from tests.weights import weights

READY_SECONDS = 120
PICTURES = 10
# What is asked of the vendors in words, besides nothing.
WISHES = ("refuse", "broken", "fail", "nothing", "html", "moved", "gone", "pickle", "expired", "elsewhere", "stubborn")
DIAGRAM_WISHES = ("refuse", "block", "words", "nothing", "garbage", "html", "bad")
FACE_WISHES = ("refuse", "fail", "html", "nothing", "elsewhere")  # what each vendor of faces understands
CHOICE_SECONDS = 4
CHOOSE = text("""
    INSERT INTO vendor_choices (engine, vendor) VALUES (:engine, :vendor)
    ON CONFLICT (engine) DO UPDATE SET vendor = excluded.vendor""")


@dataclass(frozen=True)
class Library:
    """The ids of what one person has to work with."""

    pictures: Sequence[int]
    faces: Sequence[int]  # one that is well, and one for each trouble
    video: int
    model: int
    consent: int


def furnished(person: Person) -> Library:
    """Everything uploaded, looked at by a worker, and ready."""
    with person.client() as http, TemporaryDirectory() as folder:
        clip = media.video(Path(folder) / "clip.mp4", frames=24).read_bytes()
        pictures = [_sent(person, http, "images", f"{n}.png", png(n, 256, 256)) for n in range(PICTURES)]
        names = ["face.png", *(f"face [sandbox:{wish}].png" for wish in FACE_WISHES)]
        library = Library(
            pictures=pictures,
            faces=[_sent(person, http, "images", name, png(100 + n, 256, 256)) for n, name in enumerate(names)],
            video=_sent(person, http, "videos", "clip.mp4", clip),
            model=_sent(person, http, "models", "model.safetensors", weights(1)),
            consent=person.ask(http, "POST", "/consents", json={"is_synthetic": True}).json()["id"],
        )
        for plural, ids in (("images", [*pictures, *library.faces]), ("videos", [library.video])):
            _wait_until_ready(person, http, plural, ids)
        return library


def _sent(person: Person, http: httpx.Client, plural: str, name: str, content: bytes) -> int:
    answer = person.ask(http, "POST", f"/{plural}", files={"file": (name, content)})
    if answer.status_code != 201:
        raise ValueError(f"an upload was refused: {answer.status_code} {answer.text[:200]}")
    return int(answer.json()["id"])


def _wait_until_ready(person: Person, http: httpx.Client, plural: str, ids: Sequence[int]) -> None:
    end = time.monotonic() + READY_SECONDS
    while any(person.ask(http, "GET", f"/{plural}/{one}").json()["status"] != "ready" for one in ids):
        if time.monotonic() > end:
            raise ValueError(f"these {plural} are never ready: {ids}")
        time.sleep(0.5)


def wish(library: Library, rng: random.Random) -> tuple[str, dict[str, Any]]:
    """Which tool, and what it is given: mostly plain, a third of it bound to fail somewhere."""
    words = f" [sandbox:{rng.choice(WISHES)}]" if rng.random() < 1 / 3 else ""
    kind = rng.choices(("picture", "diagram", "swap", "training"), (4, 3, 2, 2))[0]
    if kind == "picture":
        given = {"model": library.model, "prompt": f"a cat{words}", "count": rng.choice((1, 1, 2)), "seed": 7}
        return lora_image.tool.slug, given
    if kind == "diagram":
        words = f" [sandbox:{rng.choice(DIAGRAM_WISHES)}]" if words else ""
        return character_diagram.tool.slug, {"picture": rng.choice(library.pictures), "notes": f"boots{words}"}
    if kind == "swap":
        face = rng.choice(library.faces[1:]) if words else library.faces[0]
        return face_swap.tool.slug, {"videos": [library.video], "face": face, "consent": library.consent}
    given = {"pictures": list(library.pictures), "name": "Anna", "steps": 100, "captions": "leave-out"}
    return lora_trainer.tool.slug, {**given, "trigger": "ohwx", "consent": library.consent}


def make(library: Library, person: Person, http: httpx.Client, rng: random.Random) -> None:
    """One submit of a paid tool."""
    (slug, given), key = wish(library, rng), uuid4().hex
    answer = person.ask(http, "POST", f"/tools/{slug}/jobs", json=given, headers={"Idempotency-Key": key})
    if answer.status_code != 202:
        raise ValueError(f"a submit of {slug} was refused: {answer.status_code} {answer.text[:300]}")
    said = answer.json()
    if said["batch"]:
        person.diary.told_batch(key, said["batch"]["id"])
    person.diary.told_jobs(key, [job["id"] for job in said["jobs"]])


class FickleAdministrator:
    """Chooses another vendor for faces every few seconds, so that each is drilled, and swaps begin in between."""

    def __init__(
        self, database: Callable[[], AbstractContextManager[Connection]], seed: int, seconds: float = CHOICE_SECONDS
    ) -> None:
        self.database, self.seconds = database, seconds
        self.vendors = list(menu.ENGINES[face_swap.ENGINE])
        random.Random(f"choices {seed}").shuffle(self.vendors)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._choose, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _choose(self) -> None:
        for vendor in cycle(self.vendors):
            with suppress(SQLAlchemyError), self.database() as connection:  # the database may be down just now
                connection.execute(CHOOSE, {"engine": face_swap.ENGINE, "vendor": vendor})
            if self._done.wait(self.seconds):
                return


class FalseBells:
    """Somebody who rings at the webhooks all the time, and is never to be believed."""

    def __init__(self, person: Person, seed: int) -> None:
        self.person, self.rng = person, random.Random(f"bells {seed}")
        self.believed: list[str] = []
        self.count = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=noted, args=(person.diary, self._ring), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _ring(self) -> None:
        with httpx.Client(base_url=self.person.url, timeout=30) as http:
            while not self._done.wait(0.3):
                path, headers = self._bell()
                try:
                    answer = http.post(path, json={"request_id": "r", "id": "r", "status": "OK"}, headers=headers)
                except httpx.TransportError:
                    continue
                self.count += 1
                if answer.status_code < 400:
                    self.believed.append(f"{path}: {answer.status_code}")
                elif answer.status_code == 429:
                    self._done.wait(2)

    def _bell(self) -> tuple[str, dict[str, str]]:
        at = str(int(time.time()) - self.rng.choice((0, 0, 1000)))
        marker = f"novai-{self.rng.randrange(1, 200)}-{self.rng.randbytes(8).hex()}-1-{self.rng.randbytes(4).hex()}"
        if self.rng.random() < 0.5:
            said = {"webhook-id": "m", "webhook-timestamp": at, "webhook-signature": f"v3,{'0' * 64}"}
            return f"/webhooks/wavespeed?run={marker}", said
        signed = {
            "X-Fal-Webhook-Request-Id": "r",
            "X-Fal-Webhook-User-Id": "u",
            "X-Fal-Webhook-Timestamp": at,
            "X-Fal-Webhook-Signature": self.rng.randbytes(64).hex(),
        }
        return f"/webhooks/fal?run={marker}&at=fal-ai/wan&by={'0' * 32}", signed if self.rng.random() < 0.8 else {}
