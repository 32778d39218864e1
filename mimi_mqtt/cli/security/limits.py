"""Checks of the bounds that the operating system sets, and of the age of this version."""

from datetime import timedelta
from typing import Final

from mimi_mqtt import __version__
from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.config import Settings
from mimi_mqtt.descriptors import needed

OLD: Final = timedelta(days=180)
"""A version that was installed longer ago is worth a look for a newer one."""
_MIB: Final = 1024 * 1024


def examine(settings: Settings, machine: Machine) -> list[Finding]:
    """Findings about descriptors, memory, the kernel's buffer, and the version."""
    return [
        _descriptors(settings, machine),
        _memory(machine),
        _receive_buffer(settings, machine),
        _version(machine),
    ]


def _descriptors(settings: Settings, machine: Machine) -> Finding:
    wanted, hard = needed(settings), machine.open_files[1]  # the server raises the soft limit itself
    shown = "unlimited" if hard < 0 else f"{hard:,}"
    seen = f"at most {shown}; the settings need {wanted:,}"
    if 0 <= hard < wanted:
        cure = (
            f"LimitNOFILE={wanted} in the systemd unit, `ulimits: nofile` in compose.yaml, or `ulimit -n`; "
            "or lower mqtt.max_connections and http.max_connections"
        )
        return Finding("warning", "open files", f"{seen}: fewer connections are served", cure)
    return Finding("ok", "open files", seen)


def _memory(machine: Machine) -> Finding:
    limit = machine.memory_limit_bytes
    if limit is None:
        cure = "MemoryMax= in the systemd unit, or mem_limit in compose.yaml"
        return Finding("advice", "memory", "the server may take all of this machine's", cure)
    return Finding("ok", "memory", f"limited to {limit // _MIB:,} MiB")


def _receive_buffer(settings: Settings, machine: Machine) -> Finding:
    wanted, most = settings.udp.receive_buffer_bytes, machine.receive_buffer_max
    if most is not None and most < wanted:
        seen = (
            f"the kernel allows {most:,} of {wanted:,} bytes (udp.receive_buffer_bytes): a flood drowns more"
        )
        return Finding("advice", "UDP buffer", seen, f"sysctl -w net.core.rmem_max={wanted}")
    return Finding("ok", "UDP buffer", "unknown" if most is None else f"up to {most:,} bytes")


def _version(machine: Machine) -> Finding:
    if machine.installed is None:
        return Finding("ok", "version", __version__)
    seen = f"{__version__}, installed on {machine.installed:%Y-%m-%d}"
    if machine.now - machine.installed > OLD:
        return Finding(
            "advice", "version", seen, "look for a newer one: see CHANGELOG.md and docs/security.md"
        )
    return Finding("ok", "version", seen)
