"""Actions that print devices, their logs, the keys of chips and the list of devices that may register."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.cli.devices.context import Context
from mimi_mqtt.cli.people_store import printable
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.fleet.administration import UnknownDevice, parse_device_id
from mimi_mqtt.fleet.fallback import Fallback, fallbacks
from mimi_mqtt.fleet.firmware.rollout import DEFAULT_CHANNEL
from mimi_mqtt.fleet.ota_log import sentence
from mimi_mqtt.store import device_keys, device_lists, devices, ota_log, session_statistics
from mimi_mqtt.store.device_lists import DeviceQuery
from mimi_mqtt.store.tables import Activation, Device, OtaExchange, SeenDevice

_ALL = 1_000_000
_AT_ONCE = 1_000


async def list_devices(context: Context, args: argparse.Namespace) -> None:
    """Prints devices, those that wait, and with --state seen those that may not come in."""
    fallen_back = {fallback.device_id: fallback for fallback in await fallbacks(context.store)}
    owner = await context.owner_id(args.owner) if args.owner is not None else None
    query = DeviceQuery(
        allowed={"active": True, "disabled": False}.get(args.state),
        owner_id=owner, group_id=args.group, room=args.room, tag=args.tag, board=args.board,
        agent="" if args.agent == DEFAULT_AGENT else args.agent, search=args.search,
    )  # fmt: skip
    filtered = query != DeviceQuery() or args.state is not None
    async with context.store.read() as session:
        known = await _registered(session, query) if args.state not in ("pending", "seen") else []
        waiting: Sequence[Activation] = []
        if not filtered or args.state == "pending":
            waiting = await device_lists.activations_page(session, 0, datetime.now(UTC), _ALL)
        rivals = {asker.device_id for asker in waiting if await devices.get(session, asker.device_id)}
        seen = await ota_log.seen_page(session, "", _ALL) if args.state == "seen" else []
    if args.json:
        told = {
            "devices": [_as_json(device, fallen_back.get(device.id)) for device in known],
            "waiting": [_waiting(it) for it in waiting],
        }
        if args.state == "seen":
            told["seen"] = [_seen(it) for it in seen]
        print(json.dumps(told))
        return
    if not known and not waiting and not seen:
        print("no device fits" if filtered else "no device has sent an OTA request yet", file=sys.stderr)
    for device in known:
        print(await _line(context, device, fallen_back.get(device.id)))
    for asker in waiting:
        known_word = "another Client-Id" if asker.device_id in rivals else "new"
        origin = f"from {printable(asker.address)}  " if asker.address else ""
        print(
            f"{asker.device_id}  waiting ({known_word})  {printable(asker.board)}  {origin}"
            f"allow it with: mimi-mqtt devices allow {asker.code}"
        )
    for each in seen:
        words = [each.id, "seen", each.board, each.firmware_version, f"from {each.address}"]
        print("  ".join(printable(word) for word in words if word))


async def _registered(session: AsyncSession, query: DeviceQuery) -> list[Device]:
    found: list[Device] = []
    after: tuple[str | datetime, str] | None = None
    while part := await device_lists.page(session, query, after, _AT_ONCE):
        found += part
        after = (part[-1].id, part[-1].id)
    return found


async def _line(context: Context, device: Device, fallback: Fallback | None) -> str:
    state = "allowed" if device.allowed else "revoked"
    words = [device.id, state, _transport(device, fallback), device.board, device.firmware_version]
    words.append(f"seen {_minute(device.last_seen_at)}")
    words += [f"agent {device.agent}" if device.agent else "", device.name]
    words.append(f"of {device.user_name}" if device.user_name else "")
    words.append(f"in {device.room}" if device.room else "")
    words.append(f"owner {await context.owner_name(device.owner_id)}" if device.owner_id else "")
    return "  ".join(printable(word) for word in words if word)


async def show(context: Context, args: argparse.Namespace) -> None:
    """Prints all that is known of a device."""
    device_id = parse_device_id(args.device)
    fallen_back = {fallback.device_id: fallback for fallback in await fallbacks(context.store)}
    async with context.store.read() as session:
        device = await devices.get(session, device_id)
        if device is None:
            raise UnknownDevice(device_id)
        report = await devices.last_report(session, device_id)
        sessions = await session_statistics.of_device(session, device_id, 5)
        tools = await session_statistics.tools_of(session, device_id)
        requests = await ota_log.of_device(session, device_id, 5)
    told = _as_json(device, fallen_back.get(device_id)) | {
        "owner": await context.owner_name(device.owner_id),
        "report": report.report if report is not None else {},
        "sessions": [
            {
                "ended_at": row.ended_at.isoformat(), "transport": row.transport, "udp_seen": row.udp_seen,
                "received": row.received, "lost": row.lost, "late": row.late, "jitter_ms": row.jitter_ms,
                "round_trip_ms": row.round_trip_ms,
            }
            for row in sessions
        ],
        "tools": [str(tool.get("name", "")) for tool in tools.tools] if tools is not None else [],
        "ota_requests": [_request(row) for row in requests],
    }  # fmt: skip
    if args.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        if name in ("sessions", "ota_requests") and isinstance(value, list):
            print(f"{name}:" if value else f"{name}: none")
            for each in value:
                print("  " + printable("  ".join(f"{key} {word}" for key, word in each.items())))
        elif value not in ("", None, []):
            print(printable(f"{name}: {json.dumps(value, ensure_ascii=False)}"))


async def show_log(context: Context, args: argparse.Namespace) -> None:
    """Prints what a device asked, what it was answered, and why; the newest first."""
    device_id = parse_device_id(args.device)
    async with context.store.read() as session:
        requests = await ota_log.of_device(session, device_id, 2 * ota_log.KEPT)
    if args.json:
        print(json.dumps({"id": device_id, "ota_requests": [_request(row) for row in requests]}))
        return
    if not requests:
        print(f"no request of {device_id} is recorded", file=sys.stderr)
    for row in requests:
        print(
            printable(
                f"asked {_minute(row.at)} from {row.address or 'unknown'}, board {row.board or 'unknown'}, "
                f"{row.firmware_version or 'no version'}; {sentence(row)}"
            )
        )


async def list_keys(context: Context, args: argparse.Namespace) -> None:
    """Prints the chips whose keys are registered; never the keys."""
    keys = context.keys
    async with context.store.read() as session:
        rows = await device_keys.page(session, "", _ALL)
    told = [
        {
            "serial_number": row.serial_number, "device_id": row.device_id, "readable": keys.is_readable(row),
            "proven_at": row.proven_at.isoformat() if row.proven_at is not None else None,
        }
        for row in rows
    ]  # fmt: skip
    if args.json:
        print(json.dumps({"keys": told}))
        return
    if not told:
        print("no key is registered", file=sys.stderr)
    for key in told:
        words = [key["serial_number"], key["device_id"] or "of any device"]
        words.append(f"proven {key['proven_at']}" if key["proven_at"] else "never proven")
        words.append("" if key["readable"] else "UNREADABLE: import it again")
        print("  ".join(printable(str(word)) for word in words if word))


async def show_allow_list(context: Context, args: argparse.Namespace) -> None:
    """Prints the devices that may register whatever `ota.new_devices` says."""
    async with context.store.read() as session:
        rows = await device_keys.list_page(session, ("", ""), _ALL)
    if args.json:
        told = [
            {"kind": row.kind, "value": row.value, "owner_id": row.owner_id, "note": row.note} for row in rows
        ]
        print(json.dumps({"listed": told}))
        return
    if not rows:
        print("no device is listed", file=sys.stderr)
    for row in rows:
        owner = f"for {await context.owner_name(row.owner_id)}" if row.owner_id else ""
        print("  ".join(printable(word) for word in (row.kind, row.value, owner, row.note) if word))


def _transport(device: Device, fallback: Fallback | None) -> str:
    """The transport set for the device, and whether the server itself set it."""
    if fallback is None:
        return device.transport or ""
    told = f"{device.transport} (fallback since {_minute(fallback.since)}"
    if fallback.silent_since is not None:
        told += f", not connected since its boot at {_minute(fallback.silent_since)}"
    return told + ")"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _as_json(device: Device, fallback: Fallback | None) -> dict[str, object]:
    return {
        "id": device.id,
        "name": device.name,
        "allowed": device.allowed,
        "transport": device.transport,
        "fallback_since": fallback.since.isoformat() if fallback is not None else None,
        "not_connected_since": fallback.silent_since.isoformat()
        if fallback is not None and fallback.silent_since is not None
        else None,
        "language": device.language or device.reported_language,
        "agent": device.agent or DEFAULT_AGENT,
        "user": device.user_name,
        "owner_id": device.owner_id,
        "group_id": device.group_id,
        "room": device.room,
        "tags": device.tags,
        "notes": device.notes,
        "auto_update": device.auto_update,
        "recordings": device.recordings or "default",
        "channel": device.channel or DEFAULT_CHANNEL,
        "board": device.board,
        "board_name": device.board_name,
        "cellular": device.cellular,
        "firmware_version": device.firmware_version,
        "host": device.host,
        "created_at": device.created_at.isoformat(),
        "last_seen_at": device.last_seen_at.isoformat(),
    }


def _waiting(asker: Activation) -> dict[str, object]:
    return {
        "id": asker.device_id,
        "code": asker.code,
        "board": asker.board,
        "firmware_version": asker.firmware_version,
        "address": asker.address,
        "asked_at": asker.asked_at.isoformat(),
        "expires_at": asker.expires_at.isoformat(),
    }


def _seen(device: SeenDevice) -> dict[str, object]:
    return {
        "id": device.id,
        "board": device.board,
        "firmware_version": device.firmware_version,
        "address": device.address,
        "first_seen_at": device.first_seen_at.isoformat(),
        "last_seen_at": device.last_seen_at.isoformat(),
    }


def _request(row: OtaExchange) -> dict[str, object]:
    return {
        "at": row.at.isoformat(),
        "address": row.address,
        "board": row.board,
        "firmware_version": row.firmware_version,
        "answer": row.answer,
        "told": sentence(row),
    }
