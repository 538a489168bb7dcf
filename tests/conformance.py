"""What is wrong with an MP4, by ISO 14496-12, -15 and H.264: a player that is stricter than ours must find nothing."""

import os
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import boxes
from boxes import IDR, PPS, SLICE, SPS, Movie, Track

INTRA = {2, 4, 7, 9}  # slice types I and SI
ONE = 0x10000


def faults(path: Path, *, trimmed: bool = False) -> list[str]:
    """Each a sentence; empty for a file that is as it should be. A `trimmed` one may hold pictures it does not show."""
    try:
        movie = Movie(path)
        return [
            *_of_the_file(movie),
            *_of_the_times(movie),
            *([] if trimmed else _of_the_edit(movie)),
            *_of_the_samples(movie.video),
        ]
    except (AssertionError, IndexError) as error:
        return [f"it cannot be read: {error}"]


def _of_the_file(movie: Movie) -> Iterator[str]:
    names = [box.name for box in boxes.boxes(movie.data)]
    if names[0] != b"ftyp" or names.count(b"moov") != 1:
        yield f"its boxes are {names}"
    if names.index(b"moov") > names.index(b"mdat"):
        yield "the index comes after the samples"
    kinds = sorted(track.kind for track in movie.tracks)
    if kinds not in (["vide"], ["soun", "vide"]):
        yield f"its tracks are {kinds}"
    mdats = [box for box in boxes.boxes(movie.data) if box.name == b"mdat"]
    extents = sorted(
        (at, at + size) for track in movie.tracks for at, size in zip(track.offsets, track.sizes, strict=True)
    )
    if any(not any(box.body <= at and end <= box.end for box in mdats) for at, end in extents):
        yield "a sample lies outside of the data"
    if any(end > start for (_, end), (start, _) in pairwise(extents)):
        yield "samples lie over each other"


def _of_the_times(movie: Movie) -> Iterator[str]:
    for track in movie.tracks:
        if min(track.durations[:-1], default=1) < 1:
            yield f"the decode times of {track.kind} do not rise"
        if sum(track.durations) != track.duration:
            yield f"{track.kind} lasts {sum(track.durations)} by its samples and {track.duration} by its header"
        if [edit.rate for edit in track.edits] != [ONE]:
            yield f"{track.kind} has the edits {track.edits}"
        elif track.shown_duration != track.edits[0].duration:
            yield f"{track.kind} lasts {track.shown_duration} by its header and {track.edits[0].duration} by its edit"
    if movie.duration != max(track.shown_duration for track in movie.tracks):
        yield "the movie is not as long as its longest track"
    video = movie.video
    if min(video.composition) < 0:
        yield "a picture is shown before it is decoded"
    if len(set(video.times)) < len(video.times):
        yield "two pictures are shown at one time"
    if len(video.edits) == 1 and video.edits[0].media_time not in video.times:
        yield "the edit begins between two pictures"


def _of_the_edit(movie: Movie) -> Iterator[str]:
    """It shows every picture, and nothing else."""
    video = movie.video
    if len(video.edits) != 1:
        return
    edit, ticks = video.edits[0], movie.timescale / video.timescale
    if edit.media_time != min(video.times):
        yield "the edit does not begin with the first picture"
    if not (max(video.times) - edit.media_time) * ticks < edit.duration:
        yield "the edit ends before the last picture"
    if edit.duration > (max(video.times) + 2 * max(video.durations) - edit.media_time) * ticks + 1:
        yield "the edit goes on after the last picture"


def _of_the_samples(video: Track) -> Iterator[str]:
    if [entry.name for entry in video.entries] != [b"avc1"]:
        yield f"its sample entries are {[entry.name for entry in video.entries]}"
        return
    sets, ids = video.parameter_sets
    if len(sets) != 1:
        yield f"it has {len(sets)} sequence parameter sets"
    if len({_exp_golomb(pps[1:], 1)[0] for pps in ids}) < len(ids):
        yield "two picture parameter sets have one id"
    for index, sample in enumerate(video.samples):
        units = boxes.nals(sample)
        types = [unit[0] & 31 for unit in units]
        slices = [_exp_golomb(unit[1:], 2) for unit in units if unit[0] & 31 in (SLICE, IDR)]
        if {SPS, PPS} & set(types):
            yield f"sample {index} has parameter sets inside"
        if [first for first, _ in slices].count(0) != 1:
            yield f"sample {index} is not one picture"
        if IDR in types and index not in video.sync:
            yield f"sample {index} is a keyframe, and the index does not know it"
        if index in video.sync and {kind for _, kind in slices} - INTRA:
            yield f"sample {index} is no keyframe, and the index says it is one"
    if 0 not in video.sync:
        yield "it does not begin with a keyframe"


def _exp_golomb(data: bytes, count: int) -> list[int]:
    """The first `count` ue(v) of a payload; so short a piece needs no unescaping."""
    bits = "".join(f"{byte:08b}" for byte in data[:16])
    found, at = [], 0
    for _ in range(count):
        zeros = bits.index("1", at) - at
        found.append(int(bits[at + zeros : at + 2 * zeros + 1], 2) - 1)
        at += 2 * zeros + 1
    return found


def header_faults(path: Path) -> list[str]:
    """What FFmpeg's strict reader of headers says, and keyframes next to each other that cannot be told apart."""
    command = ["ffmpeg", "-v", "info", "-nostdin", "-i", str(path), "-map", "0:v:0", "-c", "copy"]
    command += ["-bsf:v", "trace_headers", "-f", "null", "-"]
    answer = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.defpath})
    found = [
        line for line in answer.stderr.splitlines() if re.search("invalid|error|unavailable|out of range", line, re.I)
    ]
    pictures = re.split(r"\] Packet: ", answer.stderr)[1:]
    ids = [re.search(r" idr_pic_id +\S+ = (\d+)", picture) for picture in pictures]
    for number, (one, other) in enumerate(pairwise(ids)):
        if one and other and one[1] == other[1]:
            found.append(f"the keyframes {number} and {number + 1} have one idr_pic_id")
    return found if pictures else [*found, "no headers were read"]
