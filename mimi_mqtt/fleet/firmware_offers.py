"""The interface by which OTA asks for firmware: an offer, or the reason why there is none.

`fleet.provisioning` calls it for a device that gets its credentials; `fleet.firmware.offers` implements it.
"""

from dataclasses import dataclass, field
from typing import Protocol

from mimi_mqtt.wire.ota import OtaRequest


@dataclass(frozen=True, slots=True)
class FirmwareOffer:
    """Firmware for a device: dotted numbers, the address to fetch it from, and whether it is flashed whatever
    version the device has."""

    version: str
    url: str = field(repr=False)
    force: bool = False


@dataclass(frozen=True, slots=True)
class NoFirmware:
    """The answer for a device that is offered none; `reason` is for people, such as "no image for this
    board"."""

    reason: str


class FirmwareOffers(Protocol):
    """Decides which firmware a device is offered."""

    async def offer(self, request: OtaRequest, origin: str) -> FirmwareOffer | NoFirmware:
        """The firmware for a device that may connect; `origin` begins the HTTP addresses by which it reaches
        this server. Costs no query where nothing is offered: a thousand devices a second ask. Raises nothing
        but CancelledError: the device gets its credentials in any case."""


class NoImages:
    """Offers none: there are no images. Implements `FirmwareOffers`."""

    async def offer(self, request: OtaRequest, origin: str) -> FirmwareOffer | NoFirmware:
        """See `FirmwareOffers`."""
        del request, origin
        return NoFirmware("no image for this board")
