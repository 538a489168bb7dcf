"""A small HTTP/1.1 client over asyncio: what is measured is the server, which has to share the machine with it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """Status 0: there was none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


NONE = Answer(0)
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """Connections to one server, kept and used again, as many as there are requests at a time, up to a limit."""

    def __init__(self, port: int, most: int = 400) -> None:
        self.port = port
        self._free: list[Line] = []
        self._slots = asyncio.Semaphore(most)

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """One request. A kept connection that the server has closed meanwhile is replaced, once."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        sent = "\r\n".join([*lines, "", ""]).encode() + body
        async with self._slots:
            while self._free:
                if answer := await self._try(self._free.pop(), sent):
                    return answer
            try:
                line = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), PATIENCE_SECONDS)
            except (OSError, TimeoutError):
                return NONE
            return await self._try(line, sent) or NONE

    async def _try(self, line: Line, sent: bytes) -> Answer | None:
        """None: the connection broke before the first byte of an answer."""
        reader, writer = line
        try:
            writer.write(sent)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
            answer = await asyncio.wait_for(_whole(reader, head), PATIENCE_SECONDS)
        except TimeoutError:
            writer.close()
            return NONE
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            return None
        if answer.headers.get("connection") == "close":
            writer.close()
        else:
            self._free.append(line)
        return answer

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
        self._free.clear()


async def _whole(reader: asyncio.StreamReader, head: bytes) -> Answer:
    first, *rest = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ", 2)[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, headers, await _chunks(reader))
    if status in (204, 304):
        return Answer(status, headers)
    return Answer(status, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
