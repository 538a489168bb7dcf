"""CSV files as both doors hand them out: streamed, never kept in memory or by a cache."""

from collections.abc import Iterator

from flask import Flask, Response, current_app

from novai_web.db import transaction


def answer(name: str, pieces: Iterator[str]) -> Response:
    """The response that streams `pieces` under a file's name."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response(_piece_by_piece(app, pieces), content_type="text/csv; charset=utf-8", headers=headers)


def _piece_by_piece(app: Flask, pieces: Iterator[str]) -> Iterator[str]:
    """Each is read in a context and a transaction of its own: who downloads slowly holds no connection meanwhile."""
    while True:
        with app.app_context(), transaction():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
