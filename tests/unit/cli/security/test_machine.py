"""What is read of this machine, from real and from made-up files."""

import os
import resource
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from mimi_mqtt.cli.security.machine import look
from mimi_mqtt.cli.server_process import running_pid
from tests.unit.cli.test_server_process import server


def test_this_machine_is_seen_without_a_server(tmp_path: Path) -> None:
    seen = look(tmp_path)
    assert seen.pid is None
    assert seen.uid == os.geteuid()
    assert seen.open_files == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert IPv4Address("127.0.0.1") in seen.addresses
    assert abs(seen.now - datetime.now(UTC)) < timedelta(minutes=10)


def test_the_process_of_a_running_server_is_known(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    with server(tmp_path) as pid:
        assert running_pid(tmp_path) == pid
    assert running_pid(tmp_path) is None
