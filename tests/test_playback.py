"""Rendered files in a real browser: they play to their end, and wherever one jumps to, the right frame is shown."""

import base64
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import looking
import matrix
import numpy as np
import pytest
import rendered
from looking import Frame
from playwright.sync_api import Browser, Page, sync_playwright
from rendered import Case

pytestmark = pytest.mark.timeout(300)

RATE = 4  # of playing
DIFFERENCE_MAX = 6  # mean, of luma: the browser has its own ideas about colours, but not so many
FEW = [("gop_60.mp4", "middle"), ("open_gop.mp4", "middle"), ("baseline.mp4", "start"), ("phone.mp4", "end")]
FEW += [("variable_rate.mp4", "middle"), ("trimmed_start.mp4", "middle")]
ALL = [(name, window) for name in matrix.SOURCES for window in ("start", "middle", "end")]

PAGE = b"<!doctype html><title>A player</title><video muted playsinline></video><canvas></canvas>"

PLAY = """async ([url, rate]) => {
  const video = document.querySelector("video");
  const ended = new Promise((tell) => {
    video.onended = () => tell("ended");
    video.onerror = () => tell(`error ${video.error.code}: ${video.error.message}`);
    setTimeout(() => tell(`stuck at ${video.currentTime}`), 60000);
  });
  video.src = url;
  video.playbackRate = rate;
  let last = -1, backwards = 0;
  const see = (_, frame) => {
    backwards += frame.mediaTime < last;
    last = frame.mediaTime;
    video.requestVideoFrameCallback(see);
  };
  video.requestVideoFrameCallback(see);
  await video.play();
  const end = await ended;
  return { end, backwards, duration: video.duration, width: video.videoWidth, height: video.videoHeight,
           decoded: video.getVideoPlaybackQuality().totalVideoFrames };
}"""

JUMP = """async ([url, time]) => {
  const video = document.querySelector("video"), canvas = document.querySelector("canvas");
  const within = (milliseconds, promise) => Promise.race([promise, new Promise((go) => setTimeout(go, milliseconds))]);
  if (!video.src.endsWith(url) || !video.paused) video.src = url;
  if (video.readyState < 2) await new Promise((go) => { video.onloadeddata = go; });
  const shown = new Promise((go) => video.requestVideoFrameCallback(go));
  const there = new Promise((go) => { video.onseeked = go; });
  video.currentTime = time;
  await within(5000, there);
  await within(300, shown);
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  brush.drawImage(video, 0, 0);
  const bytes = brush.getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return [canvas.width, canvas.height, btoa(text)];
}"""


class Site(NamedTuple):
    """A server of single files, in parts when they are asked for in parts, as players do."""

    server: ThreadingHTTPServer
    files: dict[str, Path]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    files: dict[str, Path] = {}

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = files.get(self.path)
            data = path.read_bytes() if path else PAGE
            part = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(part[1]) if part else 0
            last = int(part[2]) if part and part[2] else len(data) - 1
            self.send_response(206 if part else 200)
            self.send_header("Content-Type", "video/mp4" if path else "text/html")
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            self.wfile.write(data[first : last + 1])

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a player hangs up as soon as it has enough

    with Quiet(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(server, files)
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=[*options, "--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, site: Site) -> Page:
    page = browser.new_page()
    page.goto(site.url)
    return page


class Playing(NamedTuple):
    """A case in a page, and what it must look like there."""

    case: Case
    url: str
    page: Page

    def play(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(PLAY, [self.url, RATE])
        return found

    def frame_at(self, number: int) -> Frame:
        """What the browser shows early in this frame's time: it takes all frames to last as long as the average."""
        after = self.case.after
        width, height, text = self.page.evaluate(JUMP, [self.url, float(after[number].time) + 0.005])
        pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3].astype(float)
        luma = pixels @ np.array([0.299, 0.587, 0.114])
        blue, red = (128 + 0.5 * (pixels[..., plane] - luma) / share for plane, share in ((2, 0.886), (0, 0.701)))
        return Frame(after[number].time, *(plane.astype(np.uint8) for plane in (luma, blue, red)))


def played(case: Case, site: Site, page: Page) -> Playing:
    url = f"/{case.name}-{case.window}.mp4"
    site.files[url] = case.file
    return Playing(case, url, page)


@pytest.fixture(
    scope="module",
    params=[*FEW, *(pytest.param(case, marks=pytest.mark.slow) for case in ALL if case not in FEW)],
    ids=lambda case: "-".join(case),
)
def playing(
    request: pytest.FixtureRequest, site: Site, page: Page, tmp_path_factory: pytest.TempPathFactory
) -> Playing:
    return played(rendered.case(tmp_path_factory, *request.param), site, page)


def test_it_plays_to_its_end_without_an_error(playing: Playing) -> None:
    found, case = playing.play(), playing.case
    assert found["end"] == "ended"
    assert found["backwards"] == 0
    assert found["duration"] == pytest.approx(float(case.after[-1].time + case.after[1].time), abs=0.15)
    assert found["decoded"] >= len(case.after)


def test_a_jump_to_either_side_of_every_joint_shows_the_frame_that_belongs_there(playing: Playing) -> None:
    case = playing.case
    joints = {case.hooked.start, case.hooked.stop}
    if case.way == "exact":
        joints |= {case.may_change.start, case.may_change.stop}
    numbers = {0, len(case.after) - 1, *(n for joint in joints for n in (joint - 1, joint, joint + 1))}
    for n in sorted(number for number in numbers if 0 <= number < len(case.after)):
        seen, wished = playing.frame_at(n), case.after[n]
        assert (seen.number, seen.hooked) == (wished.number, wished.hooked), n
        assert difference(seen, wished) < DIFFERENCE_MAX, n


def difference(seen: Frame, wished: Frame) -> float:
    """Of brightness, both stretched to the same ground and the same span: ranges are the player's own affair."""
    height, width = seen.luma.shape
    planes = [seen.luma.astype(float), looking.at_size(wished.luma, (width, height)).astype(float)]
    one, other = ((plane - plane.mean()) / plane.std() * 50 for plane in planes)
    return float(np.abs(one - other).mean())
