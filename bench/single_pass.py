"""One variant as editly and its like make it, in a single pass of raw frames through a program that draws on them.

VIDEO AUDIO HOOK.PNG START END PRESET CRF AUDIO_BIT_RATE OUT
"""

import subprocess
import sys

import numpy as np
from PIL import Image

from bench.programs import ffmpeg
from bench.sources import RATE


def main(video: str, audio: str, hook: str, *given: str) -> None:
    start, end, *encoding = float(given[0]), float(given[1]), *given[2:]
    picture = Image.open(hook)
    box = picture.getbbox()
    assert box is not None, "this hook shows nothing"
    left, top, right, bottom = box
    pixels = np.asarray(picture.crop((left, top, right, bottom)), np.uint16)
    share, rest = pixels[..., :3] * pixels[..., 3:] // 255, 255 - pixels[..., 3:]
    wide, high = picture.size
    source, target = _decoder(video), _encoder(video, audio, (wide, high), encoding)
    assert source.stdout
    assert target.stdin
    number, size = 0, wide * high * 4
    while len(data := source.stdout.read(size)) == size:
        frame = np.frombuffer(bytearray(data), np.uint8).reshape(high, wide, 4)
        if start <= (number + 0.5) / RATE < end:
            part = frame[top:bottom, left:right, :3]
            part[:] = share + part * rest // 255
        target.stdin.write(frame.data)
        number += 1
    target.stdin.close()
    if source.wait() or target.wait():
        raise SystemExit("FFmpeg failed")


def _decoder(video: str) -> "subprocess.Popen[bytes]":
    command = [ffmpeg(), "-v", "error", "-i", video, "-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _encoder(video: str, audio: str, size: tuple[int, int], given: list[str]) -> "subprocess.Popen[bytes]":
    preset, crf, audio_bit_rate, out = given
    raw = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{size[0]}x{size[1]}", "-r", str(RATE), "-i", "-"]
    sound = ["-stream_loop", "-1", "-i", audio, "-map", "0:v", "-map", "1:a", "-c:a", "aac", "-b:a", audio_bit_rate]
    picture = ["-c:v", "libx264", "-preset", preset, "-crf", crf, "-pix_fmt", "yuv420p"]
    command = [ffmpeg(), "-v", "error", "-y", *raw, *sound, *picture, "-shortest", "-movflags", "+faststart", out]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


if __name__ == "__main__":
    main(*sys.argv[1:])
