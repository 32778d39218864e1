"""Memory that a process may still take: what the machine has left, and what its control groups allow.

Reads both versions of control groups (Linux, Documentation/admin-guide: cgroup-v1/memory.rst, cgroup-v2.rst).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")
_UNLIMITED: Final = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: `total`, of which `available` can be had without swapping or being killed."""

    total: int
    available: int


def available_memory(root: Path = _CGROUPS, proc: Path = _PROC) -> Memory:
    """The memory for this process: the machine's, or that of the control group which leaves the least."""
    machine = psutil.virtual_memory()
    least = Memory(machine.total, machine.available)
    for group in _limited_groups(os.getpid(), root, proc):
        used = _number(group.folder / group.used_file) or 0
        # Pages of files that nobody needs now are counted as used, and given up when memory is asked for.
        reclaimable = _statistic(group.folder / "memory.stat", group.reclaimable)
        available = max(0, group.limit - used + min(reclaimable, used))
        if available < least.available:
            least = Memory(min(group.limit, machine.total), available)
    return least


def memory_limit(pid: int, root: Path = _CGROUPS, proc: Path = _PROC) -> int | None:
    """The smallest memory limit of the process's control groups, in bytes; None when there is none."""
    return min((group.limit for group in _limited_groups(pid, root, proc)), default=None)


@dataclass(frozen=True, slots=True)
class _Group:
    folder: Path
    limit: int
    used_file: str
    reclaimable: str
    """The line of memory.stat with the bytes of file pages that are not in use."""


def _limited_groups(pid: int, root: Path, proc: Path) -> Iterator[_Group]:
    """The control groups of `pid` that have a memory limit, each with those it is in."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        first = bool(controllers)  # version 1 has a hierarchy for each controller
        name = "memory.limit_in_bytes" if first else "memory.max"
        folder = root / "memory" if first else root
        inner = folder / group.strip("/")
        for each in (inner, *inner.parents):
            if each != folder and folder not in each.parents:
                break
            limit = _number(each / name)
            if limit is not None and limit < _UNLIMITED:
                used = "memory.usage_in_bytes" if first else "memory.current"
                yield _Group(each, limit, used, "total_inactive_file" if first else "inactive_file")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" where there is no limit
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
    except (OSError, ValueError, IndexError):
        return 0
