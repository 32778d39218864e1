"""Roll-outs of firmware: made, changed, paused, resumed, taken back and ended by administrators."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from mimi_mqtt.fleet.firmware.rollout import Progress, State
from mimi_mqtt.fleet.firmware.rollouts import (
    MAX_COME_BACK_MIN,
    MAX_LISTED,
    MAX_NAMED,
    Overview,
    Terms,
)
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.firmware import Firmware, RowId, before_of, last_id
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.scalars import Flag, NoNumber
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.visibility import name_of
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import RollOutDevice

router = APIRouter(tags=["roll-outs"])

FirmwareCaller = Annotated[Caller, callers(Scope.FIRMWARE)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Name = Annotated[str, StringConstraints(max_length=tables.ROLLOUT_NAME_CHARS)]
Channel = Annotated[str, StringConstraints(max_length=tables.CHANNEL_CHARS)]
Percent = Annotated[int, Field(ge=0, le=100)]


class RollOutTerms(BaseModel):
    """Whom a roll-out is for, when, and how careful it is. Conditions that are given must all hold."""

    name: Name | None = None
    percent: Percent | None = Field(
        None, description="Only for so many percent of the devices, the same ones each time (default: 100)"
    )
    channel: Channel | None = Field(
        None,
        description="For devices of this channel; `stable` is for those of every channel (default: the "
        "image's)",
    )
    devices: Annotated[list[Id], Field(max_length=MAX_LISTED)] | None = Field(
        None, description="Only for these devices, whatever their channel is; empty: for all"
    )
    owners: Annotated[list[Id], Field(max_length=MAX_NAMED)] | None = Field(
        None, description="Only for devices of these users; empty: for all"
    )
    groups: Annotated[list[Id], Field(max_length=MAX_NAMED)] | None = Field(
        None, description="Only for devices that are shared with these groups; empty: for all"
    )
    starts_at: Annotated[AwareDatetime | None, NoNumber] = Field(
        None, description="No offers before; null in a change: at once"
    )
    ends_at: Annotated[AwareDatetime | None, NoNumber] = Field(
        None, description="It ends then; null in a change: never by itself"
    )
    force: Flag | None = Field(
        None, description="Also to devices with a newer version, and to those that don't update by themselves"
    )
    halt_after: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="It halts when so many devices did not come back, if they are more than `halt_percent` "
        "too "
        "(default: 2)",
    )
    halt_percent: Percent | None = Field(
        None, description="Percent of the devices that took it (default: 10)"
    )
    come_back_min: Annotated[int, Field(ge=1, le=MAX_COME_BACK_MIN)] | None = Field(
        None, description="Minutes for a device to come back after its download (default: 15)"
    )

    def terms(self) -> Terms:
        """The terms; times that are given as null are taken away."""
        given = {name: getattr(self, name) for name in RollOutTerms.model_fields}
        unset = frozenset(
            name for name in ("starts_at", "ends_at") if name in self.model_fields_set and given[name] is None
        )
        return Terms(**given, unset=unset)


class NewRollOut(RollOutTerms):
    """A roll-out to be made."""

    image_id: int = Field(ge=1, le=2**53, description="The image that it offers")
    paused: Flag = Field(False, description="Made without a beginning: resume it")


class WantedReach(RollOutTerms):
    """Terms whose reach is asked for."""

    image_id: int = Field(ge=1, le=2**53, description="The image that is offered")
    rollout_id: int | None = Field(
        None, ge=1, le=2**53, description="The roll-out that is to be changed; absent: one to be made"
    )


class NotReached(BaseModel):
    """Devices of the board that are not offered the image."""

    reason: str
    devices: int


class RollOutReach(BaseModel):
    """The devices that a roll-out would be for, as they are now."""

    board_devices: int = Field(description="Devices of the image's type of board")
    meant: int = Field(description="Devices that are offered the image at 100 percent")
    reached: int = Field(
        description="Those of them within the percentage; for a roll-out that is still to be made about so "
        "many"
    )
    others: list[NotReached] = Field(description="Why the others are not, the most frequent reasons first")


class RollBack(BaseModel):
    """The image that a roll-out is taken back to."""

    image_id: int | None = Field(
        None, ge=1, le=2**53, description="An image; absent: the version that most of the devices had before"
    )


class RollOutRead(BaseModel):
    """A roll-out, and how many devices are in which state."""

    id: int
    name: str
    kind: Literal["roll-out", "upgrade", "roll-back"]
    state: Literal["running", "paused", "halted", "ended", "rolled back"]
    reason: str = Field(description="Why it halted by itself")
    image: Firmware
    percent: int
    channel: str
    devices: list[str]
    owners: list[str]
    groups: list[str]
    starts_at: datetime | None
    ends_at: datetime | None
    force: bool
    halt_after: int
    halt_percent: int
    come_back_min: int
    takes_back: int | None = Field(description="The roll-out that it takes back")
    created_by: str
    created_at: datetime
    changed_at: datetime
    counts: dict[str, int] = Field(description="Devices by state")

    @classmethod
    def of(cls, found: Overview) -> "RollOutRead":
        """The roll-out, its image and its counts."""
        names = [name for name in cls.model_fields if name not in ("image", "counts")]
        fields = {name: getattr(found.row, name) for name in names}
        return cls(**fields, image=Firmware.of(found.image), counts=found.counts)


class DeviceInRollOut(BaseModel):
    """One device in a roll-out."""

    device_id: str
    device_name: str = Field(description="Empty: it has none")
    state: Literal["offered", "downloading", "downloaded", "done", "failed", "gone"]
    reason: str = Field(description="Why it failed or is gone")
    from_version: str = Field(description="The version that it ran before")
    attempts: int = Field(description="Downloads to the end")
    bytes_sent: int
    offered_at: datetime
    began_at: datetime | None
    downloaded_at: datetime | None
    decided_at: datetime | None = Field(description="The last time that it was done, failed or gone")

    @classmethod
    def of(cls, row: RollOutDevice, device_name: str) -> "DeviceInRollOut":
        """The device in a row."""
        names = [name for name in cls.model_fields if name not in ("state", "device_name")]
        fields = {name: getattr(row, name) for name in names}
        return cls(**fields, state=row.progress, device_name=device_name)


@router.get("/rollouts")
async def list_rollouts(
    caller: FirmwareCaller,
    services: Services,
    state: Annotated[list[State] | None, Query(description="Only those in these states")] = None,
    image_id: Annotated[int | None, Query(ge=1, le=2**53, description="Only those of this image")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[RollOutRead]:
    """Roll-outs, the latest first."""
    found = await services.rollouts.list(
        states=state or (), image_id=image_id, before=before_of(cursor), limit=limit + 1
    )
    last = last_id([each.row.id for each in found], limit)
    return page_of([RollOutRead.of(each) for each in found], limit, last)


@router.post("/rollouts", status_code=201)
async def create_rollout(
    wanted: NewRollOut, response: Response, caller: FirmwareCaller, services: Services
) -> RollOutRead:
    """Begins to offer an image to devices when they ask OTA, which they do at each start."""
    made = await services.rollouts.create(
        wanted.image_id, wanted.terms(), caller.author, paused=wanted.paused
    )
    return _told(made, response)


@router.post("/rollout-reach")
async def find_rollout_reach(wanted: WantedReach, caller: FirmwareCaller, services: Services) -> RollOutReach:
    """Counts the devices that a roll-out with these terms would be for, and changes nothing. Fields that are
    left out are those of `rollout_id`, or else the defaults. The chip and the size of the partition are those
    that devices of the board told last."""
    found = await services.rollouts.reach(wanted.image_id, wanted.terms(), wanted.rollout_id)
    others = [NotReached(reason=reason, devices=devices) for reason, devices in found.others]
    return RollOutReach(
        board_devices=found.board_devices, meant=found.meant, reached=found.reached, others=others
    )


@router.get("/rollouts/{rollout_id}")
async def read_rollout(
    rollout_id: RowId, response: Response, caller: FirmwareCaller, services: Services
) -> RollOutRead:
    """One roll-out."""
    return _told(await services.rollouts.get(rollout_id), response)


@router.patch("/rollouts/{rollout_id}")
async def change_rollout(
    rollout_id: RowId,
    wanted: RollOutTerms,
    response: Response,
    caller: FirmwareCaller,
    services: Services,
    if_match: etags.IfMatch = None,
) -> RollOutRead:
    """Changes whom a roll-out is for, when, and how careful it is."""
    present = await services.rollouts.get(rollout_id)
    etags.check(if_match, present.row.revision)
    revision = present.row.revision if if_match is not None else None
    changed = await services.rollouts.change(rollout_id, wanted.terms(), caller.author, revision=revision)
    return _told(changed, response)


@router.delete("/rollouts/{rollout_id}", status_code=204)
async def delete_rollout(rollout_id: RowId, caller: FirmwareCaller, services: Services) -> None:
    """Deletes a roll-out that is over, with what is known of its devices."""
    await services.rollouts.delete(rollout_id, caller.author)


@router.post("/rollouts/{rollout_id}/pause")
async def pause_rollout(
    rollout_id: RowId, response: Response, caller: FirmwareCaller, services: Services
) -> RollOutRead:
    """Stops further offers, and downloads that have not begun."""
    return _told(await services.rollouts.pause(rollout_id, caller.author), response)


@router.post("/rollouts/{rollout_id}/resume")
async def resume_rollout(
    rollout_id: RowId, response: Response, caller: FirmwareCaller, services: Services
) -> RollOutRead:
    """Lets a roll-out go on that was paused, or that halted by itself; devices that are lost by now don't
    halt it again."""
    return _told(await services.rollouts.resume(rollout_id, caller.author), response)


@router.post("/rollouts/{rollout_id}/end")
async def end_rollout(
    rollout_id: RowId, response: Response, caller: FirmwareCaller, services: Services
) -> RollOutRead:
    """Ends a roll-out for good."""
    return _told(await services.rollouts.end(rollout_id, caller.author), response)


@router.post("/rollouts/{rollout_id}/roll-back", status_code=201)
async def roll_back_rollout(
    rollout_id: RowId,
    wanted: RollBack,
    response: Response,
    caller: FirmwareCaller,
    services: Services,
) -> RollOutRead:
    """Takes a roll-out back: those that were offered it are offered the version before, with force. The new
    roll-out is returned."""
    back = await services.rollouts.roll_back(rollout_id, caller.author, image_id=wanted.image_id)
    return _told(back, response)


@router.get("/rollouts/{rollout_id}/devices")
async def list_rollout_devices(
    rollout_id: RowId,
    caller: FirmwareCaller,
    services: Services,
    state: Annotated[Progress | None, Query(description="Only those in this state")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[DeviceInRollOut]:
    """Devices that were offered the image, by their ids, and how far each came."""
    key = key_of(cursor, str)
    found = await services.rollouts.devices(
        rollout_id, progress=state, after=str(key[0])[:32].replace("\0", "") if key else "", limit=limit + 1
    )
    items = [DeviceInRollOut.of(row, name_of(services.directory, row.device_id)) for row in found]
    return page_of(items, limit, items[min(limit, len(items)) - 1].device_id if items else "")


def _told(found: Overview, response: Response) -> RollOutRead:
    etags.tell(response, found.row.revision)
    return RollOutRead.of(found)
