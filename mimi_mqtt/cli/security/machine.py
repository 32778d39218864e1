"""Facts of this machine and of the server's process for the security checks, read once."""

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

import psutil

from mimi_mqtt.cli.server_process import running_pid
from mimi_mqtt.errors import MimiError
from mimi_mqtt.machine_memory import memory_limit

IpAddress = IPv4Address | IPv6Address

_RECEIVE_BUFFER: Final = Path("/proc/sys/net/core/rmem_max")


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of this machine. `pid` is the running server's, None when none runs on the data folder; then
    `uid` and `open_files`, the soft and the hard limit, are this command's own."""

    now: datetime
    interfaces: Mapping[str, tuple[IpAddress, ...]] = field(default_factory=dict)
    pid: int | None = None
    uid: int = 1000
    open_files: tuple[int, int] = (1_024, 1_048_576)
    memory_limit_bytes: int | None = None
    receive_buffer_max: int | None = None
    installed: datetime | None = None
    """Time of the installation of this version; None when it can't be known."""

    @property
    def addresses(self) -> tuple[IpAddress, ...]:
        """All addresses of all interfaces."""
        return tuple(address for addresses in self.interfaces.values() for address in addresses)


def look(data_dir: Path) -> Machine:
    """Reads the machine's state, and that of the server that runs on `data_dir`, if this user may see it."""
    pid = _server(data_dir)
    uid, open_files = os.geteuid(), resource.getrlimit(resource.RLIMIT_NOFILE)
    if pid is not None:
        try:
            uid = psutil.Process(pid).uids().effective
            open_files = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        except (psutil.Error, OSError):
            pid = None  # another user's: what is seen is this command's own
    return Machine(
        now=datetime.now(UTC),
        interfaces=_interfaces(),
        pid=pid,
        uid=uid,
        open_files=open_files,
        memory_limit_bytes=memory_limit(pid or os.getpid()),
        receive_buffer_max=_number(_RECEIVE_BUFFER),
        installed=_installed(),
    )


def _server(data_dir: Path) -> int | None:
    try:
        return running_pid(data_dir)
    except MimiError:
        return None


def _interfaces() -> Mapping[str, tuple[IpAddress, ...]]:
    found: dict[str, tuple[IpAddress, ...]] = {}
    for name, entries in psutil.net_if_addrs().items():
        addresses = []
        for entry in entries:
            try:
                addresses.append(ip_address(entry.address.partition("%")[0]))
            except ValueError:  # a MAC address
                continue
        if addresses:
            found[name] = tuple(addresses)
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _installed() -> datetime | None:
    try:
        files = distribution("mimi-mqtt").files or ()
        record = next((file.locate() for file in files if file.name == "METADATA"), None)
        if record is None:
            return None
        return datetime.fromtimestamp(Path(str(record)).stat().st_mtime, UTC)
    except (PackageNotFoundError, OSError):
        return None
