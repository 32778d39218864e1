"""Decisions of a roll-out: which device is offered its image, what came of it, and when it halts; pure.

A roll-out offers one image to the devices that it is for. Each device goes through the states of `Progress`;
the facts come from OTA requests, downloads and connections, which `fleet.firmware.offers` and
`fleet.firmware.watching` bring here.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mimi_mqtt.errors import Invalid
from mimi_mqtt.fleet.firmware import versions

DEFAULT_CHANNEL: Final = "stable"
"""The channel of a device that was given none. Its roll-outs are for devices of every channel."""
MAX_ATTEMPTS: Final = 3
"""Downloads to the end after which a device that still runs its old version is not offered the image
again."""

_CHANNEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")


def check_channel(channel: str) -> str:
    """A channel's name. Raises Invalid."""
    if not _CHANNEL.fullmatch(channel):
        raise Invalid(
            f"channel: {channel[:64]!r} is none; small letters, digits, - and _, at most 32, such as stable "
            "or beta"
        )
    return channel


class Kind(StrEnum):
    """The origin of a roll-out."""

    ROLL_OUT = "roll-out"
    """A person made it."""
    UPGRADE = "upgrade"
    """One connected device was told to update itself."""
    ROLL_BACK = "roll-back"
    """It takes another roll-out back."""


class State(StrEnum):
    """The state of a roll-out."""

    RUNNING = "running"
    PAUSED = "paused"
    """By a person."""
    HALTED = "halted"
    """By itself: too many devices did not come back."""
    ENDED = "ended"
    ROLLED_BACK = "rolled back"
    """Another one takes it back."""


GOING: Final = frozenset({State.RUNNING, State.PAUSED, State.HALTED})
"""States of roll-outs that may still offer their image."""


class Progress(StrEnum):
    """The state of one device in a roll-out."""

    OFFERED = "offered"
    """Its OTA request was answered with the image, or it was told to update itself."""
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    """It was sent everything, and is restarting."""
    DONE = "done"
    """It runs the image's version."""
    FAILED = "failed"
    """It came back with another version."""
    GONE = "gone"
    """It did not come back."""


OPEN: Final = frozenset({Progress.OFFERED, Progress.DOWNLOADING, Progress.DOWNLOADED, Progress.GONE})
"""States that may still change by what the device does."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """The image of a roll-out; `size` in bytes."""

    id: int
    board: str
    board_name: str
    """"": for every board of this type."""
    version: str
    chip: str
    size: int
    sha256: str = ""

    def fits_board(self, board: str, board_name: str) -> bool:
        """True when the image is for this board."""
        return self.board == board and self.board_name in ("", board_name)


@dataclass(frozen=True, slots=True)
class RollOutFacts:
    """A roll-out. Empty `devices`, `owners` and `groups` don't narrow it; several of them must all fit."""

    id: int
    image: ImageFacts
    kind: Kind = Kind.ROLL_OUT
    state: State = State.RUNNING
    percent: int = 100
    channel: str = DEFAULT_CHANNEL
    devices: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    force: bool = False
    """Also to devices that run a newer version, or don't update by themselves."""
    halt_after: int = 2
    """Devices that did not come back at which it halts, if they are more than `halt_percent` too."""
    halt_percent: int = 10
    come_back_min: int = 15
    """Minutes for a device to come back after its download."""
    takes_back: int | None = None
    """The roll-out that it takes back."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device that asks. `chip` "" and `slot_bytes` None: it did not tell."""

    device_id: str
    board: str
    board_name: str
    version: str
    chip: str
    slot_bytes: int | None
    channel: str = ""
    auto_update: bool = True
    owner_id: str = ""
    group_id: str = ""
    took: bool = False
    """It was offered the image of the roll-out that is taken back, if one is, and runs its version."""


# ── who is offered it ────────────────────────────────────────────────────────────────────────────────────


def position(rollout_id: int, device_id: str) -> float:
    """The place of a device in a roll-out, from 0 to below 100: a roll-out of N percent is for those below N.
    It never changes, is evenly spread, and differs between roll-outs, so that the same device is not always
    the first."""
    digest = hashlib.sha256(f"{rollout_id}|{device_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / (1 << 64) * 100


def refusal(rollout: RollOutFacts, device: DeviceFacts, now: datetime) -> str:
    """The reason why a device is not offered a roll-out's image; "" when it is."""
    image = rollout.image
    if not image.fits_board(device.board, device.board_name):
        return "no image for this board"
    return (
        _closed(rollout, now)
        or _not_meant(rollout, device)
        or _impossible(image, device)
        or _not_wanted(rollout, device)
    )


def _closed(rollout: RollOutFacts, now: datetime) -> str:
    match rollout.state:
        case State.PAUSED:
            return "the roll-out is paused"
        case State.HALTED:
            return "the roll-out halted: devices did not come back"
        case State.ENDED | State.ROLLED_BACK:
            return f"the roll-out is {rollout.state.value}"
    if rollout.starts_at is not None and now < rollout.starts_at:
        return f"the roll-out starts at {_time(rollout.starts_at)}"
    if rollout.ends_at is not None and now >= rollout.ends_at:
        return f"the roll-out ended at {_time(rollout.ends_at)}"
    return ""


def _not_meant(rollout: RollOutFacts, device: DeviceFacts) -> str:
    if rollout.kind is Kind.ROLL_BACK and not device.took:
        return "it does not run what the roll-out that is taken back brought"
    if rollout.devices and device.device_id not in rollout.devices:
        return "not among the devices of the roll-out"
    if rollout.owners and device.owner_id not in rollout.owners:
        return "its owner is not among those of the roll-out"
    if rollout.groups and device.group_id not in rollout.groups:
        return "its group is not among those of the roll-out"
    channel = device.channel or DEFAULT_CHANNEL
    if (
        not rollout.devices
        and rollout.kind is Kind.ROLL_OUT
        and rollout.channel not in (DEFAULT_CHANNEL, channel)
    ):
        return f"on channel {channel}, not {rollout.channel}"
    if position(rollout.id, device.device_id) >= rollout.percent:
        return f"not in the first {rollout.percent} %"
    return ""


def _impossible(image: ImageFacts, device: DeviceFacts) -> str:
    if not device.chip:
        return f"it does not tell its chip, and the image is for {image.chip}"
    if device.chip != image.chip:
        return f"chip {device.chip} but image is for {image.chip}"
    if device.slot_bytes is not None and not device.slot_bytes:
        return "it has no second partition to update to"
    if device.slot_bytes is not None and image.size > device.slot_bytes:
        return f"does not fit the partition of {device.slot_bytes:,} bytes"
    return ""


def _not_wanted(rollout: RollOutFacts, device: DeviceFacts) -> str:
    version = rollout.image.version
    if versions.numbers(device.version) is None:
        return f"its version {device.version[:32]!r} is not dotted numbers: it can't compare"
    # Also with force: the device would flash the same image at each start.
    if versions.is_same(version, device.version):
        return f"runs {version} already"
    if rollout.force:
        return ""
    if not device.auto_update:
        return "does not update by itself (auto_update is off)"
    if not versions.is_newer(version, device.version):
        return f"runs {device.version[:32]}, newer than {version}"
    return ""


def order(rollouts: Collection[RollOutFacts]) -> list[RollOutFacts]:
    """The order in which roll-outs are tried: those that take another one back, forced ones, the newest
    version, the latest made."""
    return sorted(
        rollouts,
        key=lambda each: (
            each.kind is Kind.ROLL_BACK,
            each.force,
            versions.numbers(each.image.version) or (),
            each.id,
        ),
        reverse=True,
    )


# ── what came of it ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Taker:
    """A device that was offered an image, as its rows tell: the roll-out's, and its own.

    `connects`: it is to have a control connection after it started, as devices over MQTT do at once.
    """

    device_id: str
    progress: Progress
    from_version: str
    downloaded_at: datetime | None
    reported_version: str
    """The version of its last OTA request."""
    reported_at: datetime | None
    connected_at: datetime | None
    """The last time that it was seen connected."""
    connects: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A change of a device's state, and the reason, for people."""

    progress: Progress
    reason: str = ""


def outcome(
    taker: Taker, image_version: str, come_back: timedelta, now: datetime, watched_since: datetime
) -> Outcome | None:
    """The state that a device comes to by what was seen of it; None: it stays.

    Time in which the server was not there to be asked, before `watched_since`, does not count against a
    device, nor does a clock that was set.
    """
    if taker.progress not in OPEN:
        return None
    runs_it = versions.is_same(image_version, taker.reported_version)
    since = taker.downloaded_at
    if since is None:
        # It may have got the image in another way, such as over a cable.
        return Outcome(Progress.DONE) if runs_it else None
    asked = taker.reported_at is not None and taker.reported_at > since
    connected = taker.connected_at is not None and taker.connected_at > since
    if asked and not runs_it:
        version = taker.reported_version[:32]
        return Outcome(
            Progress.FAILED, f"came back with {version}: it did not start the new firmware, or left it"
        )
    if asked and (connected or not taker.connects):
        return Outcome(Progress.DONE)
    if taker.progress is Progress.GONE or taker.progress is not Progress.DOWNLOADED:
        return None
    waited = now - (watched_since if since > now else max(since, watched_since))
    if waited < come_back:
        return None
    if asked:
        return Outcome(Progress.GONE, f"started {image_version}, but did not connect")
    return Outcome(Progress.GONE, "was not seen again after the download")


def came_back_with(version: str) -> str:
    """The reason of a device that runs another version after its download."""
    return f"came back with {version[:32]}, and did not start the new firmware or left it"


@dataclass(frozen=True, slots=True)
class Tally:
    """Devices of a roll-out that are judged since it was last resumed."""

    done: int = 0
    failed: int = 0
    gone: int = 0

    @property
    def lost(self) -> int:
        """Devices that did not come back with the new version."""
        return self.failed + self.gone

    @property
    def judged(self) -> int:
        """Devices that took the image and are known to have come back or not."""
        return self.done + self.lost


def why_halt(rollout: RollOutFacts, tally: Tally) -> str:
    """The reason for which a running roll-out halts; "" when it goes on."""
    if rollout.state is not State.RUNNING or tally.lost < max(1, rollout.halt_after):
        return ""
    if tally.lost * 100 <= rollout.halt_percent * tally.judged:
        return ""
    return (
        f"{tally.lost} of {tally.judged} devices that took {rollout.image.version} did not come back with it "
        f"({tally.gone} not at all, {tally.failed} with another version)"
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
