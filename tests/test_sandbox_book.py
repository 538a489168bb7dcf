"""The sandbox keeps its book in a file: whoever kills it in the middle of a run finds the run again."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from novai_web.sandbox.book import Book
from novai_web.sandbox.weights import safetensors

HEADERS = {"Authorization": "Key sandbox"}
MODEL = "fal-ai/wan/v2.2-a14b/text-to-image/lora"


@contextmanager
def sandbox(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    module = [sys.executable, "-m", "novai_web.sandbox.vendors"]
    command = [*module, "--port", "0", "--folder", str(folder), "--seconds", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, next(line.strip() for line in process.stdout or () if line.startswith("http"))
        finally:
            process.kill()


def test_a_run_survives_the_death_of_the_sandbox_and_gives_the_same_picture(tmp_path):
    with sandbox(tmp_path) as (process, url):
        given = {"prompt": "a cat", "seed": 7, "image_size": {"width": 64, "height": 64}}
        run = requests.post(f"{url}/fal-queue/{MODEL}", json=given, headers=HEADERS, timeout=5).json()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    pictures = []
    for _ in range(2):
        with sandbox(tmp_path) as (process, url):
            path = f"{url}/fal-queue/fal-ai/wan/requests/{run['request_id']}"
            end = time.monotonic() + 20
            while requests.get(f"{path}/status", headers=HEADERS, timeout=5).json()["status"] != "COMPLETED":
                assert time.monotonic() < end
                time.sleep(0.1)
            file = requests.get(path, headers=HEADERS, timeout=5).json()["image"]
            pictures.append(requests.get(file["url"], timeout=5).content)
            bill = requests.get(f"{url}/fal-queue/sandbox/bill", timeout=5).json()
            assert [each["id"] for each in bill] == [run["request_id"]]
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) is not None
    assert pictures[0] == pictures[1]


def test_the_sandbox_says_what_it_is_and_that_it_is_there(tmp_path):
    with sandbox(tmp_path) as (_, url):
        assert requests.get(f"{url}/health", timeout=5).status_code == 200
        said = requests.get(url, timeout=5)
        assert said.json()["sandbox"] and "sandbox" in said.headers["Server"]
        of_fal = ("fal-queue", "fal-api", "fal-rest", "fal-media")
        for mount in (*of_fal, "gemini", "wavespeed", "wavespeed-media", "picsi"):
            assert requests.get(f"{url}/{mount}/sandbox/requests", timeout=5).json() == []


def test_what_a_run_is_follows_from_the_time(tmp_path):
    book = Book(tmp_path, seconds=0.4)
    run = book.start("fal", "a/model", {"prompt": "a cat"}, marker="m")
    assert (run.is_queued, run.is_over, run.marker) == (True, False, "m")
    time.sleep(0.15)
    assert not run.is_queued and 0 < run.progress < 1
    time.sleep(0.35)
    assert run.is_over and run.progress == 1 and not book.cancel(run)
    assert run.billed()["billed"]


def test_a_run_is_cancelled_once_and_what_was_noted_stays(tmp_path):
    book = Book(tmp_path)
    run = book.start("fal", "a/model", {"seed": 5}, seconds=60)
    assert book.cancel(run) and not book.cancel(run)
    book.note(run, one=1)
    noted = Book(tmp_path).find(run.id)
    assert noted is not None and noted.is_cancelled and noted.is_over and not noted.billed()["billed"]
    assert book.note(run, two=2).notes == {"one": 1, "two": 2} and noted.seed == 5
    assert book.find("nobody") is None and book.all("gemini") == [] and len(book.all()) == 1


def test_the_same_wish_is_drawn_from_the_same_seed(tmp_path):
    book = Book(tmp_path)
    one, two = (book.start("gemini", "m", {"prompt": "a cat"}) for _ in range(2))
    assert one.seed == two.seed != book.start("gemini", "m", {"prompt": "a dog"}).seed
    assert safetensors(3, {}) == safetensors(3, {}) != safetensors(4, {})
