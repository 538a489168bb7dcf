"""A SANDBOX vendor that is paid for runs: it takes its time, fails on request, and keeps a bill that costs nobody."""

import io
import threading
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field, ValidationError

from novai_web.sandbox.faults import Faults
from novai_web.sandbox.serving import Handler, options, serve

NOTICE = "SANDBOX: this vendor makes test tones, and its bill is play money."
PORT = 54331
COST_CREDITS = 3
LISTED_LATE_SECONDS = 5.0
STUBBORN_TIMES = 3
RATE = 8000
WAV_HEADER_BYTES = 44


class Wanted(BaseModel):
    """What a run is asked for."""

    marker: str = Field(min_length=1, max_length=200)
    seconds: float = Field(1.0, ge=0, le=3600)
    files: int = Field(1, ge=0, le=20)
    bytes: int = Field(4000, ge=WAV_HEADER_BYTES, le=50_000_000)
    trouble: Literal["none", "no_output", "fail", "refuse", "nan", "slow_list", "stubborn"] = "none"


@dataclass
class Run:
    """One run. What it is at a moment follows from when it began and whether it was cancelled."""

    wanted: Wanted
    id: str = field(default_factory=lambda: uuid4().hex)
    started_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    cancelled_after: float | None = None
    refusals_left: int = STUBBORN_TIMES

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    @property
    def status(self) -> str:
        if self.cancelled_after is not None:
            return "cancelled"
        if self.age < self.wanted.seconds:
            return "running"
        return {"fail": "failed", "refuse": "refused"}.get(self.wanted.trouble, "done")

    @property
    def is_billed(self) -> bool:
        """Whatever was started, unless it was cancelled before it ended; and nobody pays for being refused."""
        return self.status not in ("cancelled", "refused")

    @property
    def progress(self) -> float:
        if self.wanted.trouble == "nan":
            return float("nan")
        return min(1.0, self.age / self.wanted.seconds) if self.wanted.seconds else 1.0

    def shown(self, address: str) -> dict[str, Any]:
        files = range(self.wanted.files) if self.status == "done" and self.wanted.trouble != "no_output" else ()
        return {
            "sandbox": True,
            "id": self.id,
            "marker": self.wanted.marker,
            "status": self.status,
            "progress": self.progress,
            "files": [
                {"url": f"{address}/files/{self.id}/{n}", "name": f"tone {n + 1}.wav", "mime": "audio/wav"}
                for n in files
            ],
            "error": _WORDS.get(self.status),
            "cost_credits": COST_CREDITS,
        }

    def billed(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "marker": self.wanted.marker,
            "billed": self.is_billed,
            "over": self.status != "running",
            "cancelled": self.cancelled_after is not None,
            "started_at": self.started_at,
        }


_WORDS = {"failed": "The tone generator broke.", "refused": "This content is against the rules of the sandbox."}


class Book:
    """All runs of this sandbox, in memory."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, wanted: Wanted) -> Run:
        run = Run(wanted)
        with self._lock:
            self._runs[run.id] = run
        return run

    def find(self, run_id: str) -> Run | None:
        with self._lock:
            return self._runs.get(run_id)

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())

    def cancel(self, run: Run) -> bool:
        """False: it is stubborn, and does not do it yet."""
        with self._lock:
            if run.wanted.trouble == "stubborn" and run.refusals_left:
                run.refusals_left -= 1
                return False
            if run.status == "running":
                run.cancelled_after = run.age
            return True


def create_app() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(PROPAGATE_EXCEPTIONS=True)  # a cut connection must reach the server
    book = Book()

    @app.get("/")
    def about() -> ResponseReturnValue:
        return jsonify({"sandbox": True, "notice": NOTICE})

    @app.post("/runs")
    def start() -> ResponseReturnValue:
        try:
            wanted = Wanted.model_validate_json(request.get_data())
        except ValidationError as error:
            return _no(422, error.errors()[0]["msg"])
        return jsonify({"sandbox": True, "id": book.start(wanted).id}), 201

    @app.get("/runs")
    def listed() -> ResponseReturnValue:
        since, marker = request.args.get("since", 0.0, float), request.args.get("marker")
        return jsonify({"sandbox": True, "runs": [run.shown(_address()) for run in _found(book, since, marker)]})

    @app.get("/runs/<run_id>")
    def show(run_id: str) -> ResponseReturnValue:
        run = book.find(run_id)
        return jsonify(run.shown(_address())) if run else _no(404, "There is no such run.")

    @app.delete("/runs/<run_id>")
    def cancel(run_id: str) -> ResponseReturnValue:
        run = book.find(run_id)
        if run is None:
            return _no(404, "There is no such run.")
        if not book.cancel(run):
            return _no(500, "Not now.")
        return jsonify(run.shown(_address())), 200 if run.cancelled_after is not None else 409

    @app.get("/files/<run_id>/<int:n>")
    def file(run_id: str, n: int) -> ResponseReturnValue:
        run = book.find(run_id)
        if run is None or run.status != "done" or n >= run.wanted.files:
            return _no(404, "There is no such file.")
        return Response(_tone(run.wanted.bytes, n), mimetype="audio/wav")

    @app.get("/sandbox/bill")
    def bill() -> ResponseReturnValue:
        return jsonify([run.billed() for run in book.all()])

    app.wsgi_app = Faults(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _address() -> str:
    return request.host_url.rstrip("/")


def _no(status: int, words: str) -> ResponseReturnValue:
    return jsonify({"sandbox": True, "error": words}), status


def _found(book: Book, since: float, marker: str | None) -> Sequence[Run]:
    return [
        run
        for run in book.all()
        if run.started_at >= since
        and marker in (None, run.wanted.marker)
        and (run.wanted.trouble != "slow_list" or run.age >= LISTED_LATE_SECONDS)
    ]


def _tone(size: int, n: int) -> bytes:
    """A sound of exactly so many bytes, the same each time it is fetched."""
    frames = size - WAV_HEADER_BYTES
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setparams((1, 1, RATE, 0, "NONE", ""))
        sound.writeframes(bytes((128 + (at * (n + 3)) % 64) for at in range(min(frames, RATE))) * (frames // RATE + 1))
    whole = bytearray(written.getvalue()[:size])
    whole[4:8] = (size - 8).to_bytes(4, "little")
    whole[40:44] = frames.to_bytes(4, "little")
    return bytes(whole)


class _Handler(Handler):
    stands_for = "a vendor that is paid"


def main() -> None:
    given = options(__doc__, PORT).parse_args()

    def said(address: str) -> list[str]:
        return [NOTICE, f"NOVAI_ECHO_VENDOR_URL={address}"]

    serve(create_app(), given.port, said, _Handler, attached=given.attached)


if __name__ == "__main__":
    main()
