"""Work that is shared out over threads, and the progress that is told of it."""

import threading
import time

import pytest

from novai_web.engines.ffmpeg.inside.lanes import Lanes
from novai_web.engines.ffmpeg.inside.progress import Progress


def test_the_most_urgent_piece_of_work_goes_first_and_among_equals_the_oldest() -> None:
    lanes, order = Lanes(1), []
    for urgency, name in [((1, 0), "late"), ((0, 2), "second"), ((0, 1), "first"), ((0, 2), "third")]:
        lanes.add(urgency, lambda name=name: order.append(name))
    lanes.run()
    assert order == ["first", "second", "third", "late"]


def test_as_many_pieces_run_at_once_as_there_are_lanes() -> None:
    lanes, met = Lanes(3), threading.Barrier(3, timeout=10)
    for _ in range(3):
        lanes.add((0,), met.wait)
    lanes.run()
    assert not met.broken


def test_a_piece_of_work_may_add_others() -> None:
    lanes, done = Lanes(2), []

    def grow(depth: int) -> None:
        done.append(depth)
        if depth < 4:
            for _ in range(2):
                lanes.add((depth,), lambda: grow(depth + 1))

    lanes.add((0,), lambda: grow(0))
    lanes.run()
    assert sorted(done) == sorted(depth for depth in range(5) for _ in range(2**depth))


def test_what_comes_after_several_pieces_waits_for_the_last_of_them() -> None:
    lanes, done = Lanes(4), []

    def slow(number: int) -> None:
        time.sleep(0.01 * number)
        done.append(number)

    works = [lambda number=number: slow(number) for number in range(6)]
    lanes.together((0,), works, lambda: done.append("then"))
    lanes.run()
    assert done[-1] == "then" and len(done) == 7


def test_an_error_stops_all_lanes_and_goes_on_up() -> None:
    lanes, done = Lanes(2), []

    def fail() -> None:
        raise ZeroDivisionError

    lanes.add((0,), fail)
    for _ in range(50):
        lanes.add((1,), lambda: (time.sleep(0.01), done.append(1)))
    with pytest.raises(ZeroDivisionError):
        lanes.run()
    assert len(done) < 50


def test_progress_never_goes_back_and_ends_at_one_however_wrong_the_guesses_were() -> None:
    told: list[float] = []
    progress = Progress(told.append)
    too_low, too_high, none = progress.meter(10), progress.meter(90), progress.meter(0)
    for _ in range(30):
        too_low.add(1)
    too_high.add(5)
    none.add(5)
    assert told[-1] == pytest.approx(0.15)
    for meter in (too_low, too_high, none, too_high):
        meter.finish()
    assert told == sorted(told) and told[-1] == 1.0
