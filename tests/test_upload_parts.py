"""An upload in parts ends with exactly the bytes that were sent, whatever was cut, raced, killed or full."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from novai_web.engines.store.local import LocalStore
from novai_web.engines.store.parts import CHUNK_BYTES, PartialFile, abandoned
from novai_web.errors import Conflict, DiskFull, NotFound, TooLarge
from tests.small_disk import mounted

MIB = 1024 * 1024
PART = 2 * CHUNK_BYTES
DATA = os.urandom(3 * PART + 17)
EDGES = sorted(
    {edge + step for edge in range(0, len(DATA), CHUNK_BYTES) for step in (-1, 0, 1)} - {-1} | {len(DATA) - 1}
)


class CutOff(Exception):
    pass


class Cut(io.RawIOBase):
    """A body whose sender is gone after so many bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        if chunk := self._content.read(size):
            return chunk
        raise CutOff


@pytest.fixture
def upload(tmp_path) -> PartialFile:
    return PartialFile(tmp_path / "uploads", "u1")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


def send(upload: PartialFile, content: bytes, start: int) -> int:
    return upload.append(start, io.BytesIO(content[start:]))


def check(upload: PartialFile, content: bytes) -> None:
    path, sha256, size = upload.finish()
    assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert path.read_bytes() == content


def test_parts_of_any_size_make_the_whole(upload):
    upload.create(len(DATA))
    offset = 0
    for size in (1, CHUNK_BYTES, PART + 1, 0, len(DATA)):
        offset = upload.append(offset, io.BytesIO(DATA[offset : offset + size]), len(DATA[offset : offset + size]))
        assert offset == upload.offset
    check(upload, DATA)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("known", [True, False])
def test_an_upload_cut_at_any_edge_resumes_to_the_exact_bytes(upload, edge, known):
    upload.create(len(DATA))
    with pytest.raises(CutOff):
        upload.append(0, Cut(DATA[:edge]), len(DATA) if known else None)
    again = PartialFile(upload._folder.parent, "u1")
    assert again.offset == edge
    assert again.append(edge, io.BytesIO(DATA[edge:]), len(DATA) - edge if known else None) == len(DATA)
    check(again, DATA)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 40_000), max_size=8), length=st.integers(0, 100_000), quiet=st.booleans())
def test_any_series_of_cuts_ends_with_the_exact_bytes(tmp_path_factory, cuts, length, quiet):
    content, upload = DATA[:length], PartialFile(tmp_path_factory.mktemp("uploads"), "u")
    upload.create(length)
    for cut in cuts:
        start = upload.offset
        body = content[start : start + cut]
        try:
            upload.append(start, io.BytesIO(body) if quiet else Cut(body), length - start)
        except CutOff:
            assert upload.offset == start + len(body)
    send(upload, content, upload.offset)
    check(upload, content)


def test_bytes_at_another_offset_are_refused(upload):
    upload.create(10)
    upload.append(0, io.BytesIO(b"01234"))
    for offset in (0, 4, 6, 10):
        with pytest.raises(Conflict, match="byte 5"):
            upload.append(offset, io.BytesIO(b"xxxxx"))
    upload.append(5, io.BytesIO(b"56789"))
    check(upload, b"0123456789")


def test_more_than_announced_is_refused(upload):
    upload.create(10)
    upload.append(0, io.BytesIO(b"012"))
    for limit in (8, None):
        with pytest.raises(TooLarge):
            upload.append(3, io.BytesIO(b"x" * 8), limit)
        assert upload.offset == 3
    upload.append(3, io.BytesIO(b"3456789 and the next request"), 7)
    with pytest.raises(TooLarge):
        upload.append(10, io.BytesIO(b"x"))
    check(upload, b"0123456789")


def test_an_endless_body_never_fills_more_than_was_announced(upload):
    upload.create(PART + 5)
    with pytest.raises(TooLarge), Path("/dev/zero").open("rb", buffering=0) as endless:
        upload.append(0, endless)
    assert upload.offset <= PART + 5


def test_only_a_whole_upload_finishes_and_it_may_do_so_twice(upload):
    upload.create(3)
    with pytest.raises(Conflict, match="0 of 3"):
        upload.finish()
    upload.append(0, io.BytesIO(b"abc"))
    assert upload.finish() == upload.finish()
    assert upload.offset == 3
    assert upload.append(3, io.BytesIO(b"")) == 3
    with pytest.raises(TooLarge):
        upload.append(3, io.BytesIO(b"d"), 1)
    check(upload, b"abc")


def test_an_empty_upload_is_whole_at_once(upload):
    upload.create(0)
    check(upload, b"")


def test_what_is_stored_outlives_the_upload(upload, tmp_path):
    store = LocalStore(tmp_path / "files")
    upload.create(3)
    upload.append(0, io.BytesIO(b"abc"))
    store.put("a", upload.finish().path, "text/plain")
    upload.discard()
    assert b"".join(store.read("a")) == b"abc"


def test_discarded_and_unknown_uploads_are_not_found(upload, tmp_path):
    upload.discard()
    upload.create(3)
    with pytest.raises(Conflict):
        upload.create(3)
    upload.discard()
    assert list((tmp_path / "uploads").iterdir()) == []
    for call in (
        lambda: upload.offset,
        lambda: upload.length,
        upload.finish,
        lambda: upload.append(0, io.BytesIO(b"x")),
    ):
        with pytest.raises(NotFound):
            call()
    for name in ("", "..", "a/b", "a.b", "ж", "x" * 65, "a\n"):
        with pytest.raises(NotFound):
            PartialFile(tmp_path, name)


def test_uploads_that_nothing_happens_to_are_found(upload, tmp_path):
    assert list(abandoned(tmp_path / "uploads", 0)) == []
    upload.create(3)
    (tmp_path / "uploads/killed-while-beginning").mkdir()
    assert list(abandoned(tmp_path / "uploads", 60)) == []
    for old in abandoned(tmp_path / "uploads", -1):
        old.discard()
    assert list((tmp_path / "uploads").iterdir()) == []


# Two at once


class Silent(io.RawIOBase):
    """A body that sends a piece, and the rest only much later: its connection hangs."""

    def __init__(self, *pieces: bytes) -> None:
        self.waits, self.go_on, self._pieces = threading.Event(), threading.Event(), list(pieces)
        self.error: Exception | None = None

    def read(self, size: int = -1, /) -> bytes:
        if len(self._pieces) == 1:
            self.waits.set()
            assert self.go_on.wait(10)
        return self._pieces.pop(0) if self._pieces else b""

    def into(self, upload: PartialFile) -> threading.Thread:
        def send() -> None:
            try:
                upload.append(0, self)
            except Exception as error:  # noqa: BLE001
                self.error = error

        sender = threading.Thread(target=send)
        sender.start()
        assert self.waits.wait(10)
        return sender


def test_a_request_that_resumes_overtakes_one_that_hangs(upload, tmp_path):
    upload.create(6)
    hanging = Silent(b"01", b"xx")
    sender = hanging.into(upload)
    second = PartialFile(tmp_path / "uploads", "u1")
    assert second.append(2, io.BytesIO(b"23")) == 4
    hanging.go_on.set()
    sender.join()
    assert isinstance(hanging.error, Conflict)
    second.append(4, io.BytesIO(b"45"))
    check(second, b"012345")


@pytest.mark.parametrize("end", ["finish", "discard", "begun anew"])
def test_what_a_hanging_request_still_sends_afterwards_goes_nowhere(upload, tmp_path, end):
    upload.create(4)
    hanging = Silent(b"01", b"xx")
    sender = hanging.into(upload)
    second = PartialFile(tmp_path / "uploads", "u1")
    if end == "finish":
        second.append(2, io.BytesIO(b"23"))
        second.finish()
    else:
        second.discard()
    if end == "begun anew":
        second.create(4)
    hanging.go_on.set()
    sender.join()
    assert isinstance(hanging.error, NotFound if end == "discard" else Conflict)
    if end == "finish":
        check(second, b"0123")
    if end == "begun anew":
        assert second.offset == 0


def test_many_tabs_at_once_never_interleave(tmp_path):
    """Real processes all send the same file in small pieces; each goes on from wherever the file then ends."""
    code = """
import io, random, sys
from pathlib import Path
from novai_web.engines.store.parts import PartialFile
from novai_web.errors import Conflict

class Trickle(io.BytesIO):
    def read(self, size):
        return super().read(min(size, random.randrange(1, 50)))

upload, content = PartialFile(Path(sys.argv[1]), "u1"), Path(sys.argv[2]).read_bytes()
while (start := upload.offset) < len(content):
    try:
        upload.append(start, Trickle(content[start:]), len(content) - start)
    except Conflict:
        pass
"""
    content = DATA[: 64 * 1024]
    (tmp_path / "content").write_bytes(content)
    upload = PartialFile(tmp_path / "uploads", "u1")
    upload.create(len(content))
    arguments = [sys.executable, "-c", code, str(tmp_path / "uploads"), str(tmp_path / "content")]
    tabs = [subprocess.Popen(arguments) for _ in range(3)]
    assert [tab.wait(60) for tab in tabs] == [0, 0, 0]
    check(upload, content)


# Killed


def test_a_killed_server_leaves_what_arrived_and_its_lock_goes_with_it(tmp_path):
    code = """
import sys
from pathlib import Path
from novai_web.engines.store.parts import PartialFile
upload = PartialFile(Path(sys.argv[1]), "u1")
upload.append(upload.offset, sys.stdin.buffer.raw)
"""
    upload = PartialFile(tmp_path / "uploads", "u1")
    upload.create(len(DATA))
    for round_ in range(5):
        start = upload.offset
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "uploads")], stdin=subprocess.PIPE)
        child.stdin.write(DATA[start : start + 100_000 * (round_ + 1)])
        child.stdin.flush()
        deadline = time.monotonic() + 10
        while upload.offset == start and time.monotonic() < deadline:
            time.sleep(0.001)
        child.kill()
        child.wait()
        child.stdin.close()
        assert start < upload.offset <= start + 100_000 * (round_ + 1)
        assert upload._data.read_bytes() == DATA[: upload.offset]
    send(upload, DATA, upload.offset)
    check(upload, DATA)


@pytest.mark.parametrize("step", ["os.fsync", "Path.chmod", "Path.replace", "hashlib.file_digest"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_server_killed_while_finishing_finishes_the_next_time(upload, tmp_path, step, moment):
    code = """
import hashlib, os, signal, sys
from pathlib import Path
from novai_web.engines.store.parts import PartialFile
step, moment = sys.argv[2], sys.argv[3]
owner, name = {"Path": Path, "os": os, "hashlib": hashlib}[step.partition(".")[0]], step.partition(".")[2]
real = getattr(owner, name)
def deadly(*args, **kwargs):
    if moment == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, deadly)
PartialFile(Path(sys.argv[1]), "u1").finish()
"""
    upload.create(len(DATA))
    send(upload, DATA, 0)
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path / "uploads"), step, moment], check=False)
    assert child.returncode == -signal.SIGKILL
    assert upload.offset == len(DATA)
    check(upload, DATA)


# Full


def test_a_full_disk_is_said_before_the_body(small_disk):
    upload = PartialFile(small_disk / "uploads", "u1")
    with pytest.raises(DiskFull):
        upload.create(65 * MIB)
    with pytest.raises(NotFound):
        upload.offset  # noqa: B018
    assert list((small_disk / "uploads").iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_arrived_and_the_upload_resumes(small_disk):
    content = DATA * (60 * MIB // len(DATA))
    upload = PartialFile(small_disk / "uploads", "u1")
    upload.create(len(content))
    hog = small_disk / "hog"
    hog.write_bytes(bytes(30 * MIB))
    with pytest.raises(DiskFull, match="kept"):
        upload.append(0, io.BytesIO(content), len(content))
    assert 20 * MIB < upload.offset < 40 * MIB
    hog.unlink()
    send(upload, content, upload.offset)
    check(upload, content)
