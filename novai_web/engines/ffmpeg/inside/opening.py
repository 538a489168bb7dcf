"""Opening foreign media for libav, with everything closed that a clip does not need."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.sniff import ACCEPTED, sniff
from novai_web.errors import UnusableMedia

av.logging.set_level(av.logging.FATAL)

# `-protocol_whitelist file` alone still lets a playlist read other people's files: the demuxer must be fixed too.
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mp3,wav,flac,ogg,aac"
VIDEO_CODECS = {"h264": "H.264", "hevc": "HEVC", "vp9": "VP9", "av1": "AV1"}
AUDIO_CODECS = {
    *("aac", "mp3", "mp2", "flac", "vorbis", "opus", "alac", "ac3", "eac3"),
    *("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_u8", "pcm_s16be", "pcm_s24be"),
    *("pcm_mulaw", "pcm_alaw"),
}
_DECODERS = ",".join([*VIDEO_CODECS, "libdav1d", *sorted(AUDIO_CODECS), "mp3float", "mp2float", "libopus", "libvorbis"])


@contextmanager
def open_media(path: Path, limits: Limits, *, decoding: bool = True) -> Iterator[InputContainer]:
    """Raises UnusableMedia for what cannot be opened. The file's own idea of its format does not count.

    Without `decoding`, libav takes the file's word for what its packets hold, which is a hundred times quicker.
    """
    demuxer = sniff(path).demuxer
    if demuxer is None:
        raise UnusableMedia(f"This is a picture, not a video or audio file. {ACCEPTED}")
    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "file",
        "codec_whitelist": _DECODERS if decoding else "none",
        "max_streams": str(limits.streams_max),
        "max_pixels": str(limits.frame_pixels_max),
    }
    try:
        container = av.open(f"file:{path.absolute()}", format=demuxer, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise UnusableMedia("This file is damaged or incomplete. Export or upload it again.") from error
    with container:
        for stream in container.streams.video:
            # Frame threads can deadlock when a decoder is closed after an error in the stream (seen with FFmpeg 8.1).
            stream.thread_type = "SLICE"
        yield container


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first moving picture; a cover image is not one, whether it is marked as such or only encoded as one."""
    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    moving = (stream for stream in pictures if codec(stream) in VIDEO_CODECS)
    return next(moving, pictures[0] if pictures else None)


def audio_stream(container: InputContainer) -> AudioStream | None:
    return next(iter(container.streams.audio), None)


def decodable_audio(container: InputContainer) -> AudioStream | None:
    """The sound, if it is in a codec that we decode."""
    stream = audio_stream(container)
    return stream if stream is not None and stream.codec_context.name and codec(stream) in AUDIO_CODECS else None


def codec(stream: VideoStream | AudioStream) -> str:
    """The codec's own name, whichever decoder reads it."""
    return stream.codec_context.codec.canonical_name
