"""Settings of a device that people make: names, room, tags, language, agent, transport, firmware."""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Forbidden, Invalid
from mimi_mqtt.fleet.administration import known
from mimi_mqtt.fleet.firmware.rollout import DEFAULT_CHANNEL, check_channel
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.store import audit, devices, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from mimi_mqtt.store.values import bounded


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Settings to change. None leaves a setting; "" takes it back: to the server's transport, the language
    that the device reports, the default agent, no name."""

    transport: str | None = None
    name: str | None = None
    language: str | None = None
    agent: str | None = None
    user_name: str | None = None
    room: str | None = None
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    auto_update: bool | None = None
    recordings: str | None = None
    """`on` or `off`; "": as its agent says."""
    channel: str | None = None
    """The channel of firmware that it takes, which administrators choose; "": `stable`."""

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to change."""
        return all(getattr(self, each.name) is None for each in fields(self))


def checked_tags(tags: tuple[str, ...]) -> list[str]:
    """Tags as they are kept: each once, in their order. Raises Invalid."""
    kept = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(kept) > tables.MAX_TAGS:
        raise Invalid(f"tags: a device has at most {tables.MAX_TAGS}")
    for tag in kept:
        if len(tag) > tables.TAG_CHARS or not tag.isprintable() or "," in tag or '"' in tag:
            raise Invalid(
                f"tags: a tag has at most {tables.TAG_CHARS} characters, and no comma or quotation mark"
            )
    return kept


async def change(
    store: Store, device_id: str, wanted: DeviceChange, now: datetime, rights: Rights = COMMAND_LINE
) -> Device:
    """Changes a device's settings, which its owner and the group that it is shared with may. Raises
    NotADevice, UnknownDevice, Invalid, Forbidden."""
    async with store.write() as session:
        device = await known(session, device_id, rights)
        await apply(session, device, wanted, now, rights)
        return device


async def apply(
    session: AsyncSession, device: Device, wanted: DeviceChange, now: datetime, rights: Rights
) -> None:
    """Changes the settings of a device that is locked. Raises Invalid, Forbidden."""
    new: dict[str, object] = {}
    texts = {
        "name": (wanted.name, tables.NAME_CHARS),
        "language": (wanted.language, tables.LANGUAGE_CHARS),
        "agent": (wanted.agent, tables.AGENT_CHARS),
        "user_name": (wanted.user_name, tables.USER_NAME_CHARS),
        "room": (wanted.room, tables.ROOM_CHARS),
        "notes": (wanted.notes, tables.NOTES_CHARS),
    }
    for name, (text, chars) in texts.items():
        if text is not None:
            new[name] = bounded(text.strip(), chars)
    if wanted.transport is not None:
        new["transport"] = wanted.transport or None
        device.fallback_at = None
    if wanted.tags is not None:
        new["tags"] = checked_tags(wanted.tags)
    if wanted.auto_update is not None:
        new["auto_update"] = wanted.auto_update
    if wanted.recordings is not None:
        if wanted.recordings not in ("", "on", "off"):
            raise Invalid("recordings must be on, off or empty: as its agent says")
        new["recordings"] = wanted.recordings
    if wanted.channel is not None:
        channel = "" if wanted.channel == DEFAULT_CHANNEL else wanted.channel
        if channel != device.channel and not rights.is_admin:
            raise Forbidden("only an administrator can choose the channel of firmware")
        new["channel"] = check_channel(channel) if channel else ""
    before = {name: getattr(device, name) for name in new}
    changed = [name for name, value in new.items() if before[name] != value]
    for name in changed:
        setattr(device, name, new[name])
    if changed:
        audit.record(
            session, rights.author, "device.change", f"device:{device.id}",
            before={name: before[name] for name in changed}, after={name: new[name] for name in changed},
        )  # fmt: skip
    await devices.save_changed(session, device, now)
