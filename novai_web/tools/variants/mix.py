"""Which video meets which audio and which hook, as indexes: counted without building, built without repeating."""

import random
from collections.abc import Iterator
from math import ceil, lcm
from typing import Literal, NamedTuple

Mode = Literal["round-robin", "every"]


class Cell(NamedTuple):
    """One variant to be: its number from 0, and indexes into the lists that were mixed."""

    n: int
    video: int
    audio: int | None
    hook: int | None


def count(videos: int, audios: int, hooks: int, mode: Mode = "round-robin", limit: int | None = None) -> int:
    """How many cells `mix` makes of so many videos, audios and hooks, without making them.

    *every* makes V × A × H. *round-robin* makes as many as there are pairs of an audio and a hook, rounded up
    so that every video gets the same number: V × ceil(A × H / V). 6 videos × 3 audios × 12 hooks are 36
    variants, 6 of each video; a hundred videos with one audio and five hooks are 100, one of each. What is not
    picked (no audios, no hooks) counts as one choice, "none". A limit only ever makes it fewer.
    """
    if videos < 1:
        return 0
    pairs = max(1, audios) * max(1, hooks)
    total = videos * (pairs if mode == "every" else ceil(pairs / videos))
    return total if limit is None else min(total, max(0, limit))


def mix(
    videos: int,
    audios: int,
    hooks: int,
    mode: Mode = "round-robin",
    limit: int | None = None,
    seed: int | None = None,
) -> list[Cell]:
    """The cells in their order, no two alike. The same arguments give the same cells, for ever: they are in recipes.

    *round-robin* numbers c = 0, 1, 2 … video by video; cell c takes audio c mod A and hook c mod H. Within one
    video the pairs come round again after lcm(A, H) cells; each time they do, the audio advances by one more,
    which walks through all A × H pairs before any repeats. A limit is shared out evenly between the videos.
    A seed shuffles the three lists before that, so that a shuffled batch is as balanced as an unshuffled one.

    *every* goes video by video, audio by audio, hook by hook; a seed draws from all of it at random.
    """
    total = count(videos, audios, hooks, mode, limit)
    triples = _every if mode == "every" else _round_robin
    return [
        Cell(n, video, audio if audios else None, hook if hooks else None)
        for n, (video, audio, hook) in enumerate(triples(videos, max(1, audios), max(1, hooks), total, seed))
    ]


def new_seed() -> int:
    """A seed short enough to be shown, read out and typed in again."""
    return random.SystemRandom().randrange(1, 1_000_000)


def _round_robin(videos: int, audios: int, hooks: int, total: int, seed: int | None) -> Iterator[tuple[int, int, int]]:
    video_order, audio_order, hook_order = (
        _order(size, seed, salt) for salt, size in enumerate((videos, audios, hooks))
    )
    around = lcm(audios, hooks)
    c = 0
    for place in range(videos):
        share = total // videos + (place < total % videos)
        for k in range(share):
            yield video_order[place], audio_order[(c + k // around) % audios], hook_order[c % hooks]
            c += 1


def _every(videos: int, audios: int, hooks: int, total: int, seed: int | None) -> Iterator[tuple[int, int, int]]:
    everything = range(videos * audios * hooks)
    chosen = everything[:total] if seed is None else random.Random(seed).sample(everything, total)  # noqa: S311
    for number in chosen:
        rest, hook = divmod(number, hooks)
        video, audio = divmod(rest, audios)
        yield video, audio, hook


def _order(size: int, seed: int | None, salt: int) -> list[int]:
    order = list(range(size))
    if seed is not None:
        random.Random(f"{seed}/{salt}").shuffle(order)  # noqa: S311 - a shown seed, not a secret
    return order
