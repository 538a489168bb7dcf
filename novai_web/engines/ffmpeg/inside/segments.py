"""Encoded pictures between two moments, written to disk as they come and read back as views, never as copies."""

import mmap
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from pathlib import Path


class Part(Enum):
    """Where a frame lies; BEFORE and AFTER carry no hook, so all pictures of a clip share them."""

    BEFORE = "before"
    WINDOW = "window"
    AFTER = "after"


@dataclass(frozen=True)
class Segment:
    """Samples in decoding order. `times` are in ticks of the clip's clock; `pps` is what its slices refer to."""

    path: Path
    times: list[int]
    sizes: list[int]
    syncs: list[bool]
    sps: bytes
    pps: bytes
    _maps: list[memoryview] = field(default_factory=list, compare=False)

    @property
    def size_bytes(self) -> int:
        return sum(self.sizes)

    def samples(self) -> list[memoryview]:
        """Valid as long as the segment is."""
        if not self.sizes:
            return []
        if not self._maps:
            with self.path.open("rb") as file:
                self._maps.append(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        whole = self._maps[0]
        return [whole[end - size : end] for end, size in zip(accumulate(self.sizes), self.sizes, strict=True)]


class Spool:
    """A segment in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._times: list[int] = []
        self._sizes: list[int] = []
        self._syncs: list[bool] = []

    def add(self, time: int, sample: bytes, sync: bool) -> None:
        self._file.write(sample)
        self._times.append(time)
        self._sizes.append(len(sample))
        self._syncs.append(sync)

    def finish(self, sps: bytes, pps: bytes) -> Segment:
        self._file.close()
        return Segment(self.path, self._times, self._sizes, self._syncs, sps, pps)
