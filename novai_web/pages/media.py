"""The files themselves: originals and previews, in ranges, to nobody but their owner."""

from flask import Blueprint, redirect, request, send_file
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from novai_web.errors import NotFound
from novai_web.library import files
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.web import who

bp = Blueprint("media", __name__)

LINK_SECONDS = 3600


@bp.get("/media/<int:asset_id>/<any(original, poster, clip, thumb, waveform, high, config, credentials):part>")
def part(asset_id: int, part: str) -> ResponseReturnValue:
    """One file of an asset; `?download=1` to save it under its name."""
    asset = Library(who.account().id).find_even_trashed(asset_id)
    key = files.key_of(asset, part)
    if key is None:
        raise NotFound
    mime = asset.mime if part == "original" else files.mime_of(key)
    saves = request.args.get("download") == "1" or mime not in files.SHOWN
    name = asset.file_name_of(part)
    link = who.store().link(key, seconds=LINK_SECONDS, download_name=name if saves else None)
    if link is not None:
        return _dress(redirect(link, 302))
    path = who.store().local_path(key)
    assert path is not None, "a store has a link or a path"
    answer = send_file(
        path, mimetype=mime, as_attachment=saves, download_name=name if saves else None, etag=_etag(asset, part)
    )
    return _dress(answer)


def _etag(asset: Asset, part: str) -> str:
    """Files never change under their key, so the id and the hash of the original say it all."""
    return f"{asset.id}-{part}-{(asset.sha256 or '')[:24]}"


def _dress(answer: Response) -> Response:
    """Whoever signs in next on this machine must not find it in the browser's cache without asking us."""
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    )
    return answer
