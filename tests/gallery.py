"""A gallery: an installation with something of everything on its pages, furnished through its doors as people would.

Who looks at pages one by one, tests and `make screenshots`, does it here; `tests/showing.py` says which pages.
"""

import io
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image, ImageEnhance, ImageOps
from sqlalchemy import make_url, text

from novai_web.config import Settings
from novai_web.embedded import servers
from tests import media
from tests.installation import ROOT, Installation, until
from tests.weights import weights

PASSWORD = "correct horse battery"
PATIENCE_SECONDS = 300
SETTINGS = {
    "NOVAI_SIGN_UP": "open",
    "NOVAI_SIGN_UP_CREDITS": "200",
    "NOVAI_SIGN_IN_LIMIT": "100 per minute",
    "NOVAI_API_LIMIT": "10000 per minute",
    "NOVAI_READ_LIMIT": "100000 per minute",
    "NOVAI_UPLOAD_LIMIT": "10000 per minute",
    "NOVAI_SANDBOX_SECONDS": "0.5",
}
HOOKS = (
    "Wait for it …",
    "Nobody told me this",
    "شاهد هذا",
    "3 things I wish I knew",
    "これを見て",
    "Watch till the end 👀",
)
PEOPLE = ("Grace Hopper", "Alan Turing", "Katherine Johnson", "Edsger Dijkstra", "Barbara Liskov")
PROMPT = "portrait of nova in a neon city at night, rain, shallow depth of field"


EARLIER = (
    """WITH numbered AS (SELECT job_id, row_number() OVER (ORDER BY job_id) AS n FROM holds WHERE state = 'captured')
    UPDATE holds SET day = current_date - (numbered.n * 11 % 27)::int FROM numbered
    WHERE numbered.job_id = holds.job_id""",
    "CREATE TEMP TABLE caps AS SELECT account_id, max(cap) AS cap FROM daily_spend GROUP BY account_id",
    "DELETE FROM daily_spend",
    """INSERT INTO daily_spend (account_id, day, committed, cap)
    SELECT account_id, day, sum(CASE state WHEN 'held' THEN amount ELSE captured - refunded END), cap
    FROM (SELECT account_id, day, state, amount, captured, refunded FROM holds
          UNION ALL SELECT 0, day, state, amount, captured, refunded FROM holds) AS each JOIN caps USING (account_id)
    GROUP BY account_id, day, cap""",
)
BUSY = '{"detail": "too many requests"}'
FAL = "fal-queue"


class Person:
    """Somebody with an account: over the API, and as the cookie of a browser."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.email = f"{name.split()[0].lower()}@example.com"
        given = {"name": name, "email": self.email, "password": PASSWORD}
        signed_in = requests.post(f"{url}/api/v1/auth/register", json=given, timeout=60)
        signed_in.raise_for_status()
        self.id: int = signed_in.json()["user"]["id"]
        self.browser = requests.Session()
        self.sign_in()

    def sign_in(self) -> None:
        """Through both doors."""
        given = {"email": self.email, "password": PASSWORD}
        answer = requests.post(f"{self.url}/api/v1/auth/login", json=given, timeout=60)
        answer.raise_for_status()
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        self.browser.cookies.clear()
        self.post_form("/sign-in", given, page="/sign-in")

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = requests.request(method, f"{self.url}/api/v1{path}", headers=self.headers, timeout=120, **more)
        if answer.status_code == 401:  # the token has had its quarter of an hour
            self.sign_in()
            return self.ask(method, path, **more)
        assert answer.ok, (method, path, answer.status_code, answer.text[:500])
        return answer.json() if answer.content else None

    def post_form(self, path: str, fields: dict[str, Any], page: str = "/settings") -> requests.Response:
        """A form as a browser without JavaScript sends it."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.browser.get(self.url + page, timeout=60).text)
        assert token, page
        form = {**fields, "csrf_token": token[1]}
        return self.browser.post(self.url + path, data=form, timeout=60, allow_redirects=False)

    @property
    def state(self) -> dict[str, Any]:
        """What Playwright calls a storage state."""
        jar = self.browser.cookies
        kept = [
            {"name": each.name, "value": each.value, "domain": "127.0.0.1", "path": "/", "expires": -1}
            | {"httpOnly": True, "secure": False, "sameSite": "Lax"}
            for each in jar
        ]
        return {"cookies": kept, "origins": []}

    # Things

    def send(self, kind: str, path: Path, **fields: Any) -> int:
        """A file into the library; its id when it was looked at."""
        where = "/models/upload" if kind == "model" else f"/{kind}s"
        asset: int = self.ask("POST", where, files={"file": (path.name, path.read_bytes())}, data=fields)["id"]
        return self.arrived(kind, [asset])[0]

    def arrived(self, kind: str, ids: Sequence[int]) -> Sequence[int]:
        for asset in ids:
            until(lambda asset=asset: self.ask("GET", f"/{kind}s/{asset}")["status"] == "ready", PATIENCE_SECONDS)  # type: ignore[misc]
        return ids

    def listed(self, kind: str) -> list[int]:
        return [each["id"] for each in self.ask("GET", f"/{kind}s", params={"limit": 100})["items"]]

    def start(self, tool: str, **given: Any) -> dict[str, Any]:
        """A job or a batch, as the API answers it."""
        return dict(self.ask("POST", f"/tools/{tool}/jobs", json=given))

    def finish(self, tool: str, **given: Any) -> dict[str, Any]:
        started = self.start(tool, **given)
        for job in started["jobs"]:
            self.ended(job["id"])
        return started

    def ended(self, job: int) -> None:
        over = ("succeeded", "failed", "cancelled")
        until(lambda: self.ask("GET", f"/jobs/{job}")["status"] in over, PATIENCE_SECONDS)


class Gallery:
    """`ids` has what addresses of pages speak of, by its name in them."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.installation = Installation(folder, **{**SETTINGS, **settings})
        self.url = self.installation.url
        self.ids: dict[str, object] = {}

    def start(self) -> None:
        """As on the first day, before anybody has an account."""
        self.installation.start()

    def welcome(self) -> None:
        """An administrator who will have everything, somebody who has nothing yet, and other people."""
        self.admin = Person(self.url, "Ada Lovelace")
        self.people = [Person(self.url, name) for name in PEOPLE]
        self.newcomer = Person(self.url, "Mary Somerville")

    def furnish(self) -> None:
        """Small real media, quickly made, and one of each thing that a page can be about."""
        ada = self.admin
        made = self.folder / "media"
        made.mkdir()
        clips = [media.b_frames(made / f"{name}.mp4", frames=n) for name, n in (("Beach", 60), ("City at night", 75))]
        sound = media.audio(made / "Summer song.mp3")
        videos = [ada.send("video", clip) for clip in clips]
        audio = ada.send("audio", sound)
        image = ada.send("image", portrait(made / "Nova.png"))
        (made / "nova style.safetensors").write_bytes(weights())
        model = ada.send("model", made / "nova style.safetensors")
        self.ids |= {"videos": numbers(videos), "video": videos[0], "audio": audio, "image": image, "model": model}
        self.hooks_and_collections(videos)
        self.batches(videos, [audio], limit=6)
        self.consents_and_swaps(videos[:1], image)
        self.troubles(image, model)
        self.by_hand()

    def furnish_richly(self) -> None:
        """As somebody has it who has worked here for weeks: with the sample media, and every tool's results."""
        ada = self.admin
        while ada.ask("POST", "/samples")["state"] != "given":  # the files are made once, which takes a while
            time.sleep(1)
        videos, audios = (ada.arrived(kind, ada.listed(kind)) for kind in ("video", "audio"))
        image = ada.arrived("image", ada.listed("image"))[0]
        self.ids |= {"videos": numbers(videos), "video": videos[0], "audio": audios[0], "image": image}
        self.hooks_and_collections(videos)
        self.batches(videos, audios, limit=24)
        self.consents_and_swaps(videos[:2], image)
        self.trainings(image)
        self.troubles(image, int(str(self.ids["model"])))
        self.by_hand()
        self.weeks_ago()
        # Each is encoded from its first frame to its last, so that it is still running when it is looked at.
        long = {
            "frame": "1:1",
            "frame_fill": "blur",
            "limit": 96,
            "mix": "every",
            "name_template": "{video} square {n}",
        }
        started = ada.start("variants", videos=videos, audios=audios, hooks=self.hook_ids(), **long)
        self.ids["running"] = started["batch"]["id"]

    def hook_ids(self) -> list[int]:
        return [each["id"] for each in self.admin.ask("GET", "/hooks", params={"limit": 100})["items"]]

    def trainings(self, image: int) -> None:
        """A model of the face in that picture, and pictures that were made with it."""
        ada, folder = self.admin, self.folder / "poses"
        folder.mkdir()
        source = folder / "portrait.png"
        source.write_bytes(ada.browser.get(f"{self.url}/media/{image}/original", timeout=60).content)
        pictures = [ada.send("image", pose) for pose in poses(source, folder, 12)]
        consent = self.ids["consent"]
        given = {"name": "Nova", "trigger": "nvxa", "steps": 200, "consent": consent}
        ada.finish("lora-trainer", pictures=pictures, **given)
        self.ids["model"] = ada.arrived("model", ada.listed("model"))[0]
        for count in (4, 1, 2, 3, 1, 2, 4, 2):
            ada.finish("lora-image", model=self.ids["model"], prompt=PROMPT, count=count)

    def weeks_ago(self) -> None:
        """Some of what was paid today was paid on earlier days; every sum stays what it was."""
        with self.installation.engine().begin() as database:
            for statement in EARLIER:
                database.execute(text(statement))

    def hooks_and_collections(self, videos: Sequence[int]) -> None:
        ada = self.admin
        ada.ask("POST", "/hooks/bulk", json={"texts": HOOKS, "category": "Openers"})
        old = ada.ask("POST", "/hooks", json={"text": "An old one", "category": "Openers"})
        ada.ask("DELETE", f"/hooks/{old['id']}")
        for name, kind in (("Berlin", "video"), ("Autumn campaign", "video"), ("Faces", "image")):
            made = ada.ask("POST", "/collections", json={"name": name, "kind": kind})
            if kind == "video":
                ada.ask("PATCH", f"/videos/{videos[0]}", json={"collection_id": made["id"], "tags": ["summer", "2026"]})
        self.ids["hooks"] = numbers(self.hook_ids()[:8])

    def batches(self, videos: Sequence[int], audios: Sequence[int], limit: int) -> None:
        """One that was kept, and one whose results still expire, of which one was thrown away."""
        ada = self.admin
        given = {"videos": videos, "audios": audios, "hooks": self.hook_ids(), "name_template": "{video} {n}"}
        kept = ada.finish("variants", **given, limit=2)
        ada.ask("POST", f"/batches/{kept['batch']['id']}/keep")
        fresh = ada.finish("variants", **given, limit=limit, mix="every", hook_position="bottom")
        self.ids["batch"] = fresh["batch"]["id"]
        results = ada.ask("GET", f"/batches/{fresh['batch']['id']}/results")["items"]
        made = [each["asset_id"] for each in results if each["asset_id"]]
        self.ids["variant"] = made[0]
        ada.ask("DELETE", f"/videos/{made[-1]}")

    def consents_and_swaps(self, videos: Sequence[int], image: int) -> None:
        ada = self.admin
        given = {"who": "Anna Muster", "how": "Signed release of 3 May", "until": "2027-05-03"}
        consent = ada.ask("POST", "/consents", json=given)["id"]
        gone = ada.ask("POST", "/consents", json={"who": "Ben Beispiel", "how": "By e-mail, 12 June"})["id"]
        ada.ask("POST", f"/consents/{gone}/revocation")
        swapped = ada.finish("face-swap", videos=videos, face=image, consent=consent)
        drawn = ada.finish("character-diagram", picture=image, notes="Boots instead of sandals")
        self.ids |= {"consent": consent, "job": drawn["jobs"][0]["id"], "swap": swapped["jobs"][0]["id"]}

    def troubles(self, image: int, model: int) -> None:
        """A job that was refused, one that waits for its vendor, and one of somebody else's that failed."""
        ada = self.admin
        refused = ada.finish("character-diagram", picture=image, notes="In the rain [sandbox:refuse]")
        self.fault(FAL, fault="status", method="POST", status=429, retry_after=3600, body=BUSY, times=10_000)
        waiting = ada.start("lora-image", model=model, prompt=PROMPT, count=2)["jobs"][0]["id"]
        self.ids |= {"failed": refused["jobs"][0]["id"], "waiting": waiting}
        until(lambda: ada.ask("GET", f"/jobs/{waiting}")["status"] == "waiting", PATIENCE_SECONDS)

    def by_hand(self) -> None:
        """What an administrator did: given, limited, paid back."""
        person = self.people[0]
        self.ids["person"] = person.id
        there = f"/admin/credits/{person.id}"
        for what, fields in (
            ("grants", {"amount": "500", "reason": "For the autumn campaign"}),
            ("adjustments", {"amount": "-20", "reason": "Counted twice on 3 May"}),
            ("limit", {"limit": "300", "reason": "A trial"}),
        ):
            answer = self.admin.post_form(f"{there}/{what}", {**fields, "form_key": what}, page=there)
            assert answer.status_code == 303, (what, answer.status_code)
        self.admin.browser.get(self.url + "/settings", timeout=60)  # where the toasts of all that are told

    def state_of(self, whose: str) -> Any:
        """What Playwright opens a browser with, in which this person is signed in."""
        people = {"admin": self.admin, "newcomer": self.newcomer} if hasattr(self, "admin") else {}
        return people[whose].state if whose in people else None

    # Vendors and other processes

    def fault(self, vendor: str, **what: Any) -> None:
        requests.post(f"{self.sandbox}/{vendor}/sandbox/faults", json=[what], timeout=10).raise_for_status()

    @property
    def settings(self) -> Settings:
        return servers.found(Settings(_env_file=None, data=self.installation.data))

    @property
    def sandbox(self) -> str:
        return self.settings.sandbox_url

    @contextmanager
    def beside(self, **settings: str) -> Iterator[str]:
        """Another web process over the same data with other settings; its address."""
        port = self.installation.port + 1
        while not free(port):
            port += 1
        found = self.settings
        own = {"NOVAI_DATA": str(self.installation.data), "NOVAI_PORT": str(port), "DATABASE_URL": found.database_url}
        environment = {**os.environ, **own, "REDIS_URL": found.redis_url, **settings}
        command = [sys.executable, "-m", "gunicorn", "--workers", "1", "wsgi:app"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, **quiet)  # type: ignore[call-overload]
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: answers(url))
            yield url
        finally:
            process.terminate()
            process.wait()

    @contextmanager
    def troubles_beside(self) -> Iterator[dict[str, str]]:
        """The addresses by where: our own, and those of web processes that are closed, broken, or without database."""
        with ExitStack() as stack:
            beside = {
                "closed": {"NOVAI_SIGN_UP": "closed", "NOVAI_SIGN_IN_LIMIT": "1 per hour"},
                "broken": {"DATABASE_URL": self.empty_database},
                "away": {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"},
            }
            others = {name: stack.enter_context(self.beside(**changes)) for name, changes in beside.items()}
            yield {"here": self.url, **others}

    @property
    def empty_database(self) -> str:
        """The one that every Postgres has. None of our tables is in it, so whatever is asked there is unforeseen."""
        return make_url(self.settings.database_url).set(database="postgres").render_as_string(hide_password=False)

    def close(self) -> None:
        self.installation.clear_away()


def numbers(ids: Iterable[int]) -> str:
    """As an address has them."""
    return ",".join(map(str, ids))


def portrait(path: Path) -> Path:
    """A face as a child draws it: large enough for every tool, and nobody's."""
    picture = Image.new("RGB", (512, 640), "#31456b")
    picture.paste("#d8a47f", (156, 150, 356, 430))
    for eye in (200, 290):
        picture.paste("#20242c", (eye, 250, eye + 24, 266))
    picture.paste("#a0485a", (226, 352, 288, 366))
    picture.paste("#2a1d1a", (140, 110, 372, 190))
    picture.save(path)
    return path


def poses(path: Path, folder: Path, count: int) -> list[Path]:
    """One picture as so many others, as somebody has them who took a series."""
    source, found = Image.open(path).convert("RGB"), []
    for n in range(count):
        width, height = source.size
        inset = n * min(width, height) // 60
        view = source.crop((inset, inset // 2, width - inset // 3, height - inset))
        view = ImageOps.mirror(view) if n % 2 else view
        view = ImageEnhance.Color(ImageEnhance.Brightness(view).enhance(0.8 + n * 0.04)).enhance(1.3 - n * 0.05)
        out = io.BytesIO()
        view.save(out, "JPEG", quality=92)
        found.append(folder / f"Nova {n + 1:02}.jpg")
        found[-1].write_bytes(out.getvalue())
    return found


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0
