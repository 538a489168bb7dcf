"""The sandbox vendor, and our client of it, which believes nothing that a vendor says without looking."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from novai_web.library.sniffing import sniff
from novai_web.sandbox import started
from novai_web.vendors import (
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    NotStarted,
    Refused,
    Running,
    Unknown,
    VendorFailed,
    line,
    sentence,
    share,
)
from novai_web.vendors.line import NoAnswer
from novai_web.vendors.sandbox_runs import SandboxRuns

BUSY = '{"sandbox": true, "error": "too many of you"}'


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with started("runs") as url:
        yield url


@pytest.fixture
def vendor(address: str) -> Iterator[SandboxRuns]:
    yield SandboxRuns(address)
    requests.delete(f"{address}/sandbox/faults", timeout=5)


@pytest.fixture
def start(vendor: SandboxRuns, request: pytest.FixtureRequest) -> Callable[..., str]:
    def one(**wanted: Any) -> str:
        return vendor.start({"seconds": 0, **wanted}, f"of {request.node.name}", timeout=10)

    return one


@pytest.fixture
def fault(address: str) -> Callable[..., None]:
    def will(**what: Any) -> None:
        requests.post(f"{address}/sandbox/faults", json=[what], timeout=5).raise_for_status()

    return will


def heard() -> None:
    """Nobody wants it to stop."""


@contextmanager
def a_server_that(answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """One that speaks no HTTP of its own: it is handed each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        answers(connection)
                    except OSError:
                        continue  # hung up on, as it deserves

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


# What the sandbox does


def test_it_says_that_it_is_a_sandbox_in_everything_it_says(address, start):
    run_id = start()
    for path in ("/", "/runs", f"/runs/{run_id}", "/runs/nothing"):
        answer = requests.get(f"{address}{path}", timeout=5)
        assert answer.json()["sandbox"] is True and "sandbox" in answer.headers["Server"]


def test_a_run_takes_its_time_and_then_has_its_files(vendor, start, tmp_path):
    run_id = start(seconds=0.4, files=2, bytes=20_000)
    assert isinstance(running := vendor.poll(run_id), Running) and 0 <= running.progress < 1
    time.sleep(0.5)
    done = vendor.poll(run_id)
    assert isinstance(done, Done) and [file.name for file in done.files] == ["tone 1.wav", "tone 2.wav"]
    for file in done.files:
        vendor.fetch(file, tmp_path / file.name, heard)
        assert (tmp_path / file.name).stat().st_size == 20_000 and sniff(tmp_path / file.name).extension == "wav"


def test_its_bill_names_what_was_started_and_not_cancelled_in_time(address, vendor, start):
    late, early, refused = start(), start(seconds=60), start(trouble="refuse")
    assert not vendor.cancel(late) and vendor.cancel(early) and vendor.cancel(refused) and vendor.cancel(early)
    bill = {each["id"]: each for each in requests.get(f"{address}/sandbox/bill", timeout=5).json()}
    assert [bill[run]["billed"] for run in (late, early, refused)] == [True, False, False]
    assert [bill[run]["cancelled"] for run in (late, early, refused)] == [False, True, False]
    assert all(bill[run]["over"] for run in (late, early, refused))


def test_a_run_is_found_by_its_marker_and_in_the_list(vendor, start, request):
    run_id = start(seconds=60)
    assert vendor.find(f"of {request.node.name}") == run_id
    assert vendor.find("nobody's") is None
    assert [each.is_over for each in vendor.recent() if each.external_id == run_id] == [False]


def test_a_stubborn_run_is_cancelled_at_the_fourth_asking(vendor, start):
    run_id = start(seconds=60, trouble="stubborn")
    for _ in range(3):
        with pytest.raises(Away):
            vendor.cancel(run_id)
    assert vendor.cancel(run_id)


@pytest.mark.parametrize(
    ("trouble", "seen"),
    [
        ("fail", Failed("The tone generator broke.")),
        ("refuse", Failed("This content is against the rules of the sandbox.", is_refusal=True)),
        ("no_output", Done([], 3)),
    ],
)
def test_a_run_fails_as_it_was_asked_to(vendor, start, trouble, seen):
    assert vendor.poll(start(trouble=trouble)) == seen


def test_a_run_that_it_never_had_is_unknown_and_not_billed(vendor):
    assert vendor.poll("0" * 32) == Unknown() and vendor.cancel("0" * 32)


# What the client makes of odd answers


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_vendor_has_not_started_and_says_when_to_come_back(vendor, start, fault, status):
    fault(fault="status", method="POST", status=status, body=BUSY, retry_after=17)
    with pytest.raises(NotStarted) as busy:
        start()
    assert busy.value.retry_after == 17


def test_a_refusal_in_the_vendors_own_words_is_final(vendor, start, fault):
    fault(fault="status", method="POST", status=422, body='{"sandbox": true, "error": "not\\u0000 <b>this</b>\\n"}')
    with pytest.raises(Refused, match=r"this: not <b>this</b>\. You were not charged\.") as refusal:
        start()
    assert refusal.value.code == "vendor_refused"


@pytest.mark.parametrize(
    "odd",
    [
        {"fault": "lost"},
        {"fault": "garbled"},
        {"fault": "garbled", "body": "x" * 2_000_000},
        {"fault": "garbled", "body": '{"id": 7}'},
        {"fault": "garbled", "body": '{"id": "../../etc"}'},
        {"fault": "status", "status": 500},
        {"fault": "status", "status": 503, "body": "<html>the proxy is tired</html>"},
        {"fault": "status", "status": 404, "body": "<html>no such route</html>"},
        {"fault": "cut", "after_bytes": 3},
    ],
    ids=lambda odd: f"{odd['fault']} {odd.get('body', odd.get('status', ''))!s:.20}",
)
def test_whatever_else_it_says_to_a_start_leaves_a_doubt(vendor, start, fault, odd):
    fault(method="POST", **odd)
    with pytest.raises(Doubtful):
        start()


def test_where_nobody_listens_nothing_was_started():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotStarted):
        SandboxRuns(f"http://127.0.0.1:{port}").start({}, "m", timeout=5)
    with pytest.raises(NotStarted):
        SandboxRuns("http://nobody.invalid").start({}, "m", timeout=5)


@pytest.mark.parametrize(
    "odd",
    [
        {"fault": "lost"},
        {"fault": "garbled"},
        {"fault": "garbled", "body": "x" * 2_000_000},
        {"fault": "garbled", "body": '{"sandbox": true}'},
        {"fault": "garbled", "body": '{"id": "another", "marker": "m", "status": "done"}'},
        {"fault": "garbled", "body": "[" * 100_000},
        {"fault": "status", "status": 500},
        {"fault": "status", "status": 404},
        {"fault": "cut", "after_bytes": 3},
    ],
    ids=lambda odd: f"{odd['fault']} {odd.get('body', odd.get('status', ''))!s:.20}",
)
def test_whatever_odd_it_says_of_a_run_means_that_it_is_away(vendor, start, fault, odd):
    run_id = start()
    fault(path=f"/runs/{run_id}", times=2, **odd)
    with pytest.raises(Away):
        vendor.poll(run_id)
    with pytest.raises(Away):
        vendor.cancel(run_id)
    assert isinstance(vendor.poll(run_id), Done)


def test_progress_that_is_no_number_is_no_progress(vendor, start):
    assert vendor.poll(start(seconds=60, trouble="nan")) == Running(None)
    assert [share(said) for said in (0.5, -3, 7, 1, True, "half", None, [], float("inf"))] == [
        0.5, 0.0, 1.0, 1.0, None, None, None, None, None,
    ]  # fmt: skip


def test_a_vendors_words_are_one_short_line():
    assert sentence("a\n\n<script>\u202e\tb" + "c" * 999) == ("a <script> b" + "c" * 999)[:300]


def test_a_list_may_be_wrong_too(vendor, fault):
    fault(fault="garbled", path="/runs", times=2, body='{"runs": [{"id": "a b", "marker": "m", "status": "done"}]}')
    with pytest.raises(Away):
        vendor.recent()
    with pytest.raises(Away):
        vendor.find("m")


def test_a_trickling_answer_is_given_up_when_its_time_is_up(address, fault):
    fault(fault="trickle", path="/runs", seconds=0.2)
    began = time.monotonic()
    with pytest.raises(NoAnswer) as gone:
        line.ask("GET", f"{address}/runs", seconds=1)
    assert 0.9 < time.monotonic() - began < 5 and gone.value.was_sent


def test_headers_that_never_end_are_given_up_when_their_time_is_up():
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for n in range(200):
            connection.sendall(f"X-{n % 50}: y\r\n".encode())
            time.sleep(0.1)

    with a_server_that(trickle) as url:
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            line.ask("GET", url, seconds=1)
    assert 0.9 < time.monotonic() - began < 5


def test_an_answer_without_an_end_is_not_taken_for_a_whole_one():
    def half(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"id": "half')
        time.sleep(5)

    with a_server_that(half) as url, pytest.raises(NoAnswer):
        line.ask("GET", url, seconds=1)


def test_a_packed_answer_is_not_unpacked():
    said = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"
    with a_server_that(lambda connection: connection.sendall(said)) as url, pytest.raises(NoAnswer, match="packed"):
        line.ask("GET", url, seconds=5)


def test_a_redirect_is_not_followed_and_not_read_to_its_end():
    said = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    with a_server_that(lambda connection: connection.sendall(said)) as url:
        assert line.ask("GET", url, seconds=5).status == 302
        with pytest.raises(Doubtful):
            SandboxRuns(url).start({}, "m", timeout=5)


@pytest.mark.parametrize("retry_after", ["-1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "nan", "9" * 30, "²"])
def test_a_retry_after_that_is_no_number_of_seconds_is_none(retry_after):
    said = f"HTTP/1.1 503 Busy\r\nRetry-After: {retry_after}\r\nContent-Length: {len(BUSY)}\r\n\r\n{BUSY}"
    with a_server_that(lambda connection: connection.sendall(said.encode())) as url, pytest.raises(NotStarted) as busy:
        SandboxRuns(url).start({}, "m", timeout=5)
    assert busy.value.retry_after is None


# Files


def test_a_file_comes_whole_or_not_at_all(vendor, start, fault, tmp_path):
    file = vendor.poll(start(bytes=500_000)).files[0]
    fault(fault="cut", path="/files/", after_bytes=200_000)
    with pytest.raises(Away):
        vendor.fetch(file, tmp_path / "tone.wav", heard)
    assert list(tmp_path.iterdir()) == []
    vendor.fetch(file, tmp_path / "tone.wav", heard)
    assert [path.name for path in tmp_path.iterdir()] == ["tone.wav"]


def test_a_file_that_is_too_large_is_left_half_way(vendor, start, tmp_path):
    file = vendor.poll(start(bytes=3_000_000)).files[0]
    with pytest.raises(NoAnswer, match="too large"):
        line.download(file.url, tmp_path / "tone.wav", seconds=10, bytes_max=1_000_000, heard=heard)
    assert list(tmp_path.iterdir()) == []


def test_fetching_stops_when_the_work_must_stop(vendor, start, tmp_path):
    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        vendor.fetch(vendor.poll(start(bytes=500_000)).files[0], tmp_path / "tone.wav", stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "file:///etc/passwd", "{address}.evil.test/files/x"])
def test_a_file_that_is_not_the_vendors_own_is_not_fetched(vendor, address, url, tmp_path: Path):
    with pytest.raises(VendorFailed):
        vendor.fetch(File(url.format(address=address), "x", "audio/wav"), tmp_path / "x", heard)
