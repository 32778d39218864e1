"""Identity of the simulated device: the same MAC address and Client-Id in every run on one machine."""

import getpass
import socket
import uuid
from hashlib import sha256

from mimi_mqtt.wire.topics import device_id_from_mac

_NAMESPACE = uuid.UUID("5f6d4c1e-3b0a-4a8e-9b57-6d696d690001")


def default_mac() -> str:
    """A locally administered address made of user and host name, such as `02:5e:…`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = ""
    digest = sha256(f"{user}@{socket.gethostname()}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def canonical_mac(mac: str) -> str:
    """`mac` as firmware writes it: lower case, colons. Raises ProtocolError when it is none."""
    return device_id_from_mac(mac).replace("-", ":")


def client_id_for(mac: str) -> str:
    """The installation's UUID: always the same for one MAC."""
    return str(uuid.uuid5(_NAMESPACE, mac))


def serial_number_for(mac: str) -> str:
    """The 32 characters of a chip's serial number: always the same for one MAC."""
    return sha256(mac.encode()).hexdigest()[:32].upper()
