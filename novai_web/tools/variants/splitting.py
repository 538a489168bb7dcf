"""Which variants of a batch are made in one job.

A job is one render process. Inside it a clip is decoded once, the frames between a hook and the next keyframes are
encoded once, x264's decisions for the first hook serve the others, and a sound is made once: about two to four CPU
seconds a clip that a second job with the same clip spends again, besides half a second to begin. So a clip is one job
while it can be. It is more than one when it has very many variants: a process fills all cores by itself while it
encodes, but what is finished is stored and written down one after another, other machines want a part of the work,
and other people a turn. What a killed worker repeats is never more than what was not stored yet.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from novai_web.tools.variants.form import Variant

# 4 clips × 5 hooks × 3 sounds are 4 jobs, one clip with 200 variants is 8.
JOB_OUTPUTS_MAX = 25
# A clip and a hook with hundreds of sounds are one picture, and cheap but for that one.
PICTURE_OUTPUTS_MAX = 50
# Clips with less to make than this begin together, which saves the start of a process for most of them.
JOB_OUTPUTS_MIN = 4
# Where nothing is encoded, sounds and starts are all the work there is: clips share both.
COPIES_MAX = 50
# What several clips of one job may weigh, as a worker fetches all of them before it begins.
JOB_SOURCE_BYTES_MAX = 1024**3


def jobs_of(made: Sequence[Variant], is_encoded: Callable[[Variant], bool]) -> Iterator[list[Variant]]:
    """Every variant in exactly one job; none is empty, none without end, and pictures stay whole where they can.

    The first variants come first, whatever their clips are called: a batch fills from its top.
    """
    copies = [cell for cell in made if not is_encoded(cell)]
    encodes = [cell for cell in made if is_encoded(cell)]
    copying = _together(list(_clips(copies, COPIES_MAX)), COPIES_MAX, COPIES_MAX)
    encoding = _together(list(_clips(encodes, JOB_OUTPUTS_MAX)), JOB_OUTPUTS_MIN, JOB_OUTPUTS_MAX)
    yield from sorted([*copying, *encoding], key=lambda job: min(cell.n for cell in job))


def _together(pieces: Sequence[list[Variant]], enough: int, most: int) -> Iterator[list[Variant]]:
    """Pieces of one clip each, as they come, until a job has enough."""
    job: list[Variant] = []
    for piece in pieces:
        is_full = len(job) >= enough or len(job) + len(piece) > most
        if job and (is_full or _source_bytes([*job, *piece]) > JOB_SOURCE_BYTES_MAX):
            yield job
            job = []
        job = job + piece
    if job:
        yield job


def _clips(made: Sequence[Variant], most: int) -> Iterator[list[Variant]]:
    """Each clip in as few pieces as hold `most` variants, and these as even as whole pictures allow."""
    ordered = sorted(made, key=lambda cell: (cell.video.id, _picture(cell)))
    for _, group in groupby(ordered, key=lambda cell: cell.video.id):
        cells = list(group)
        count = -(-len(cells) // most)
        pieces: list[list[Variant]] = [[] for _ in range(count)]
        place = 0
        for picture in _pictures(cells):
            middle = place + len(picture) / 2
            pieces[int(middle * count / len(cells))] += picture
            place += len(picture)
        yield from filter(None, pieces)


def _pictures(cells: Sequence[Variant]) -> Iterator[list[Variant]]:
    for _, group in groupby(cells, key=_picture):
        same = list(group)
        parts = -(-len(same) // PICTURE_OUTPUTS_MAX)
        for part in range(parts):
            yield same[len(same) * part // parts : len(same) * (part + 1) // parts]


def _picture(cell: Variant) -> int:
    return cell.hook.id if cell.hook else 0


def _source_bytes(cells: Sequence[Variant]) -> int:
    return sum({cell.video.id: cell.video.size_bytes or 0 for cell in cells}.values())
