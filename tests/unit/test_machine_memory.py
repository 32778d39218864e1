"""The memory that this process may take, from real and from made-up files."""

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from mimi_mqtt.machine_memory import Memory, available_memory, memory_limit


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/system.slice/mimi.service\n", {"system.slice/mimi.service/memory.max": "1048576\n"}, 1_048_576),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2048\n"}, 2_048),
        ("0::/a/b\n", {"a/b/memory.max": "4096\n", "a/memory.max": "2048\n"}, 2_048),
        ("0::/\n", {"memory.max": "512\n"}, 512),
        ("0::/\n", {}, None),
        ("5:memory:/docker/x\n", {"memory/docker/x/memory.limit_in_bytes": "777\n"}, 777),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("4:cpu,cpuacct:/x\n", {"x/memory.max": "1\n"}, None),
    ],
)
def test_the_memory_limit_of_control_groups(
    tmp_path: Path, lines: str, files: dict[str, str], expected: int | None
) -> None:
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "7").mkdir(parents=True)
    (proc / "7" / "cgroup").write_text(lines)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert memory_limit(7, root, proc) == expected


def test_a_process_that_is_gone_has_no_limit(tmp_path: Path) -> None:
    assert memory_limit(7, tmp_path, tmp_path) is None


GIB = 1024**3


def available(folder: Path, lines: str, files: Mapping[str, object]) -> Memory:
    """The memory for this process, in the control groups of `lines` with these `files`."""
    proc, root = folder / "proc", folder / "cgroup"
    (proc / str(os.getpid())).mkdir(parents=True)
    (proc / str(os.getpid()) / "cgroup").write_text(lines)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return available_memory(root, proc)


@pytest.fixture
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 GiB, 4 GiB of which are available."""

    class Seen:
        total, available = 8 * GIB, 4 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Seen)


@pytest.mark.usefixtures("_machine")
@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {}, Memory(8 * GIB, 4 * GIB)),
        ("0::/a\n", {"a/memory.max": 2 * GIB, "a/memory.current": GIB}, Memory(2 * GIB, GIB)),
        (
            "0::/a\n",
            {
                "a/memory.max": 2 * GIB,
                "a/memory.current": 2 * GIB,
                "a/memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7",
            },
            Memory(2 * GIB, GIB // 2),
        ),
        (
            "0::/a/b\n",
            {"a/b/memory.max": 3 * GIB, "a/memory.max": GIB, "a/memory.current": GIB // 4},
            Memory(GIB, 3 * GIB // 4),
        ),
        ("0::/a\n", {"a/memory.max": 16 * GIB, "a/memory.current": GIB}, Memory(8 * GIB, 4 * GIB)),
        ("0::/a\n", {"a/memory.max": GIB, "a/memory.current": 2 * GIB}, Memory(GIB, 0)),
        ("0::/a\n", {"a/memory.max": GIB, "a/memory.stat": "inactive_file much"}, Memory(GIB, GIB)),
        (
            "5:memory:/x\n",
            {
                "memory/x/memory.limit_in_bytes": GIB,
                "memory/x/memory.usage_in_bytes": GIB,
                "memory/x/memory.stat": "inactive_file 1\ntotal_inactive_file 300",
            },
            Memory(GIB, 300),
        ),
    ],
)
def test_the_group_that_leaves_the_least_counts(
    tmp_path: Path, lines: str, files: dict[str, object], expected: Memory
) -> None:
    assert available(tmp_path, lines, files) == expected


def test_this_machine_has_memory() -> None:
    memory = available_memory()
    assert 0 < memory.available < memory.total
