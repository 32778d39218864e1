"""Check of the broker for `mimi-mqtt doctor`: messages by each QoS from amqtt's client and back.

amqtt is an independent implementation of MQTT 3.1.1: it shows faults that this project's client and server
have in common.
"""

import asyncio
import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from websockets.exceptions import WebSocketException

from mimi_mqtt.cli.finding import Finding

if TYPE_CHECKING:
    from amqtt.client import MQTTClient

WHAT: Final = "MQTT clients"
"""The name of the finding."""
_TIMEOUT_S: Final = 10
_QOS: Final = (0, 1, 2)
_CURE: Final = "`mimi-mqtt reload` reads the settings again; the server's log names the client $self-check"


async def round_trip(address: str, username: str, password: str) -> Finding:
    """Sends a message to itself by each quality of service over MQTT at `address`, `ws://HOST:PORT/mqtt`."""
    from amqtt.client import MQTTClient  # takes 0.3 s
    from amqtt.errors import ClientError, MQTTError, ProtocolHandlerError

    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    mark = secrets.token_hex(8)
    topic = f"doctor/{mark}"
    client = MQTTClient(f"doctor-{mark}", config={"auto_reconnect": False, "connection_timeout": _TIMEOUT_S})
    scheme, _, rest = address.partition("://")
    url = f"{scheme}://{quote(username, safe='')}:{quote(password, safe='')}@{rest}"
    came = 0
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await client.connect(url, cleansession=True)
            await client.subscribe([(topic, max(_QOS))])
            for qos in _QOS:
                await client.publish(topic, f"{mark} {qos}".encode(), qos)
                message = await client.deliver_message()
                came += message is not None and bytes(message.data or b"") == f"{mark} {qos}".encode()
    except (ClientError, MQTTError, ProtocolHandlerError, WebSocketException, OSError, TimeoutError) as error:
        return Finding("fail", WHAT, f"{address}: {str(error) or type(error).__name__}", _CURE)
    finally:
        await _end(client)
    if came < len(_QOS):
        return Finding("fail", WHAT, f"{address}: {came} of {len(_QOS)} messages came back", _CURE)
    return Finding("ok", WHAT, f"{address} passes messages on, by QoS 0, 1 and 2")


async def _end(client: "MQTTClient") -> None:
    """Closes the connection, if there is one."""
    from amqtt.errors import ClientError, MQTTError, ProtocolHandlerError

    with contextlib.suppress(ClientError, MQTTError, ProtocolHandlerError, OSError, TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            await client.disconnect()
