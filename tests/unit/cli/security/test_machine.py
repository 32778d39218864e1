"""What is read of this machine, from real and from made-up files."""

import os
import resource
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mimi_mqtt.cli.security.machine import look, memory_limit
from mimi_mqtt.cli.server_process import running_pid
from tests.unit.cli.test_server_process import server


def test_this_machine_is_seen_without_a_server(tmp_path: Path) -> None:
    seen = look(tmp_path)
    assert seen.pid is None
    assert seen.uid == os.geteuid()
    assert seen.open_files == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert IPv4Address("127.0.0.1") in seen.addresses
    assert abs(seen.now - datetime.now(UTC)) < timedelta(minutes=10)


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


def test_the_process_of_a_running_server_is_known(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    with server(tmp_path) as pid:
        assert running_pid(tmp_path) == pid
    assert running_pid(tmp_path) is None
