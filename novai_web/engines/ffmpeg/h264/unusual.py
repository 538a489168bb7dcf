"""What a stream's parameter sets may say that keeps another encoder's slices from joining it."""

from collections.abc import Mapping

from novai_web.engines.ffmpeg.h264.parameters import (
    BASELINE,
    EXTENDED,
    HIGH,
    HIGH_10,
    HIGH_422,
    HIGH_444,
    MAIN,
    PPS,
    SPS,
    AvcConfig,
)

LENGTH_SIZE = 4  # bytes; a keyframe may be too large for a shorter length
_PROFILES = {BASELINE, MAIN, HIGH, HIGH_10, HIGH_422, HIGH_444}
_COLOURS = {0: "it is black and white", 2: "its colours are 4:2:2", 3: "its colours are 4:4:4"}


def reason_against_config(config: AvcConfig) -> str | None:
    """These reasons are all clauses that read after "because"; None is well."""
    if len(config.sps) != 1:
        return f"it has {len(config.sps) or 'no'} sequence parameter set{'s' if len(config.sps) > 1 else ''}"
    if not config.pps:
        return "it has no picture parameter set"
    if config.length_size != LENGTH_SIZE:
        return f"the lengths in its samples have {8 * config.length_size} bits"
    return None


def reason_against_sps(sps: SPS) -> str | None:
    if sps.profile == EXTENDED:
        return "its profile is Extended"
    if sps.profile not in _PROFILES:
        return f"its profile is number {sps.profile}"
    if sps.bit_depth != 8:
        return f"its samples have {sps.bit_depth} bits"
    if sps.chroma_format != 1:
        return _COLOURS[sps.chroma_format]
    if not sps.frame_mbs_only:
        return "it may be interlaced"
    if sps.is_intra_only:
        return "its profile allows keyframes only"
    return _rarely_used(sps)


def _rarely_used(sps: SPS) -> str | None:
    if sps.has_scaling_matrix:
        return "its scaling matrix is its own"
    if sps.lossless:
        return "it may be lossless"
    if sps.poc_type == 1:
        return "its picture order is of a rare type"
    if sps.ref_frames == 0:
        return "its frames never refer to each other"
    if sps.gaps_allowed:
        return "the numbers of its frames may have gaps"
    if sps.crop[0] or sps.crop[2] or sps.crop[1] >= 16 or sps.crop[3] >= 16:
        return "its picture is cropped in an unusual way"
    return None


def reason_against_ppss(ppss: Mapping[int, PPS], nals: int, sps: SPS) -> str | None:
    """`nals` is how many NAL units they were in."""
    if len(ppss) != nals:
        return "two of its picture parameter sets have the same number"
    for pps in ppss.values():
        if pps.sps_id != sps.id:
            return "one of its parameter sets is missing"
        if pps.slice_groups > 1:
            return "it uses slice groups"
        if pps.redundant_pic_cnt:
            return "it may carry redundant pictures"
    return None
