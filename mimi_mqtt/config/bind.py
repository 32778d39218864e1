"""The address of a listening socket as a setting: HOST:PORT."""

from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, PlainSerializer


class BindAddress(NamedTuple):
    """The address of a listening socket: `host` as an IP address or name, `port` 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{before_port(self.host)}:{self.port}"


def before_port(host: str) -> str:
    """An IP address or name as it is written in front of a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _parse_bind(value: object) -> BindAddress:
    if isinstance(value, BindAddress):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return BindAddress(str(value[0]), int(value[1]))
    host, separator, port = str(value).rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(
            f"must be HOST:PORT with a port from 0 to 65535, such as 0.0.0.0:1883, not {value!r}"
        )
    return BindAddress(host.removeprefix("[").removesuffix("]"), int(port))


Bind = Annotated[
    BindAddress, BeforeValidator(_parse_bind), PlainSerializer(lambda bind: str(bind), return_type=str)
]
