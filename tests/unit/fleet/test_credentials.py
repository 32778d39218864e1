import base64
import errno
import hashlib
import hmac
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.secret_files import SECRET_FILE

DEVICE = "aa-bb-cc-00-11-22"
SECRET = bytes(range(32))


def test_credentials_are_hmacs_of_secret_device_and_epoch() -> None:
    credentials = Credentials(SECRET)
    password = hmac.new(SECRET, f"mqtt|{DEVICE}|3".encode(), hashlib.sha256).digest()
    key = hmac.new(SECRET, f"udp|{DEVICE}|3".encode(), hashlib.sha256).digest()
    assert credentials.mqtt_password(DEVICE, 3) == base64.urlsafe_b64encode(password).decode().rstrip("=")
    assert credentials.udp_key(DEVICE, 3) == key[:16]


@given(st.binary(min_size=32, max_size=64), st.integers(min_value=0, max_value=2**31))
def test_passwords_fit_a_cellular_modems_command(secret: bytes, epoch: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", Credentials(secret).mqtt_password(DEVICE, epoch))


def test_another_device_epoch_or_secret_makes_other_credentials() -> None:
    made = {
        (credentials.mqtt_password(device, epoch), credentials.udp_key(device, epoch))
        for credentials in (Credentials(SECRET), Credentials(bytes(32)))
        for device in (DEVICE, "aa-bb-cc-00-11-23")
        for epoch in (1, 2)
    }
    assert len(made) == 8


def test_only_the_right_password_is_right() -> None:
    credentials = Credentials(SECRET)
    password = credentials.mqtt_password(DEVICE, 1).encode()
    assert credentials.check_password(password, DEVICE, 1)
    assert not credentials.check_password(password, DEVICE, 2)
    assert not credentials.check_password(password[:-1], DEVICE, 1)
    assert not credentials.check_password(b"", DEVICE, 1)
    assert not credentials.check_password("päßwörd".encode(), DEVICE, 1)


def test_no_device_has_no_password_not_even_the_one_it_is_compared_with() -> None:
    credentials = Credentials(SECRET)
    password = credentials.mqtt_password("00-00-00-00-00-00", 0).encode()
    assert not credentials.check_password(password, None, 0)


def test_the_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    first = Credentials.load(folder)
    again = Credentials.load(folder)
    assert first.mqtt_password(DEVICE, 1) == again.mqtt_password(DEVICE, 1)
    assert (folder / SECRET_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [SECRET_FILE]


def test_servers_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(lambda _: Credentials.load(tmp_path), range(16)))
    assert len({credentials.mqtt_password(DEVICE, 1) for credentials in loaded}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_a_file_system_without_links_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first = Credentials.load(tmp_path)
    assert first.mqtt_password(DEVICE, 1) == Credentials.load(tmp_path).mqtt_password(DEVICE, 1)
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    Credentials.load(tmp_path)
    (tmp_path / SECRET_FILE).chmod(mode)
    with pytest.raises(StartupError, match="chmod 600"):
        Credentials.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"00ff", b"z" * 64, b"\xff" * 64, b"00" * 31])
def test_a_short_or_damaged_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / SECRET_FILE
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(StartupError, match="is damaged"):
        Credentials.load(tmp_path)


def test_a_folder_that_can_not_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"server\.data_dir"):
        Credentials.load(tmp_path / "file" / "data")


def test_a_full_disk_is_told_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StartupError, match="free some space"):
        Credentials.load(tmp_path)


def test_nothing_of_the_secret_is_shown(tmp_path: Path) -> None:
    credentials = Credentials.load(tmp_path)
    secret = (tmp_path / SECRET_FILE).read_text().strip()
    shown = f"{credentials!r} {credentials}"
    assert secret not in shown
    assert repr(bytes.fromhex(secret)) not in shown


def test_the_command_lines_password_is_good_for_a_minute_and_with_the_same_secret() -> None:
    credentials = Credentials(SECRET)
    password = credentials.command_line_password(1_800_000_000.7).encode()
    for now in (1_800_000_000, 1_800_000_060, 1_799_999_940):
        assert credentials.check_command_line_password(password, now)
    for now in (1_800_000_061, 1_799_999_939, 0):
        assert not credentials.check_command_line_password(password, now)
    assert not Credentials(bytes(32)).check_command_line_password(password, 1_800_000_000)


@pytest.mark.parametrize(
    "password",
    [b"", b".", b"1800000000", b"1800000000.", b"9" * 5000, b"\xb2.x", b"-1.x", b"1800000000.\xff"],
)
def test_what_is_no_password_of_the_command_line_is_wrong(password: bytes) -> None:
    assert not Credentials(SECRET).check_command_line_password(password, 1_800_000_000)
