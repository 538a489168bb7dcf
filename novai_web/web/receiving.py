"""Files that come in with a form: straight onto the disk of the store, hashed on the way, gone with the request."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, TypeVar, cast

import flask
from flask import Flask, current_app, request
from werkzeug.datastructures import FileStorage

from novai_web.config import MEGABYTE, Settings
from novai_web.db import transaction
from novai_web.engines.store.durable import disk_errors
from novai_web.engines.store.parts import Finished
from novai_web.errors import InvalidInput, TooLarge
from novai_web.library import uploads
from novai_web.web import who

# What a form may weigh besides its file.
ENVELOPE_BYTES = MEGABYTE

View = TypeVar("View", bound=Callable[..., Any])


class ArrivingFile:
    """A file of a form while it comes in. It is deleted when the request is over, unless it was linked elsewhere."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = NamedTemporaryFile(dir=folder)  # noqa: SIM115 - closed with the request
        self._hash = hashlib.sha256()
        self._size, self._max = 0, bytes_max

    def write(self, data: bytes) -> int:
        self._size += len(data)
        if self._size > self._max:
            raise TooLarge
        self._hash.update(data)
        with disk_errors():
            return self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readline(self, size: int = -1) -> bytes:
        return self._file.readline(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with disk_errors():
            return self._file.seek(offset, whence)

    def close(self) -> None:
        self._file.close()

    def finished(self) -> Finished:
        """The whole file, on the disk for good if it is linked elsewhere now."""
        with disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
        return Finished(Path(self._file.name), self._hash.hexdigest(), self._size)


class Body:
    """The bytes of a request as the server hands them over; what it cannot make sense of is a sender who broke off.

    Otherwise that would be an error of ours wherever the body is first looked at, even inside a rate limit.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as problem:  # each server has its own words for a garbled chunk
            raise OSError("the body cannot be read") from problem


class Request(flask.Request):
    """A request whose files, on the routes that take any, go to the disk of the store and not into memory."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if not _takes_files():
            return super()._get_file_stream(total_content_length, content_type, filename, content_length)
        settings = who.settings()
        uploads.check_room(max(0, (total_content_length or 0) - ENVELOPE_BYTES), settings, who.store())
        with transaction():
            pass  # a slow sender must not hold a connection to the database
        return cast(IO[bytes], ArrivingFile(settings.arriving_folder, settings.upload_bytes_max))


def register(app: Flask, settings: Settings) -> None:
    """Before anything looks into a form, routes that take files may receive large ones of people who signed in."""
    app.request_class = Request

    @app.before_request
    def let_files_in() -> None:
        request.environ["wsgi.input"] = Body(request.environ["wsgi.input"])
        if _takes_files() and who.signed_in():
            request.max_content_length = settings.upload_bytes_max + ENVELOPE_BYTES


def takes_files(view: View) -> View:
    """Mark a view that receives files."""
    view.takes_files = True  # type: ignore[attr-defined]
    return view


def announced_bytes() -> int:
    """What the sender says this request's file weighs, as far as that is known before reading it."""
    return max(0, (request.content_length or 0) - ENVELOPE_BYTES)


def files(field: str = "file") -> list[tuple[str, Finished]]:
    """The files of the form, with the names they were sent under. Raises InvalidInput when there is none."""
    found = [(file.filename or "", _finished(file)) for file in request.files.getlist(field) if file.filename]
    if not found:
        raise InvalidInput({field: f"Send the file as multipart/form-data, in a field called “{field}”."})
    return found


def _finished(file: FileStorage) -> Finished:
    return cast(ArrivingFile, file.stream).finished()


def _takes_files() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return bool(getattr(view, "takes_files", False))
