"""The files themselves: originals and previews, in ranges, to nobody but their owner.

A page shows a file under an address that carries a key (`?v=`), and what is asked for with the right key is kept by the
browser for good: files never change under their id. The key is a signature over the account, its session version, the
file and our secret. So nobody who signs in next on the same machine can name that address, a later "sign out
everywhere" makes new ones, and whoever asks us is let in or not as ever: the key opens nothing.
"""

from hashlib import blake2s
from hmac import compare_digest
from typing import Any

from flask import Blueprint, current_app, g, has_request_context, redirect, request, send_file
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from novai_web.errors import NotFound
from novai_web.library import files
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.web import who

bp = Blueprint("media", __name__)

LINK_SECONDS = 3600
LINK_KEPT_SECONDS = 3000  # less than a link lives, so that no browser is left with one that leads nowhere
KEPT_SECONDS = 365 * 24 * 3600
ENDPOINT = f"{bp.name}.part"


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
    is_kept = not saves and compare_digest(request.args.get("v", "").encode(), _key(asset_id, part).encode())
    if link is not None:
        return _dress(redirect(link, 302), LINK_KEPT_SECONDS if is_kept else 0)
    path = who.store().local_path(key)
    assert path is not None, "a store has a link or a path"
    answer = send_file(
        path, mimetype=mime, as_attachment=saves, download_name=name if saves else None, etag=_etag(asset, part)
    )
    return _dress(answer, KEPT_SECONDS if is_kept else 0)


@bp.app_url_defaults
def _carry_the_key(endpoint: str, values: dict[str, Any]) -> None:
    """Every page's `url_for("media.part", …)`, but not those of the API, whose readers keep nothing by themselves."""
    if endpoint == ENDPOINT and "download" not in values and has_request_context() and not _is_api() and _keys():
        values.setdefault("v", _key(values["asset_id"], values["part"]))


def _is_api() -> bool:
    return request.path.startswith("/api/")


def _keys() -> Any:
    """What the keys of this session begin with; None for somebody unknown. Made once a request."""
    if "media_keys" not in g:
        g.media_keys = None
        if who.signed_in():
            secret = blake2s(str(current_app.secret_key).encode()).digest()
            g.media_keys = blake2s(key=secret, digest_size=12, person=b"media")
            g.media_keys.update(f"{who.account().id}.{who.account().session_version}".encode())
    return g.media_keys


def _key(asset_id: int, part: str) -> str:
    key = _keys().copy()
    key.update(f"/{asset_id}/{part}".encode())
    return str(key.hexdigest())


def _etag(asset: Asset, part: str) -> str:
    """Files never change under their key, so the id and the hash of the original say it all."""
    return f"{asset.id}-{part}-{(asset.sha256 or '')[:24]}"


def _dress(answer: Response, kept_seconds: int) -> Response:
    """Without the key, nobody finds it in the browser's cache without asking us."""
    kept = f"private, max-age={kept_seconds}, immutable" if kept_seconds else "private, no-cache"
    answer.headers["Cache-Control"] = kept
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    )
    return answer
