"""As many threads as there are cores, which always take the most urgent piece of work that is ready."""

import heapq
import threading
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

Work = Callable[[], None]


class Lanes:
    """Pieces of work add others. libav and numpy let go of the interpreter's lock, so threads fill the cores."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._ready: list[tuple[tuple[int, ...], int, Work]] = []
        self._numbers = count()
        self._busy = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def add(self, urgency: tuple[int, ...], work: Work) -> None:
        """The smallest urgency goes first; among equals, the oldest."""
        with self._changed:
            heapq.heappush(self._ready, (urgency, next(self._numbers), work))
            self._changed.notify()

    def together(self, urgency: tuple[int, ...], works: Iterable[Work], then: Work) -> None:
        """All of them, side by side; `then` once the last has ended."""
        waiting = list(works)
        left, lock = len(waiting), threading.Lock()

        def one(work: Work) -> None:
            nonlocal left
            work()
            with lock:
                left -= 1
                is_last = left == 0
            if is_last:
                self.add(urgency, then)

        for work in waiting:
            self.add(urgency, partial(one, work))

    def run(self) -> None:
        """Until nothing is ready or under way. The first error ends it, when all lanes have stopped, and goes on up."""
        threads = [threading.Thread(target=self._lane, name=f"lane-{n}") for n in range(self.width)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _lane(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - handed to whoever called run()
                with self._changed:
                    self._error = self._error or error
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _next(self) -> Work | None:
        with self._changed:
            while self._error is None:
                if self._ready:
                    self._busy += 1
                    return heapq.heappop(self._ready)[2]
                if self._busy == 0:
                    return None
                self._changed.wait()
            return None
