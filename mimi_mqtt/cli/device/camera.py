"""Camera and screen of the simulated device: a picture is posted in chunks, as firmware does it (device
contract, section 6)."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import httpx

from mimi_mqtt.cli.device.actions import PostPicture
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.errors import ConfigError

ANSWER_S: Final = 30.0
"""Longest wait for an answer, in seconds."""
CHUNK_BYTES: Final = 512
MAX_PICTURE_BYTES: Final = 2 << 20
"""Largest file that is taken for a picture, in bytes."""

_BOUNDARY: Final = "----ESP32_CAMERA_BOUNDARY"


def read_picture(path: Path) -> bytes:
    """A JPEG file. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--camera {path}: {error.strerror}") from error
    if not data.startswith(b"\xff\xd8\xff") or len(data) > MAX_PICTURE_BYTES:
        raise ConfigError(f"--camera {path}: must be a JPEG file of at most {MAX_PICTURE_BYTES} bytes")
    return data


async def post(
    asked: PostPicture, picture: bytes, identity: Mapping[str, str], trust: Trust | None = None
) -> tuple[str, bool]:
    """Posts the picture; the text of the tool's result, and whether the tool failed. `identity` are the
    headers that tell the device, sent with photos alone. Raises nothing but CancelledError."""
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", "User-Agent": ""}
    name = "screenshot.jpg"
    if asked.question is not None:
        name = "camera.jpg"
        headers.update(identity)
        if asked.token:
            headers["Authorization"] = f"Bearer {asked.token}"
    verify = trust.context() if trust is not None else True
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_S, verify=verify) as client:
            form = _form(asked.question, name, picture)
            answer = await client.post(asked.url, content=form, headers=headers)
    except httpx.HTTPError as error:
        return f"Failed to upload photo: {type(error).__name__}", True
    if answer.status_code != 200:
        return f"Failed to upload photo, status code: {answer.status_code}", True
    return ("true" if asked.question is None else answer.text), False


async def _form(question: str | None, name: str, picture: bytes) -> AsyncIterator[bytes]:
    edge = f"--{_BOUNDARY}\r\n".encode()
    if question is not None:
        yield edge + b'Content-Disposition: form-data; name="question"\r\n\r\n' + question.encode() + b"\r\n"
    yield edge + f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode()
    yield b"Content-Type: image/jpeg\r\n\r\n"
    for start in range(0, len(picture), CHUNK_BYTES):
        yield picture[start : start + CHUNK_BYTES]
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()
