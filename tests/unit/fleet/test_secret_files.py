"""Rotation of the server's secret on disk: nothing is lost, shown or kept for too long."""

import os
import stat
from pathlib import Path

import pytest

from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.secret_files import OLD_SECRET_FILE, SECRET_FILE

DAY_S = 86_400.0
NOW = 1_800_000_000.0


def test_the_old_secret_stays_for_its_time_and_is_deleted_then(tmp_path: Path) -> None:
    first = secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, 30 * DAY_S)
    second = secret_files.load(tmp_path, NOW + 29 * DAY_S)
    assert second.current != first.current
    assert (second.old, second.old_until) == (first.current, NOW + 30 * DAY_S)
    late = secret_files.load(tmp_path, NOW + 30 * DAY_S)
    assert (late.current, late.old) == (second.current, None)
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_both_files_are_for_their_owner_only(tmp_path: Path) -> None:
    secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, DAY_S)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {SECRET_FILE: 0o600, OLD_SECRET_FILE: 0o600}
    (tmp_path / OLD_SECRET_FILE).chmod(0o644)
    with pytest.raises(StartupError, match="chmod 600"):
        secret_files.load(tmp_path, NOW)


def test_a_rotation_at_once_leaves_no_old_secret(tmp_path: Path) -> None:
    secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, DAY_S)
    before = secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, 0)
    after = secret_files.load(tmp_path, NOW)
    assert after.old is None
    assert after.current not in (before.current, before.old)
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_only_the_last_of_two_rotations_has_an_overlap(tmp_path: Path) -> None:
    secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, DAY_S)
    second = secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, DAY_S)
    assert secret_files.load(tmp_path, NOW).old == second.current


def test_a_rotation_that_was_cut_off_loses_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = secret_files.load(tmp_path, NOW)
    replace = Path.replace

    def cut_off(draft: Path, target: Path) -> Path:
        if target.name == SECRET_FILE:
            raise OSError(28, "No space left on device")
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(StartupError, match="free some space"):
        secret_files.rotate(tmp_path, NOW, DAY_S)
    found = secret_files.load(tmp_path, NOW)
    assert (found.current, found.old) == (first.current, None)
    assert {path.name for path in tmp_path.iterdir()} == {SECRET_FILE, OLD_SECRET_FILE}


def test_a_rotation_at_once_that_was_cut_off_leaves_no_older_secret_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, DAY_S)
    replace = Path.replace

    def ends_after(draft: Path, target: Path) -> Path:
        replace(draft, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", ends_after)
    with pytest.raises(KeyboardInterrupt):
        secret_files.rotate(tmp_path, NOW, 0)
    assert secret_files.load(tmp_path, NOW).old is None


def test_the_files_stay_those_of_the_servers_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_files.load(tmp_path, NOW)
    given: list[int] = []
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    monkeypatch.setattr(os, "chown", lambda path, user, group: given.append(user))
    secret_files.rotate(tmp_path, NOW, DAY_S)
    owner = (tmp_path / SECRET_FILE).stat().st_uid
    assert given == [owner, owner]


def test_nothing_of_either_secret_is_shown(tmp_path: Path) -> None:
    secret_files.load(tmp_path, NOW)
    secret_files.rotate(tmp_path, NOW, 36_500 * DAY_S)
    credentials = Credentials.load(tmp_path)
    assert credentials.overlaps
    shown = f"{credentials!r} {secret_files.load(tmp_path, NOW)!r}"
    for name in (SECRET_FILE, OLD_SECRET_FILE):
        digits = (tmp_path / name).read_text().split()[0]
        assert digits not in shown
        assert repr(bytes.fromhex(digits)) not in shown
