"""Files as one ZIP, streamed as it is read: nothing is compressed again and nothing is kept on disk."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flask import Response
from werkzeug.http import dump_options_header
from zipstream import ZIP_STORED, ZipStream

from novai_web import jobs
from novai_web.db import transaction
from novai_web.engines.store import Store
from novai_web.errors import NotFound
from novai_web.jobs import Batch, Delivered
from novai_web.library.models import Asset
from novai_web.library.spreadsheets import safe_cell
from novai_web.library.words import file_name
from novai_web.web import who

MANIFEST = "manifest.csv"
COLUMNS = (
    "n", "name", "status", "error", "video_id", "audio_id", "hook_id", "hook",
    "sha256", "size_bytes", "duration_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One file of a ZIP: its name there, and where it is."""

    name: str
    asset: Asset


def batch(found: Batch) -> Response:
    """What a batch delivered, under the names of its template, with a CSV manifest of all it promised."""
    with transaction():
        jobs.batches.stay_for_download(found)
    outputs = jobs.outputs(batch_id=found.id)
    entries = [Entry(each.output.name, each.asset) for each in outputs if each.asset and each.asset.trashed_at is None]
    if not entries:
        raise NotFound("This batch has no files: nothing was made yet, or it has expired. It can be rebuilt.")
    return answer(f"{file_name(found.title)}.zip", entries, {MANIFEST: _manifest(outputs)})


def answer(name: str, entries: Sequence[Entry], extra: dict[str, bytes] | None = None) -> Response:
    """The response that streams `entries`, and `extra` files by name. Its length is known from the start."""
    archive = ZipStream(compress_type=ZIP_STORED, sized=True)
    store = who.store()
    for entry in entries:
        archive.add(_read(store, entry.asset.store_key), entry.name, size=entry.asset.size_bytes)
        if key := entry.asset.previews.get("credentials"):  # of a file that has no place for them inside
            size = entry.asset.media["credentials"]["size_bytes"]
            archive.add(_read(store, key), f"{entry.name}.c2pa", size=size)
    for extra_name, content in (extra or {}).items():
        archive.add(content, extra_name)
    length = len(archive)
    disposition = dump_options_header("attachment", {"filename": name})
    return Response(
        _bytes(archive),
        mimetype="application/zip",
        headers={"Content-Length": str(length), "Content-Disposition": disposition},
    )


def _bytes(archive: Iterable[bytes]) -> Iterator[bytes]:
    yield from archive


def _read(store: Store, key: str | None) -> Iterator[bytes]:
    """Opened when its turn comes: thousands of files open at once are more than a process may have."""
    assert key is not None, "a delivered asset has a file"
    yield from store.read(key)


def _manifest(outputs: Sequence[Delivered]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for each in outputs:
        output, asset = each.output, each.asset
        hook = asset.recipe.get("hook") if asset else None
        facts = (asset.sha256, asset.size_bytes, asset.duration_seconds) if asset else ("", "", "")
        ids = (output.spec.get("video"), output.spec.get("audio"), output.spec.get("hook"))
        cells = (output.n + 1, output.name, output.state, output.error, *ids, hook, *facts)
        rows.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    # The mark at the start tells a spreadsheet that this is UTF-8.
    return b"\xef\xbb\xbf" + text.getvalue().encode()
