"""An HTTP server on this machine that delivers a file as badly as it is told to."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Conversation = Callable[["Request"], None]


@dataclass
class Request:
    """One request, and the socket that it came by."""

    path: str
    headers: dict[str, str]
    connection: socket.socket
    content: bytes

    @property
    def begin(self) -> int:
        """The first byte that is asked for."""
        asked = self.headers.get("range", "")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0

    def send(self, status: str, headers: Sequence[str], body: bytes = b"") -> None:
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "Connection: close", ""))
        self.connection.sendall(head.encode() + body)


def whole(request: Request) -> None:
    """The file, or the part that is asked for."""
    body = request.content[request.begin :]
    length = f"Content-Length: {len(body)}"
    if request.begin:
        total = len(request.content)
        part = f"Content-Range: bytes {request.begin}-{total - 1}/{total}"
        request.send("206 Partial Content", (length, part, 'ETag: "1"'), body)
    else:
        request.send("200 OK", (length, 'ETag: "1"'), body)


def cut_after(count: int) -> Conversation:
    """As `whole`, but the connection ends after so many bytes of what is asked for."""

    def answer(request: Request) -> None:
        body = request.content[request.begin :]
        total = len(request.content)
        part = f"Content-Range: bytes {request.begin}-{total - 1}/{total}"
        status, more = ("206 Partial Content", (part,)) if request.begin else ("200 OK", ())
        request.send(status, (f"Content-Length: {len(body)}", 'ETag: "1"', *more), body[:count])

    return answer


def says(status: str, *headers: str, body: bytes = b"") -> Conversation:
    """One fixed answer."""

    def answer(request: Request) -> None:
        request.send(status, (*headers, f"Content-Length: {len(body)}"), body)

    return answer


def without_length(extra: bytes = b"") -> Conversation:
    """The file without its length, and `extra` after it."""

    def answer(request: Request) -> None:
        request.send("200 OK", (), request.content + extra)

    return answer


def endless(request: Request) -> None:
    """Sends for as long as anybody reads."""
    request.send("200 OK", ())
    for _ in range(4_096):
        request.connection.sendall(b"x" * 65_536)


def corrupt(request: Request) -> None:
    """The file with another byte in its middle."""
    damaged = bytearray(request.content)
    damaged[len(damaged) // 2] ^= 1
    request.send("200 OK", (f"Content-Length: {len(damaged)}",), bytes(damaged))


@dataclass
class EvilServer:
    """Answers the first request as the first of `script` says, and so on; the last one again and again."""

    content: bytes
    script: list[Conversation] = field(default_factory=lambda: [whole])
    begins: list[int] = field(default_factory=list)
    """The first byte that each request asked for."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/model.bin"

    @contextmanager
    def serving(self) -> Iterator["EvilServer"]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(10)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head:
            if not (received := connection.recv(4_096)):
                return
            head += received
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        request = Request(lines[0].split()[1], headers, connection, self.content)
        self.begins.append(request.begin)
        conversation = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        conversation(request)
