"""What everybody does: for each variant one FFmpeg process that decodes, overlays and encodes the whole clip."""

from collections.abc import Mapping
from pathlib import Path

from bench.batches import Batch
from bench.programs import CORES, Cost, ffmpeg, side_by_side
from novai_web.engines.ffmpeg import Variant


class Naive:
    """Measured on one variant of each video, as many processes at a time as there are cores."""

    def __init__(
        self, batch: Batch, layers: Mapping[str, Path], folder: Path, threads: int = 0, *, copies: bool = False
    ) -> None:
        """`threads` of each process; 0: as many as FFmpeg likes. With `copies` the picture is not encoded again."""
        self.batch, self.layers, self.folder, self.threads, self.copies = batch, layers, folder, threads, copies
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Cost:
        """For one variant."""
        commands = [self.command(variant) for variant in self.batch.sample]
        return side_by_side(commands, CORES).per(len(commands))

    def bytes_each(self) -> float:
        return sum(self.path(variant).stat().st_size for variant in self.batch.sample) / len(self.batch.sample)

    def path(self, variant: Variant) -> Path:
        return self.folder / f"{variant.n:06d}.mp4"

    def command(self, variant: Variant) -> list[object]:
        settings = self.batch.settings
        threads = ["-threads", self.threads]
        inputs = [*threads, "-i", variant.video, "-stream_loop", "-1", "-i", variant.audio]
        picture = ["-map", "0:v"]
        if variant.hook:
            start, end = settings.window
            when = f"between(t,{start},{min(end, 86400) - 0.001})"
            inputs += ["-i", self.layers[variant.hook]]
            picture = ["-filter_complex", f"[0:v][2:v]overlay=enable='{when}'[v]", "-map", "[v]"]
        encode = ["-c:v", "libx264", "-preset", settings.preset, "-crf", settings.crf, "-pix_fmt", "yuv420p", *threads]
        if self.copies:
            encode = ["-c:v", "copy"]
        sound = ["-map", "1:a", "-c:a", "aac", "-b:a", settings.audio_bit_rate]
        length = ["-t", self.batch.case.seconds, "-movflags", "+faststart"]
        return [
            *(ffmpeg(), "-v", "error", "-nostdin", "-y"),
            *inputs,
            *picture,
            *sound,
            *encode,
            *length,
            self.path(variant),
        ]
