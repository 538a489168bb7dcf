"""What the queue, the list, the uploads and the media of the sandbox of fal share: runs, files, and the signing key."""

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import jsonify, request
from flask.typing import ResponseReturnValue

from novai_web.sandbox import fal_models as models
from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.shelf import Kept, Shelf
from novai_web.sandbox.wishes import wish
from novai_web.sandbox.workshop import BROKEN, Workshop

VENDOR = "fal"
KEPT_SECONDS = 3600.0  # how long a result can be read after its end
NEVER_SECONDS = 365 * 24 * 3600.0
MARKED = re.compile(r"[?&](?:novai|run)=([A-Za-z0-9-]+)")
NO_KEY = "Authentication is required to access this application. Cannot access application without a key."
BAD_KEY = "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."
UNKNOWN_KEY = "No user found for Key ID and Secret"
NO_MONEY = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
REFUSED = "The content could not be processed because it contained material flagged by a content checker."
# What ends between fal and its machines, and is told with the status already.
INFRASTRUCTURE = {"fail": ("Runner server error", "runner_server_error")}
# What a model says: the status, the field, the words, the type.
REFUSALS = {
    "refuse": (422, "prompt", REFUSED, "content_policy_violation"),
    "face": (422, "source_face_url", "Could not detect a face in the image.", "face_detection_error"),
    "broken": (500, "", "Internal server error", "internal_server_error"),
    "slow": (504, "", "Generation timeout", "generation_timeout"),
}


class Stall:
    """One sandbox of fal."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.shelf = Shelf(book.folder / f"{VENDOR}-files")
        self.workshop = Workshop(book, VENDOR)
        self.key = _signing_key(book.folder / "fal-signing-key")

    def start(self, endpoint: str, given: Mapping[str, Any], webhook: str) -> Run:
        """Into the queue, whatever was asked for: only a model looks at its input."""
        texts = [given.get(name) for name in models.MODELS[endpoint].texts]
        wanted = wish(*texts, *(each.name for each in self.inputs(given).values() if each))
        marked = MARKED.search(webhook) or MARKED.search(str(given))
        marker = request.headers.get("X-Novai-Run", "") or (marked[1] if marked else "")
        seconds = NEVER_SECONDS if wanted == "never" else None
        run = self.book.start(VENDOR, endpoint, {**given, "wish": wanted}, seconds, marker)
        self.see_to(run)
        return run

    def inputs(self, given: Mapping[str, Any]) -> dict[str, Kept | None]:
        """The files that an input names, by its field; None for one that is not of this shelf."""
        names = [name for name in given if name.endswith("_url")]
        return {name: self.shelf.named(given[name]) for name in names}

    def see_to(self, run: Run) -> None:
        """Let the workshop make its video, if it is to have one."""
        inputs = self.inputs(run.wanted)
        video, face = inputs.get("target_video_url"), inputs.get("source_face_url")
        if run.model == models.SWAP and video and face:
            self.workshop.swap(run, video, face, 0)

    def is_over(self, run: Run) -> bool:
        """A video takes as long as it takes."""
        if not run.is_over or run.is_cancelled or run.model != models.SWAP or self.failure(run):
            return run.is_over
        return self.workshop.made(run.id) is not None

    def failure(self, run: Run) -> tuple[int, list[dict[str, Any]]] | None:
        """The status and the errors that the model itself ends with."""
        if found := models.problems(models.MODELS[run.model], run.wanted):
            return 422, found
        wanted = run.wanted["wish"]
        if wanted in REFUSALS:
            status, name, words, kind = REFUSALS[wanted]
            return status, models.refusal(name, words, kind, run.wanted)
        return self._unusable(run)

    def _unusable(self, run: Run) -> tuple[int, list[dict[str, Any]]] | None:
        inputs = self.inputs(run.wanted)
        if run.model == models.TRAINER and (words := models.wrong_archive(inputs.get("training_data_url"))):
            return 422, models.refusal("training_data_url", words, "invalid_archive", run.wanted)
        if run.model == models.SWAP and (run.notes.get(BROKEN) or None in inputs.values()):
            words = "Failed to load the video or the image."
            return 422, models.refusal("target_video_url", words, "file_download_error", run.wanted)
        return None

    def is_billed(self, run: Run) -> bool:
        """What was cancelled in time, what fal's machines spoilt, and what was wrong from the beginning is not."""
        if run.is_cancelled or run.wanted["wish"] in INFRASTRUCTURE:
            return False
        failure = self.failure(run)
        return failure is None or failure[1][0]["type"] == "content_policy_violation"

    def output(self, run: Run, media: str) -> dict[str, Any]:
        """What the model gives back, without an envelope."""
        if run.wanted["wish"] == "nothing":
            return {"seed": run.seed}
        made = models.MODELS[run.model].makes(run.wanted)
        said = {each.key: self._file(run, each, media) for each in made}
        return {**said, "seed": run.seed} if run.model == models.PICTURE else said

    def _file(self, run: Run, made: models.Made, media: str) -> dict[str, Any]:
        url = f"{media}/made/{run.id}/{made.key}/{made.name}"
        if run.wanted["wish"] == "elsewhere":
            url = f"http://169.254.169.254/latest/{made.name}"
        return {"url": url, "content_type": made.mime, "file_name": made.name, **made.extra}

    def bell(self, run: Run, media: str) -> tuple[dict[str, Any], int]:
        """What a webhook says of a run, and the status of its result."""
        said: dict[str, Any] = {"request_id": run.id, "gateway_request_id": run.id}
        if run.is_cancelled or run.wanted["wish"] in INFRASTRUCTURE:
            return {**said, "status": "ERROR", "error": "Runner server error", "payload": None}, 500
        if failure := self.failure(run):
            words = f"Invalid status code: {failure[0]}"
            return {**said, "status": "ERROR", "error": words, "payload": {"detail": failure[1]}}, failure[0]
        return {**said, "status": "OK", "payload": self.output(run, media)}, 200

    def signed(self, run: Run, body: bytes) -> dict[str, str]:
        """The headers of a webhook."""
        user, at = "sandbox-user", str(int(time.time()))
        said = "\n".join((run.id, user, at, hashlib.sha256(body).hexdigest())).encode()
        return {
            "Content-Type": "application/json",
            "X-Fal-Webhook-Request-Id": run.id,
            "X-Fal-Webhook-User-Id": user,
            "X-Fal-Webhook-Timestamp": at,
            "X-Fal-Webhook-Signature": self.key.sign(said).hex(),
        }

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _signing_key(path: Path) -> Ed25519PrivateKey:
    """Kept, so that what was signed before a restart is still good after it."""
    if not path.exists():
        path.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def media_url() -> str:
    """Where this sandbox keeps files, as whoever asks reaches it."""
    return f"{request.host_url.rstrip('/')}/fal-media"


def check_key() -> ResponseReturnValue | None:
    """For every request but those of tests: 401 for no key or a wrong one, 403 for one without money."""
    if request.path.startswith(("/sandbox/", "/.well-known/")):
        return None
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    if kind != "Key" or not key:
        return jsonify(detail=NO_KEY), 401
    if key != "sandbox" and key.count(":") != 1:
        return jsonify(detail=BAD_KEY), 401
    if key.startswith("wrong"):
        return jsonify(detail=UNKNOWN_KEY), 401
    if key.startswith("poor") and request.method == "POST":
        return jsonify(detail=NO_MONEY), 403
    return None
