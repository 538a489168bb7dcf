"""The people of a chaos run: they submit, submit twice, cancel, retry, upload, throw away and watch, and note it all.

Each request is repeated, with its Idempotency-Key, until it is answered: what a careful client does.
"""

import io
import random
import threading
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from bench.counting import Diary
from tests.installation import Installation

PASSWORD = "correct horse battery"
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 120  # of one request, over all its tries
TROUBLES = ("refuse", "crash", "die", "store")
VENDOR_TROUBLES = ("no_output", "fail", "refuse", "nan", "slow_list", "stubborn")


class GaveUp(Exception):
    """A request was not answered within all patience."""


@dataclass(frozen=True)
class Person:
    """One account over the API."""

    url: str
    token: str
    diary: Diary

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=30
        )

    def ask(self, http: httpx.Client, method: str, path: str, **sent: Any) -> httpx.Response:
        """Until there is an answer that is not "try again"."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = http.request(method, path, **sent)
            except httpx.TransportError:  # a web server was killed under it
                wait = 0.2
            else:
                self.diary.answered(f"{method} {path}", answer.status_code, answer.headers.get("Retry-After"))
                if answer.status_code != 429 and answer.status_code < 500:
                    return answer
                wait = min(2.0, float(answer.headers.get("Retry-After", 0.2)))
            if time.monotonic() > end:
                raise GaveUp(f"{method} {path}")
            time.sleep(wait)


def join(installation: Installation, number: int, diary: Diary) -> Person:
    """A new account. The first one is the administrator's."""
    answer = httpx.post(
        f"{installation.url}/api/v1/auth/register",
        json={"email": f"chaos{number}@example.com", "password": PASSWORD, "name": f"Chaos {number}"},
        timeout=60,
    )
    answer.raise_for_status()
    return Person(installation.url, answer.json()["access_token"], diary)


def noted(diary: Diary, run: Callable[..., None], *given: Any) -> None:
    """Whoever gives up is told of at the end: a run in which somebody gave up proves nothing."""
    problem = "a thread died"
    try:
        run(*given)
        problem = ""
    except (GaveUp, httpx.HTTPError, KeyError, ValueError) as trouble:
        problem = f"{type(trouble).__name__}: {trouble}"
    finally:
        if problem:
            diary.gave_up.append(problem)


class Crowd:
    """Some people, each with a thread that acts and one that watches."""

    def __init__(
        self,
        people: list[Person],
        jobs: int,
        seconds: float,
        seed: int,
        *,
        lasts: float = 1.0,
        making: Sequence[Callable[[Person, httpx.Client, random.Random], None]] = (),
    ) -> None:
        """`making`: what each of them mostly does instead of asking the drill's tool, if anything."""
        self.people, self.jobs, self.seconds, self.lasts = people, jobs, seconds, lasts
        self._making = dict(zip((person.token for person in people), making, strict=False))
        self._done = threading.Event()
        rngs = [random.Random(f"{seed}:{n}") for n in range(len(people))]
        self._actors = [
            threading.Thread(target=noted, args=(person.diary, self._act, person, rng), daemon=True)
            for person, rng in zip(people, rngs, strict=True)
        ]
        self._watchers = [
            threading.Thread(target=noted, args=(person.diary, self._watch, person), daemon=True) for person in people
        ]

    def start(self) -> None:
        for thread in (*self._actors, *self._watchers):
            thread.start()

    def finish_acting(self) -> None:
        for thread in self._actors:
            thread.join()

    def stop_watching(self) -> None:
        self._done.set()
        for thread in self._watchers:
            thread.join()

    def _act(self, person: Person, rng: random.Random) -> None:
        mine = max(1, self.jobs // len(self.people))
        start = time.monotonic()
        with person.client() as http:
            for n in range(mine):
                time.sleep(max(0.0, start + self.seconds * n / mine - time.monotonic()))
                make = self._making.get(person.token)
                if make and rng.random() < 0.8:
                    make(person, http, rng)
                else:
                    _submit(person, http, wish(rng, self.lasts), rng)
                if rng.random() < 0.3:
                    _change_something(person, http, rng)
                if rng.random() < 0.1:
                    _upload(person, http, rng)

    def _watch(self, person: Person) -> None:
        with person.client() as http:
            while not self._done.wait(POLL_SECONDS):
                answer = person.ask(http, "GET", "/jobs", params={"limit": 200})
                for job in answer.json()["items"]:
                    person.diary.saw(job["id"], job["progress"], job["status"])


def wish(rng: random.Random, lasts: float) -> dict[str, Any]:
    """What one submit asks for: mostly plain, a third with the vendor, some of it bound to fail."""
    copies = rng.choice((1, 1, 2, 3))
    given: dict[str, Any] = {
        "copies": copies,
        "per_job": copies,
        "credits": rng.choice((0, 1, 2, 5)),
        "seconds": round(rng.uniform(0.1, lasts), 2),
    }
    if rng.random() < 1 / 3:
        given |= {"vendor": True, "vendor_seconds": round(rng.uniform(0.2, 3.0), 1)}
        if rng.random() < 0.3:
            given["vendor_trouble"] = rng.choice(VENDOR_TROUBLES)
    elif rng.random() < 0.1:
        given["trouble"] = rng.choice(TROUBLES)
    if copies > 1 and rng.random() < 0.1:
        given["lost"] = [0]
    return given


def _submit(person: Person, http: httpx.Client, given: dict[str, Any], rng: random.Random) -> None:
    """Sometimes twice at once, as a nervous finger does; both must be told of the same batch."""
    key = uuid4().hex
    again = threading.Thread(target=noted, args=(person.diary, _submit_again, person, given, key), daemon=True)
    is_nervous = rng.random() < 0.3
    if is_nervous:
        again.start()
    _submit_once(person, http, given, key)
    if is_nervous:
        again.join()


def _submit_again(person: Person, given: dict[str, Any], key: str) -> None:
    with person.client() as http:
        _submit_once(person, http, given, key)


def _submit_once(person: Person, http: httpx.Client, given: dict[str, Any], key: str) -> None:
    answer = person.ask(http, "POST", "/tools/echo/jobs", json=given, headers={"Idempotency-Key": key})
    if answer.status_code != 202:
        raise ValueError(f"a submit was refused: {answer.status_code} {answer.text[:200]}")
    person.diary.told_batch(key, answer.json()["batch"]["id"])


def _change_something(person: Person, http: httpx.Client, rng: random.Random) -> None:
    """Cancel a job that is open, retry one that can be, or throw away what one made."""
    jobs = person.ask(http, "GET", "/jobs", params={"limit": 50}).json()["items"]
    is_open = [job for job in jobs if job["completed_at"] is None]
    missing = [job for job in jobs if job["completed_at"] and job["outputs_delivered"] < job["outputs_promised"]]
    if is_open and rng.random() < 0.5:
        person.ask(http, "DELETE", f"/jobs/{rng.choice(is_open)['id']}")
    elif missing:
        job = rng.choice(missing)
        answer = person.ask(http, "POST", f"/jobs/{job['id']}/retry")
        if answer.status_code == 202:  # 409: there is nothing left to try again
            person.diary.told_retry(job["id"], answer.json()["id"])
    made = person.ask(http, "GET", "/audios", params={"type": "generated", "limit": 5}).json()["items"]
    if made and rng.random() < 0.5:
        person.ask(http, "DELETE", f"/audios/{rng.choice(made)['id']}")


def _upload(person: Person, http: httpx.Client, rng: random.Random) -> None:
    content = sound(rng)
    files = {"file": ("sound.wav", content, "audio/wav")}
    answer = person.ask(http, "POST", "/audios", files=files)
    if answer.status_code != 201:
        raise ValueError(f"an upload was refused: {answer.status_code} {answer.text[:200]}")
    person.diary.told_upload(answer.json()["id"], content)


def sound(rng: random.Random) -> bytes:
    """Half a second of noise that no other upload has."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(rng.randbytes(4000))
    return written.getvalue()
