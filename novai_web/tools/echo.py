"""Echo: a tool that only proves that jobs work. Offered when the setting `echo` says so, as tests and drills do."""

import os
import signal
import time
import wave
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import Field

from novai_web.config import Settings
from novai_web.errors import StoreFailed, ToolFailed, UnusableMedia
from novai_web.library.sniffing import sniff
from novai_web.tools.tool import Estimate, Input, Made, Part, Promise, Step, Tool, Work
from novai_web.vendors.sandbox_runs import SandboxRuns

TICKS = 20
VENDOR_CREDITS = 3
RATE = 8000


class EchoInput(Input):
    copies: int = Field(1, ge=1, le=500, title="Copies", description="How many short sounds to make.")
    per_job: int = Field(10, ge=1, le=500, title="Copies in one job")
    credits: int = Field(0, ge=0, le=1000, title="Credits for each copy")
    seconds: float = Field(0, ge=0, le=600, title="Seconds each copy takes")
    lost: list[int] = Field([], max_length=500, title="Copies that fail")
    trouble: Literal["none", "refuse", "crash", "store", "die"] = Field("none", title="What goes wrong")
    vendor: bool = Field(False, title="Ask the sandbox vendor", description="Its sound is the first copy of each job.")
    vendor_seconds: float = Field(1, ge=0, le=600, title="Seconds the vendor takes")
    vendor_trouble: Literal["none", "no_output", "fail", "refuse", "nan", "slow_list", "stubborn"] = Field(
        "none", title="What goes wrong at the vendor"
    )


def price(given: EchoInput, settings: Settings) -> int:
    """What you say it costs."""
    return given.credits * given.copies


def estimate(given: EchoInput, settings: Settings) -> Estimate:
    return Estimate(given.copies, given.copies * given.seconds, given.copies * RATE)


def split(given: EchoInput, settings: Settings) -> Sequence[Part]:
    promises = [Promise(n, f"echo {n + 1}.wav", {"n": n}) for n in range(given.copies)]
    return [Part(given, promises[at : at + given.per_job]) for at in range(0, given.copies, given.per_job)]


def listen(given: EchoInput, work: Work) -> None:
    """Note what was heard; whatever is to go wrong goes wrong here."""
    work.notes["heard"] = work.notes.get("heard", 0) + 1
    work.notes["asked_for"] = work.promises[0].n if work.promises else None
    if given.trouble == "refuse":
        raise ToolFailed("There was nothing to hear. You were not charged.")
    if given.trouble == "crash":
        raise ZeroDivisionError("as asked")
    if given.trouble == "store":
        raise StoreFailed
    if given.trouble == "die":
        os.kill(os.getpid(), signal.SIGKILL)


def ask(given: EchoInput, work: Work) -> None:
    """One paid run, if that was asked for; what comes back is looked at like an upload before it is kept."""
    if not given.vendor:
        return
    if not work.settings.echo_vendor_url:
        raise ToolFailed("This installation has no sandbox vendor: set NOVAI_ECHO_VENDOR_URL. You were not charged.")
    vendor = SandboxRuns(work.settings.echo_vendor_url)
    request = {"seconds": given.vendor_seconds, "files": 1, "bytes": RATE // 2, "trouble": given.vendor_trouble}
    answer = work.paid(vendor, request, cost_credits=VENDOR_CREDITS)
    for promise in [each for each in work.promises if each.n == work.notes.get("asked_for")]:
        path = work.bring(vendor, answer.files[0]).rename(work.folder / f"{promise.n}.wav")
        try:
            seconds = _duration_seconds(path)
        except (UnusableMedia, wave.Error, EOFError):
            work.fail(promise.n, "What the vendor sent cannot be used. You were not charged for it.")
        else:
            work.keep(path, _made(path, promise, seconds), n=promise.n)


def _duration_seconds(path: Path) -> float:
    """Raises what says that this is no sound."""
    if sniff(path).extension != "wav":
        raise UnusableMedia
    with wave.open(str(path)) as sound:
        return float(sound.getnframes() / max(1, sound.getframerate()))


def speak(given: EchoInput, work: Work) -> None:
    promises = list(work.promises)
    for at, promise in enumerate(promises):
        for tick in range(TICKS if given.seconds else 1):
            time.sleep(given.seconds / TICKS)
            work.progress((at + tick / TICKS) / len(promises))
        if promise.n in given.lost:
            work.fail(promise.n, "This echo was lost.")
            continue
        path = _sound(work.folder / f"{promise.n}.wav", promise.n)
        work.keep(path, _made(path, promise), n=promise.n)


def _sound(path: Path, n: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, RATE, 0, "NONE", ""))
        file.writeframes(bytes((128 + (at * (n + 1)) % 64) for at in range(RATE // 10)))
    return path


def _made(path: Path, promise: Promise, seconds: float = 0.1) -> Made:
    return Made(
        kind="audio",
        type="generated",
        origin="computed",
        name=promise.name,
        mime="audio/wav",
        sha256=sha256(path.read_bytes()).hexdigest(),
        media={"kind": "audio", "extension": ".wav", "duration_seconds": seconds},
        recipe={"tool": tool.slug, "n": promise.n},
    )


tool = Tool(
    slug="echo",
    title="Echo",
    about="Makes short sounds and proves that jobs work.",
    icon="audio-lines",
    input=EchoInput,
    price=price,
    estimate=estimate,
    split=split,
    name=lambda given: "Echo",
    steps=(Step("Listening", listen), Step("Asking", ask), Step("Speaking", speak, weight=8)),
    makes=("audio",),
    queue="io",
    deadline_seconds=900,
)
