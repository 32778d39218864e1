"""The parts of a started server, for those that look at all of them: its health, HTTP and the API."""

from dataclasses import dataclass

from mimi_mqtt.app.addresses import Addresses
from mimi_mqtt.app.commands import CommandParts
from mimi_mqtt.app.firmware import Firmware
from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.in_force import SettingsInForce
from mimi_mqtt.app.live import Live
from mimi_mqtt.app.people import PeopleParts
from mimi_mqtt.app.records import Records
from mimi_mqtt.app.streams import Streams
from mimi_mqtt.app.vision import Sight
from mimi_mqtt.app.voices import Voices
from mimi_mqtt.tls.watch import CertificateWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Every part but health and HTTP, in the order in which `app.App` makes them."""

    foundation: Foundation
    fleet: FleetParts
    records: Records
    firmware: Firmware
    people: PeopleParts
    streams: Streams
    in_force: SettingsInForce
    voices: Voices
    commands: CommandParts
    live: Live
    addresses: Addresses
    sight: Sight
    certificates: CertificateWatch
