"""One variant as a MoviePy script makes it: VIDEO AUDIO HOOK.PNG START END PRESET CRF AUDIO_BIT_RATE OUT.

Run by a Python that has MoviePy; it knows nothing of NOVAI.
"""

import sys

import numpy as np
from moviepy import AudioFileClip, CompositeVideoClip, ImageClip, VideoFileClip, afx
from PIL import Image


def main(video: str, audio: str, hook: str, *given: str) -> None:
    start, end, preset, crf, audio_bit_rate, out = float(given[0]), float(given[1]), *given[2:]
    clip = VideoFileClip(video, audio=False)
    picture = Image.open(hook)
    box = picture.getbbox()
    assert box is not None, "this hook shows nothing"
    text = ImageClip(np.asarray(picture.crop(box))).with_position(box[:2])
    text = text.with_start(start).with_duration(min(end, clip.duration) - start)
    sound = AudioFileClip(audio)
    if sound.duration < clip.duration:
        sound = sound.with_effects([afx.AudioLoop(duration=clip.duration)])
    made = CompositeVideoClip([clip, text]).with_audio(sound.subclipped(0, clip.duration))
    made.write_videofile(
        out,
        codec="libx264",
        preset=preset,
        audio_codec="aac",
        audio_bitrate=audio_bit_rate,
        ffmpeg_params=["-crf", crf, "-pix_fmt", "yuv420p", "-movflags", "+faststart"],
        temp_audiofile=f"{out}.m4a",
        logger=None,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
