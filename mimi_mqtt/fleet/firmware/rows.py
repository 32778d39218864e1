"""Facts of roll-outs and devices, from the rows of the database."""

from collections.abc import Mapping

from mimi_mqtt.fleet.firmware import report as reports
from mimi_mqtt.fleet.firmware.rollout import DeviceFacts, ImageFacts, Kind, RollOutFacts, State
from mimi_mqtt.store.firmware import BoardDevice
from mimi_mqtt.store.tables import Board, Device, FirmwareImage, RollOut


def image_facts(row: FirmwareImage) -> ImageFacts:
    """The facts of a registered image."""
    assert row.id is not None  # noqa: S101 - it comes from the database
    return ImageFacts(row.id, row.board, row.board_name, row.version, row.chip, row.size, row.sha256)


def rollout_facts(row: RollOut, image: FirmwareImage) -> RollOutFacts:
    """The facts of a roll-out."""
    assert row.id is not None  # noqa: S101 - it comes from the database
    return RollOutFacts(
        row.id, image_facts(image), Kind(row.kind), State(row.state), row.percent, row.channel,
        frozenset(row.devices), frozenset(row.owners), frozenset(row.groups), row.starts_at, row.ends_at,
        row.force, row.halt_after, row.halt_percent, row.come_back_min, row.takes_back,
    )  # fmt: skip


def device_facts(row: Device, report: Mapping[str, object], *, took: bool = False) -> DeviceFacts:
    """The facts of a device, and of its last OTA report."""
    return DeviceFacts(
        row.id, row.board, row.board_name, row.firmware_version, reports.chip_of(report),
        reports.slot_bytes(report), row.channel, row.auto_update, row.owner_id, row.group_id, took,
    )  # fmt: skip


def board_device_facts(
    device: BoardDevice, board_type: str, board: Board | None, *, took: bool = False
) -> DeviceFacts:
    """The facts of a device by what is known of its type of board: a device that did not report has no
    chip."""
    chip = reports.chip_of({"chip_model_name": board.chip}) if board is not None and device.reported else ""
    room = board.app_bytes or None if board is not None else None
    return DeviceFacts(
        device.id, board_type, device.board_name, device.firmware_version, chip,
        room, device.channel, device.auto_update, device.owner_id, device.group_id, took,
    )  # fmt: skip
