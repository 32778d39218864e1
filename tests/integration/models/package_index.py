"""A package index on this machine with made wheels (PEP 503), which the ordinary client asks."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.integration.models.evil_server import Conversation, EvilServer, Request, whole


def wheel(name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """A wheel with `files`."""
    about = f"{name}-{version}.dist-info"
    inside = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_hash(content)},{len(content)}\n" for path, content in inside.items())
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {**inside, f"{about}/RECORD": f"{record}{about}/RECORD,,\n".encode()}.items():
            archive.writestr(path, content)
    return made.getvalue()


def _hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@dataclass
class PackageIndex:
    """Serves `wheels` by their file names. `deliver` sends a wheel; `fetched` are those that were sent."""

    wheels: dict[str, bytes]
    deliver: Conversation = whole
    fetched: list[str] = field(default_factory=list)

    def server(self) -> EvilServer:
        """The server; its address of the index is `/simple/`."""
        return EvilServer(b"", [self._answer])

    def _answer(self, request: Request) -> None:
        name = request.path.rstrip("/").rpartition("/")[2]
        if name in self.wheels:
            self.fetched.append(name)
            self.deliver(Request(request.path, request.headers, request.connection, self.wheels[name]))
            return
        links = [
            f'<a href="/files/{file}">{file}</a>'
            for file in self.wheels
            if file.partition("-")[0].replace("_", "-") == name
        ]
        page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
        status = "200 OK" if links else "404 Not Found"
        request.send(status, ("Content-Type: text/html", f"Content-Length: {len(page)}"), page)
