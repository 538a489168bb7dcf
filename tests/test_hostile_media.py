"""Files made to fool, flood, crash or spy: each is refused in a plain sentence, and harms nobody else."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import media as make
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Limits, RenderSettings, Variant, child
from novai_web.engines.ffmpeg.child import Crashed
from novai_web.errors import DiskFull, UnusableMedia

LIMITS = Limits()
CHILD = "novai_web.engines.ffmpeg.inside"


def refusal(path: Path, limits: Limits = LIMITS) -> str:
    with pytest.raises(UnusableMedia) as refused:
        ffmpeg.probe(path, limits)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert not {"Traceback", "Errno", "Error", "av.", "libav"} & set(sentence.split())
    return sentence


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another person's video, which a playlist tries to read."""
    return make.b_frames(tmp_path_factory.mktemp("somebody") / "private.mp4", frames=10)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n",
        "ffconcat version 1.0\nfile {path}\n",
        "concat:{path}|{path}",
        "subfile,,start,0,end,100,,:{path}",
        "data:video/mp4;base64,AAAA",
        "<?xml version='1.0'?><MPD><BaseURL>{path}</BaseURL></MPD>",
        "<svg xmlns='http://www.w3.org/2000/svg'><image href='{path}'/></svg>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "song.mp3", "picture.png"])
def test_a_playlist_or_a_script_by_another_name_is_refused(tmp_path: Path, secret: Path, text: str, name: str) -> None:
    assert "cannot" in (told := refusal(written(tmp_path / name, text.format(path=secret)))) or "not a" in told


def test_a_movie_that_refers_to_another_file_does_not_read_it(tmp_path: Path, secret: Path) -> None:
    """QuickTime may keep its samples elsewhere ("dref" with a path): libav must not follow."""
    data = bytearray(make.silent(tmp_path / "ref.mov", frames=3).read_bytes())
    at = data.index(b"url \x00\x00\x00\x01")
    data[at + 7] = 0  # not in this file
    refused_or_own = written(tmp_path / "ref.mov", bytes(data))
    with suppress(UnusableMedia):
        assert ffmpeg.probe(refused_or_own, LIMITS).height == 320


def test_a_matroska_file_may_not_carry_a_decoder_nobody_needs(tmp_path: Path) -> None:
    path = make.video(tmp_path / "old.webm", codec="libvpx", frames=5)
    assert "vp8" in refusal(path)


def test_an_empty_file_says_that_it_is_empty(tmp_path: Path) -> None:
    assert "empty" in refusal(written(tmp_path / "a.mp4", b""))


@pytest.mark.parametrize("size", [1, 7, 12, 100, 5000])
def test_zeros_and_noise_are_refused(tmp_path: Path, size: int) -> None:
    refusal(written(tmp_path / "zeros.mp4", bytes(size)))
    refusal(written(tmp_path / "noise.mp4", os.urandom(size)))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "song.wav", "song.flac", "picture.png", "picture.jpg"])
def test_what_is_cut_short_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if path.suffix in (".png", ".jpg"):
        make.image(path, (400, 300))
    elif path.suffix in (".wav", ".flac"):
        make.audio(path, seconds=30)
    else:
        maker = make.vp9 if path.suffix == ".webm" else make.b_frames
        maker(path, frames=300)
    if path.suffix == ".png" and share == 0.9:
        share = 0.5  # the last tenth of a PNG this small is only its end marker
    written(path, path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(path)


def test_a_picture_of_sixteen_thousand_by_sixteen_thousand_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = 16_000

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    squeezer = zlib.compressobj(9)
    row = bytes(1 + side * 3)
    body = b"".join(squeezer.compress(row) for _ in range(side)) + squeezer.flush()
    path = tmp_path / "flood.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    start = time.perf_counter()
    assert "16000 × 16000" in refusal(path)
    assert time.perf_counter() - start < 5


def test_a_video_longer_than_the_limit_says_how_long_it_may_be(tmp_path: Path) -> None:
    path = make.silent(tmp_path / "long.mp4", frames=90)
    assert "longer than 0.0333333 minutes" in refusal(path, replace(LIMITS, media_seconds_max=2))


def test_a_video_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = make.silent(tmp_path / "big.mp4", size=(320, 320), frames=5)
    refusal(path, replace(LIMITS, frame_pixels_max=10_000))


def test_a_name_means_nothing(tmp_path: Path) -> None:
    for name in ("a%03d.png", "-i", "concat:a|b", "http:__x", "new\nline", "\u202egnp.mp4", "a'b;$(touch x)"):
        path = make.audio(tmp_path / "plain.wav", seconds=0.2).rename(tmp_path / name)
        assert ffmpeg.probe(path, LIMITS).kind == "audio"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=30))
def test_a_damaged_file_is_read_or_refused_but_never_breaks_anything(
    fuzzed: tuple[Path, bytes], seed: int, damage: list[tuple[float, int]]
) -> None:
    path, data = fuzzed
    broken = bytearray(data)
    for place, value in damage:
        broken[int(place * (len(broken) - 1))] = value
    path.write_bytes(broken)
    (found,) = ffmpeg.probe_all([path], LIMITS)
    assert isinstance(found, ffmpeg.Media | UnusableMedia)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = make.b_frames(tmp_path_factory.mktemp("fuzz") / "clip.mp4", frames=8)
    return path, path.read_bytes()


def test_a_reader_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = make.audio(tmp_path / "a.wav", seconds=1)
    start = time.perf_counter()
    assert "could not be read" in refusal(path, replace(LIMITS, probe_seconds_max=0.05))
    assert time.perf_counter() - start < 5
    assert not _children()


def test_a_reader_that_wants_too_much_memory_is_ended(tmp_path: Path) -> None:
    path = make.b_frames(tmp_path / "a.mp4", frames=5)
    refusal(path, replace(LIMITS, memory_bytes_max=150 * 1024**2))


def test_the_child_knows_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "do not tell")
    batch = [Variant(0, make.b_frames(tmp_path / "a.mp4", frames=60), None, "Hi", "")]
    environments: list[dict[str, str]] = []

    def look(_: float) -> None:
        with suppress(psutil.NoSuchProcess):
            environments.extend(process.environ() for process in _children())

    ffmpeg.render(
        ffmpeg.plan(batch, RenderSettings()), tmp_path / "out", LIMITS, look, lambda *_: None, lambda *_: None
    )
    assert environments
    assert all("SECRET_KEY" not in environment for environment in environments)


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed outright leaves no process behind."""
    code = (
        "import sys, time; from pathlib import Path; from novai_web.engines.ffmpeg import child, Limits\n"
        "talk = child.talk('render', Limits(), 60, plan=None, folder='x')\n"
        "process = child._start('probe', open('/dev/null', 'w'))\n"
        "print(process.pid, flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).parents[1])
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    grandchild = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.5)  # until it has asked the kernel
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    psutil.wait_procs([grandchild], timeout=5)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_variant_that_kills_its_process_fails_alone(tmp_path: Path) -> None:
    """The reader is shot whenever it works on the guilty video; all others are delivered."""
    good = [make.b_frames(tmp_path / f"good{n}.mp4", frames=20) for n in range(3)]
    guilty = make.b_frames(tmp_path / "guilty.mp4", frames=900)
    batch = [Variant(n, video, None, "Hi", "") for n, video in enumerate([good[0], guilty, good[1], good[2]])]
    done: dict[int, Path] = {}
    failed: dict[int, str] = {}

    def shoot(_: float) -> None:
        for process in _children():
            with suppress(psutil.NoSuchProcess):
                if any(file.path == str(guilty) for file in process.open_files()):
                    process.kill()

    plan = ffmpeg.plan(batch, RenderSettings())
    ffmpeg.render(plan, tmp_path / "out", LIMITS, shoot, lambda n, path, _: done.update({n: path}), failed.__setitem__)
    assert set(done) == {0, 2, 3}
    assert set(failed) == {1}
    assert "twice" in failed[1]
    assert set((tmp_path / "out").iterdir()) == set(done.values())


def test_a_video_damaged_in_the_middle_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    good = make.b_frames(tmp_path / "good.mp4", frames=20)
    bad = make.b_frames(tmp_path / "bad.mp4", frames=200)
    data = bytearray(bad.read_bytes())
    start = data.index(b"mdat")
    for at in range(start + len(data[start:]) // 3, start + len(data[start:]) // 2):
        data[at] = 0xFF
    bad.write_bytes(data)
    done: dict[int, Path] = {}
    failed: dict[int, str] = {}
    plan = ffmpeg.plan([Variant(0, bad, None, "Hi", ""), Variant(1, good, None, "Hi", "")], RenderSettings())
    ffmpeg.render(
        plan, tmp_path / "out", LIMITS, lambda _: None, lambda n, path, _: done.update({n: path}), failed.__setitem__
    )
    assert 1 in done
    assert set(done) | set(failed) == {0, 1}
    assert set((tmp_path / "out").iterdir()) == set(done.values())


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_says_so_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    video = make.video(tmp_path / "a.mp4", size=(640, 640), frames=60)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount")
    try:
        plan = ffmpeg.plan([Variant(0, video, None, "Hi", "")], RenderSettings(crf=10))
        with pytest.raises(DiskFull):
            ffmpeg.render(plan, small, LIMITS, lambda _: None, lambda *_: None, lambda *_: None)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_child_that_babbles_is_not_believed() -> None:
    with pytest.raises(Crashed):
        child._parse(b"not json")
    with pytest.raises(Crashed):
        child._parse(b"[1]")


def _children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it may end while we look
            if CHILD in process.cmdline():
                found.append(process)
    return found
