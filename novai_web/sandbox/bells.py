"""Webhooks of the sandbox: rung when a run is over, a few times, and only on this machine or where it was told to."""

import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import requests

from novai_web.sandbox.book import Run

ANSWER_SECONDS = 15.0
LOOK_SECONDS, LOOKS_MAX = 0.5, 2000  # between two looks whether there is something to say, and how many
WAITS_SECONDS = (0.0, 1.0, 5.0)
HOSTS = ("127.0.0.1", "localhost", "web")  # `web`: the service of that name in docker-compose.yml
Said = Callable[[], tuple[bytes, Mapping[str, str]] | None]


def ring_when_over(run: Run, url: str, said: Said) -> None:
    """POST what is said, a body and its headers, to `url` when the run is over; None: not quite yet. Nobody waits.

    A sandbox that is killed forgets it, as webhooks may be lost: whoever waits for one must also ask.
    """
    if urlsplit(url).hostname in HOSTS:
        threading.Thread(target=_ring, args=(run, url, said), daemon=True).start()


def _ring(run: Run, url: str, said: Said) -> None:
    time.sleep(max(0.0, run.ended_at - time.time()))
    looks = 0
    while (word := said()) is None:
        looks += 1
        if looks > LOOKS_MAX:
            return
        time.sleep(LOOK_SECONDS)
    body, headers = word
    for wait in WAITS_SECONDS:
        time.sleep(wait)
        try:
            answer = requests.post(url, data=body, headers=dict(headers), timeout=ANSWER_SECONDS, allow_redirects=False)
        except requests.RequestException:
            continue  # nobody was there
        if answer.ok:
            return
