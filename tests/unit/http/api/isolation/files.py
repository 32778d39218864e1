"""Pictures and recordings, and screenshots on request."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from mimi_mqtt.commands.model import Principal
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.files.recordings import Recordings
from mimi_mqtt.files.uploads import Uploads
from mimi_mqtt.fleet import ownership
from mimi_mqtt.fleet.ownership import StoredPeople
from mimi_mqtt.store import devices
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import StoredRecording, StoredUpload
from tests.fakes.api import MEMBER, STRANGER, KnownCallers
from tests.fakes.blobs import Clock, blobs_in, parts
from tests.unit.http.api.isolation.example import Example
from tests.unit.http.api.isolation.house import BOBS, NOW, NOWHERE, add, opened

UPLOAD = "f0123456789"
"""A screenshot of bob's device."""
SESSION = "s-bob"
"""A session of bob's, whose first turn is recorded."""


class Camera:
    """Takes the screenshot that is there already."""

    async def take(self, device_id: str, *, by: Principal, author: Author, quality: int) -> str:
        return UPLOAD


@asynccontextmanager
async def files(folder: Path, group: str = "") -> AsyncIterator[Mapping[str, object]]:
    """A screenshot and a recording of bob's device, which was shared with a group then."""
    async with opened(folder) as store:
        blobs = await blobs_in(store, folder / "files", clock=Clock())
        blob = await blobs.put(parts(b"\xff\xd8\xff\xe0", bytes(100)), max_bytes=1_000)
        await add(
            store,
            [
                StoredUpload(
                    id=UPLOAD, device_id=BOBS, owner_id="u-bob", group_id=group, session_id="",
                    kind="screenshot", media_type="image/jpeg", sha256=blob.sha256, bytes=blob.size,
                    created_at=NOW, expires_at=NOW + timedelta(days=1),
                ),
                StoredRecording(
                    session_id=SESSION, turn=1, side="user", device_id=BOBS, owner_id="u-bob", group_id=group,
                    sha256=blob.sha256, bytes=blob.size, duration_ms=60, created_at=NOW,
                ),
            ],
        )  # fmt: skip
        yield {
            "uploads": Uploads(blobs, max_bytes=10_000, keep_days=1),
            "recordings": Recordings(blobs, keep_days=1),
            "directory": {},
            "screenshots": Camera(),
            "belonging": {BOBS: Belonging("u-bob", "")}.get,
            "authenticator": KnownCallers(bob=MEMBER, eve=replace(STRANGER, groups=frozenset({"g-eves"}))),
            "database": store,
        }


@asynccontextmanager
async def unshared(folder: Path) -> AsyncIterator[Mapping[str, object]]:
    """What bob's device sent while it was shared with eve's group, which it is no more."""
    async with files(folder, "g-eves") as parts:
        store = parts["database"]
        assert isinstance(store, Store)
        async with store.write() as session:
            device = await devices.get(session, BOBS)
            assert device is not None
            device.group_id = "g-eves"
            await devices.save_changed(session, device, NOW)
        await ownership.share(store, BOBS, "", NOW, StoredPeople(store))
        yield parts


EXAMPLES = {
    "list_uploads": Example("/uploads", files, marker=UPLOAD),
    "list_uploads/device": Example(f"/uploads?device_id={BOBS}&kind=screenshot", files, marker=UPLOAD),
    "read_upload": Example(f"/uploads/{UPLOAD}", files, nowhere="/uploads/f9876543210"),
    "read_upload_content": Example(
        f"/uploads/{UPLOAD}/content", files, nowhere="/uploads/f9876543210/content"
    ),
    "delete_upload": Example(f"/uploads/{UPLOAD}", files, nowhere="/uploads/f9876543210"),
    "read_upload/of the group before": Example(f"/uploads/{UPLOAD}", unshared),
    "list_uploads/of the group before": Example("/uploads", unshared, marker=UPLOAD),
    "list_recordings/of the group before": Example(
        f"/conversations/{SESSION}/recordings", unshared, marker='"turn":1'
    ),
    "read_turn_audio/of the group before": Example(
        f"/conversations/{SESSION}/turns/1/audio/user", unshared
    ),
    "take_screenshot": Example(
        f"/devices/{BOBS}/screenshot", files, nowhere=f"/devices/{NOWHERE}/screenshot"
    ),
    "list_recordings": Example(f"/conversations/{SESSION}/recordings", files, marker='"turn":1'),
    "read_turn_audio": Example(
        f"/conversations/{SESSION}/turns/1/audio/user", files,
        nowhere="/conversations/s-none/turns/1/audio/user",
    ),
}  # fmt: skip
