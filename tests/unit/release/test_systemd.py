"""The systemd unit under examples/systemd: valid, closed, and bounded."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mimi_mqtt.config import Settings

UNIT = Path(__file__).parents[3] / "examples" / "systemd" / "mimi-mqtt.service"


@pytest.fixture
def service() -> dict[str, str]:
    """The keys of [Service]; of a repeated key all values, a line each."""
    section = UNIT.read_text(encoding="utf-8").partition("[Service]\n")[2].partition("\n[")[0]
    found: dict[str, str] = {}
    for key, value in re.findall(r"(?m)^(\w+)=(.*)$", section):
        found[key] = f"{found[key]}\n{value}" if key in found else value
    return found


def test_descriptors_suffice_for_the_connections_of_the_settings(service: dict[str, str]) -> None:
    settings = Settings()
    needed = settings.mqtt.max_connections + settings.http.max_connections + 256
    assert int(service["LimitNOFILE"]) > needed


def test_the_service_may_not_take_the_machines_memory_or_processes(service: dict[str, str]) -> None:
    assert re.fullmatch(r"[1-4]G", service["MemoryMax"])
    assert service["MemorySwapMax"] == "0"
    assert 64 <= int(service["TasksMax"]) <= 1024


def test_the_service_writes_to_its_own_folder_only(service: dict[str, str]) -> None:
    assert service["ProtectSystem"] == "strict"
    assert service["ProtectHome"] == "yes"
    assert service["DynamicUser"] == "yes"
    folder = f"/var/lib/{service['StateDirectory']}"
    assert service["WorkingDirectory"] == folder
    assert f"MIMI_SERVER__DATA_DIR={folder}" in service["Environment"].splitlines()
    assert "ReadWritePaths" not in service


def test_the_service_has_no_rights_beside_the_network(service: dict[str, str]) -> None:
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert service["RestrictAddressFamilies"] == "AF_INET AF_INET6 AF_UNIX"
    assert service["SystemCallFilter"].splitlines() == ["@system-service", "~@privileged"]


def test_a_reload_reaches_the_server(service: dict[str, str]) -> None:
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_it_is_an_ini_file_without_repeated_sections() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT, encoding="utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true",
    reason="systemd is not installed",
)
def test_systemd_takes_it_and_finds_it_hardly_exposed(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8"))
    installed = tmp_path / UNIT.name
    installed.write_text(text, encoding="utf-8")
    verify = subprocess.run(
        ["systemd-analyze", "verify", installed], capture_output=True, text=True, timeout=60
    )
    assert (verify.returncode, verify.stderr) == (0, "")
    # Fails above an exposure of 2.0 in 10.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(installed)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0, judged.stdout
