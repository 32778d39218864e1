"""The models of devices in the REST API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.fleet import ota_log, registry
from mimi_mqtt.fleet.connection_history import History
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.fleet.live import AudioReport, DevicePresence
from mimi_mqtt.fleet.registry import DeviceDetails
from mimi_mqtt.http.api.scalars import Flag
from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import Device, OtaExchange, SessionStatistics

MAX_BATCH: Final = 100
"""Most devices of one batch."""

State = Literal["active", "disabled", "pending", "seen"]
Transport = Literal["mqtt", "websocket"]
_LANGUAGE: Final = r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})?$"


def _text(chars: int) -> Any:
    return StringConstraints(max_length=chars, strip_whitespace=True)


Code = Annotated[str, StringConstraints(pattern=r"^\s*[0-9]{3} ?[0-9]{3}\s*$", max_length=32)]


class Presence(BaseModel):
    """The device's control connection, as its authentication and keepalive tell."""

    connected: bool
    transport: Transport | None = None
    since: datetime | None = Field(None, description="The time at which it connected")
    address: str | None = None
    last_seen_at: datetime = Field(description="The last OTA request or connection; stored every half minute")


class DeviceSummary(BaseModel):
    """A device in a list. A pending or seen one is not registered: it has no settings yet."""

    id: str = Field(description="Its MAC address in lower case, with -")
    state: State
    name: str = ""
    owner_id: str | None = None
    group_id: str | None = None
    room: str = ""
    tags: list[str] = []
    agent: str = DEFAULT_AGENT
    transport: Transport | None = Field(None, description="Set for this device; absent: the server's setting")
    language: str = Field("", description="Set, or else reported")
    board: str = ""
    board_name: str = ""
    firmware_version: str = ""
    auto_update: bool = True
    recordings: Literal["", "on", "off"] = Field(
        "", description="Whether the sound of its turns is kept; empty: as its agent says"
    )
    channel: str = Field(
        "", description="The channel of firmware that it takes, such as `beta`; empty: `stable`"
    )
    presence: Presence | None = None
    created_at: datetime
    version: int = Field(0, description="Also the ETag: it changes with the device")


class OtaRequestEntry(BaseModel):
    """One OTA request: what the device asked, what it was answered, and why."""

    at: datetime
    board: str
    firmware_version: str
    address: str
    answer: str
    firmware_offered: str | None = None
    told: str = Field(description="The answer and its reasons as a sentence")
    signal_dbm: int | None = Field(None, description="Strength of its radio signal; absent: not reported")


class ServerOtaRequest(OtaRequestEntry):
    """One OTA request to the server, with the device that sent it."""

    id: int
    device_id: str | None = Field(description="null: the request names no device")
    device_name: str
    registered: bool = Field(description="true: the device may come in")
    reason: str = Field(description="Why it was refused; empty: it was not")


class Audio(BaseModel):
    """The audio of one session, in packets of the device."""

    session_id: str
    transport: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    duration_s: float
    udp_seen: bool | None = Field(None, description="Absent: its audio goes over the WebSocket")
    received: int
    lost: int
    late: int
    loss: float | None = Field(None, description="Part of the packets that was lost, 0 to 1")
    jitter_ms: float | None = None
    round_trip_ms: float | None = Field(None, description="Of the control connection, as TCP measures it")


class Tool(BaseModel):
    """A tool that the device offers."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = Field({}, description="JSON schema of its arguments")
    for_people: bool = Field(
        False, description="Never called by models: a call needs the scope devices:write"
    )
    read_only: bool = Field(False, description="A call changes nothing, as the device says")


class DeviceTools(BaseModel):
    """The tools of a device."""

    items: list[Tool]
    learned_at: datetime | None = Field(description="When the device listed them; absent: never")
    complete: bool = Field(description="Those that the device keeps for people are among them")
    problem: str | None = Field(None, description="Why the device did not list them now")


class DeviceLabels(BaseModel):
    """The values that devices can be filtered by, each kind in its order."""

    rooms: list[str]
    tags: list[str]
    boards: list[str]
    versions: list[str]


class ConnectionInterval(BaseModel):
    """A time in which a device was connected, or had a session."""

    kind: Literal["connection", "session"]
    transport: str
    began_at: datetime
    ended_at: datetime | None = Field(description="Absent: it goes on")
    reason: str = Field("", description="Why it ended; empty: with the server, or not known")


class ServerOff(BaseModel):
    """A time in which no server ran that could know."""

    began_at: datetime
    ended_at: datetime


class Connections(BaseModel):
    """When a device was connected and talked. Outside of all it was away, or the server was off."""

    since: datetime
    until: datetime
    intervals: list[ConnectionInterval] = Field(
        description="Those that reach into the time, the oldest first"
    )
    server_off: list[ServerOff]


class DeviceFull(DeviceSummary):
    """Everything about a registered device."""

    user_name: str = Field(description="The person who talks to it, for the agent's prompt")
    notes: str
    serial_number_proven: bool = Field(description="Its chip proved to have the key registered for it")
    cellular: bool
    host: str = Field(description="The address of this server that it last used")
    fallback_since: datetime | None = Field(
        None, description="The server gave it a WebSocket then, as its audio over UDP did not arrive"
    )
    report: dict[str, Any] = Field(description="Its last OTA report, without IMEI and ICCID")
    reported_at: datetime | None = None
    ota_requests: list[OtaRequestEntry]
    session: Audio | None = Field(None, description="The live session")
    sessions: list[Audio] = Field(description="The last sessions, the newest first")
    tools: list[Tool]
    tools_learned_at: datetime | None = None


class DevicePatch(BaseModel):
    """Settings to change; those left out stay. An empty text takes a setting back."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, _text(tables.NAME_CHARS)] | None = None
    room: Annotated[str, _text(tables.ROOM_CHARS)] | None = None
    tags: list[Annotated[str, _text(tables.TAG_CHARS)]] | None = Field(None, max_length=tables.MAX_TAGS)
    notes: Annotated[str, _text(tables.NOTES_CHARS)] | None = None
    language: Annotated[str, StringConstraints(pattern=_LANGUAGE, max_length=35)] | None = None
    agent: Annotated[str, _text(tables.AGENT_CHARS)] | None = None
    transport: Transport | Literal[""] | None = None
    user_name: Annotated[str, _text(tables.USER_NAME_CHARS)] | None = None
    auto_update: Flag | None = None
    recordings: Literal["", "on", "off"] | None = None
    channel: Annotated[str, _text(tables.CHANNEL_CHARS)] | None = Field(
        None, description="The channel of firmware, which administrators choose"
    )

    def change(self) -> DeviceChange:
        """The change that it asks for."""
        given = self.model_dump(exclude_none=True, include=set(DevicePatch.model_fields))
        if "tags" in given:
            given["tags"] = tuple(given["tags"])
        if given.get("agent") == DEFAULT_AGENT:
            given["agent"] = ""
        return DeviceChange(**given)


class DeviceBatchItem(DevicePatch):
    """One device of a batch, and its settings to change."""

    id: Annotated[str, StringConstraints(max_length=32)]


class DeviceBatch(BaseModel):
    """Changes of several devices, each made by itself."""

    model_config = ConfigDict(extra="forbid")

    devices: list[DeviceBatchItem] = Field(min_length=1, max_length=MAX_BATCH)


class DeviceBatchResult(BaseModel):
    """The outcome for one device of a batch."""

    id: str
    status: int = Field(description="As the answer to a change of this device alone: 200, 404, 422, …")
    device: DeviceSummary | None = None
    detail: str | None = Field(None, description="Why it was not changed")


class DeviceBatchResults(BaseModel):
    """The outcomes, in the order of the batch."""

    results: list[DeviceBatchResult]


class Claim(BaseModel):
    """The code of a device."""

    code: Code = Field(description="The six digits that the device shows and speaks")


class CodesShown(BaseModel):
    """Devices that show a code now."""

    devices: int
    expires_at: datetime


class NewOwner(BaseModel):
    """The account that owns the device from now on."""

    owner_id: Annotated[str, StringConstraints(max_length=tables.USER_ID_CHARS)] | None = Field(
        None, description="Absent: nobody"
    )


class NewGroup(BaseModel):
    """The group that the device is shared with from now on."""

    group_id: Annotated[str, StringConstraints(max_length=tables.GROUP_ID_CHARS)] | None = Field(
        None, description="Absent: none"
    )


def summary(device: Device, presence: DevicePresence | None) -> DeviceSummary:
    """A registered device as a list tells it."""
    return DeviceSummary(**_summary(device, presence))


def _summary(device: Device, presence: DevicePresence | None) -> dict[str, Any]:
    return {
        "id": device.id,
        "state": "active" if device.allowed else "disabled",
        "name": device.name,
        "owner_id": device.owner_id or None,
        "group_id": device.group_id or None,
        "room": device.room,
        "tags": device.tags,
        "agent": device.agent or DEFAULT_AGENT,
        "transport": device.transport,
        "language": device.language or device.reported_language,
        "board": device.board,
        "board_name": device.board_name,
        "firmware_version": device.firmware_version,
        "auto_update": device.auto_update,
        "recordings": device.recordings,
        "channel": device.channel,
        "presence": _presence(device, presence),
        "created_at": device.created_at,
        "version": device.revision,
    }


def _presence(device: Device, presence: DevicePresence | None) -> Presence:
    if presence is None:
        return Presence(connected=False, last_seen_at=device.last_seen_at)
    return Presence(
        connected=True,
        transport="websocket" if presence.transport == "websocket" else "mqtt",
        since=presence.since,
        address=presence.address or None,
        last_seen_at=device.last_seen_at,
    )


def full(details: DeviceDetails) -> DeviceFull:
    """A registered device with everything."""
    device = details.device
    return DeviceFull(
        **_summary(device, details.presence),
        user_name=device.user_name,
        notes=device.notes,
        serial_number_proven=device.serial_number != "",
        cellular=device.cellular,
        host=device.host,
        fallback_since=device.fallback_at,
        report=dict(details.report),
        reported_at=details.reported_at,
        ota_requests=[request_entry(row) for row in details.requests],
        session=_live(details.audio) if details.audio is not None else None,
        sessions=[_over(row) for row in details.sessions],
        tools=[_tool(tool) for tool in details.tools],
        tools_learned_at=details.tools_learned_at,
    )


def request_entry(row: OtaExchange) -> OtaRequestEntry:
    """One entry of the log of OTA requests."""
    return OtaRequestEntry(
        at=row.at,
        board=row.board,
        firmware_version=row.firmware_version,
        address=row.address,
        answer=row.answer,
        firmware_offered=row.offered_version or None,
        told=ota_log.sentence(row),
        signal_dbm=row.signal_dbm,
    )


def server_request(row: OtaExchange, name: str | None) -> ServerOtaRequest:
    """One entry of the log of the whole server; `name` is that of the device, None for one that is not
    registered."""
    entry = request_entry(row)
    return ServerOtaRequest(
        **entry.model_dump(),
        id=row.id or 0,
        device_id=row.device_id or None,
        device_name=name or "",
        registered=name is not None,
        reason=row.reason,
    )


def _live(audio: AudioReport) -> Audio:
    return Audio(
        session_id=audio.session_id,
        transport=audio.transport,
        duration_s=round(audio.duration_s, 1),
        udp_seen=audio.udp_seen,
        received=audio.received,
        lost=max(0, audio.lost),
        late=audio.late,
        loss=audio.loss,
        jitter_ms=audio.jitter_ms,
        round_trip_ms=audio.round_trip_ms,
    )


def _over(row: SessionStatistics) -> Audio:
    sent = row.received + row.lost
    return Audio(
        session_id=row.session_id,
        transport=row.transport,
        started_at=row.started_at,
        ended_at=row.ended_at,
        end_reason=row.reason or None,
        duration_s=round((row.ended_at - row.started_at).total_seconds(), 1),
        udp_seen=row.udp_seen,
        received=row.received,
        lost=row.lost,
        late=row.late,
        loss=row.lost / sent if sent else None,
        jitter_ms=row.jitter_ms,
        round_trip_ms=row.round_trip_ms,
    )


def tools(found: registry.Tools) -> DeviceTools:
    """The tools of a device."""
    return DeviceTools(
        items=[_tool(tool) for tool in found.tools],
        learned_at=found.learned_at,
        complete=found.complete,
        problem=found.problem or None,
    )


def connections(history: History) -> Connections:
    """The history of a device's connections."""
    return Connections(
        since=history.since,
        until=history.until,
        intervals=[
            ConnectionInterval(
                kind=each.kind, transport=each.transport, began_at=each.began_at, ended_at=each.ended_at,
                reason=each.reason,
            )
            for each in history.intervals
        ],
        server_off=[ServerOff(began_at=began, ended_at=ended) for began, ended in history.server_off],
    )  # fmt: skip


def _tool(tool: Mapping[str, Any]) -> Tool:
    return Tool(
        name=str(tool.get("name", "")),
        description=str(tool.get("description", "")),
        input_schema=dict(tool.get("input_schema") or {}),
        for_people=bool(tool.get("for_people")),
        read_only=bool(tool.get("read_only")),
    )
