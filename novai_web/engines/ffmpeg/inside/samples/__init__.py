"""The sample media of an installation: drawn, played and encoded here, so that nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from novai_web.engines.ffmpeg.inside.samples import portrait, tunes
from novai_web.engines.ffmpeg.inside.samples.films import film
from novai_web.engines.ffmpeg.inside.samples.scenes import SCENES
from novai_web.engines.ffmpeg.media import Limits

Say = Callable[..., None]

TUNE_SHARE, PORTRAIT_SHARE = 0.04, 0.02  # of the time that all of it takes


def answer(request: dict[str, Any], limits: Limits, say: Say) -> None:
    """`folder`, `width`, `longest` (seconds of a clip) → path of each, by name. Says `progress` on the way."""
    folder, done = Path(request["folder"]), 0.0
    made: dict[str, str] = {}
    for name, tune in tunes.TUNES.items():
        made[name] = str(tunes.write(tune(), folder / f"{name}.m4a"))
        done += TUNE_SHARE
        say(progress=done)
    made["portrait"] = str(portrait.write(folder / "portrait.png"))
    done += PORTRAIT_SHARE
    share = (1 - done) / len(SCENES)
    for name, scene in SCENES.items():
        begun = done
        path = film(
            scene,
            folder / f"{name}.mp4",
            request["width"],
            request["longest"],
            lambda part, begun=begun: say(progress=begun + part * share),  # type: ignore[misc]
        )
        made[name] = str(path)
        done += share
    say(answer=made)
