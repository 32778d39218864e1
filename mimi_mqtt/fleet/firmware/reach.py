"""The reach of a roll-out: how many devices it would be for now, and why not for others."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mimi_mqtt.fleet.firmware.rollout import DeviceFacts, RollOutFacts, State, position, refusal

MAX_REASONS: Final = 8
"""Most reasons that are told; those of fewer devices are left out."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Numbers of devices: of the board, those that are offered the image at 100 percent, those within the
    percentage, and of the others by reason."""

    board_devices: int
    meant: int
    reached: int
    others: Sequence[tuple[str, int]]


def reach(rollout: RollOutFacts, devices: Iterable[DeviceFacts], now: datetime) -> Reach:
    """The reach of a roll-out, begun or not. The id 0 stands for one that is still to be made: then the
    number within the percentage is what can be expected, as the id decides which devices they are."""
    open_to_all = replace(rollout, percent=100, state=State.RUNNING, starts_at=None, ends_at=None)
    board_devices = meant = within = 0
    others: Counter[str] = Counter()
    for device in devices:
        board_devices += 1
        if reason := refusal(open_to_all, device, now):
            others[reason] += 1
            continue
        meant += 1
        within += position(rollout.id, device.device_id) < rollout.percent
    reached = within if rollout.id else round(meant * rollout.percent / 100)
    return Reach(board_devices, meant, reached, others.most_common(MAX_REASONS))
