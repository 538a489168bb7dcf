"""CSV files as both doors hand them out: streamed, never kept in memory or by a cache."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from flask import Flask, Response, current_app

from novai_web.db import transaction
from novai_web.library.spreadsheets import safe_cell


def answer(name: str, pieces: Iterator[str]) -> Response:
    """The response that streams `pieces` under a file's name."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response(_piece_by_piece(app, pieces), content_type="text/csv; charset=utf-8", headers=headers)


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A table of a page, which is short, under a file's name. By its first mark Excel knows that it is UTF-8."""
    out = io.StringIO()
    safe = ([safe_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    csv.writer(out).writerows([head, *safe])
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response("\ufeff" + out.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _piece_by_piece(app: Flask, pieces: Iterator[str]) -> Iterator[str]:
    """Each is read in a context and a transaction of its own: who downloads slowly holds no connection meanwhile."""
    while True:
        with app.app_context(), transaction():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
