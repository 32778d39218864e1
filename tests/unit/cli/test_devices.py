import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.fleet.activation import CODE_LIFETIME, Asker, ask
from mimi_mqtt.fleet.fallback import fall_back
from mimi_mqtt.store import devices, ota_log
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, OtaReport, User
from tests.databases import new_database

NOW = datetime.now(UTC)
"""When the test began."""
KNOWN = "aa-bb-cc-00-11-22"
NEW = "aa-bb-cc-00-11-33"


@pytest.fixture(autouse=True)
def _begin(monkeypatch: pytest.MonkeyPatch) -> None:
    # Codes end a while after NOW, and this module is read long before its last test runs.
    monkeypatch.setitem(globals(), "NOW", datetime.now(UTC))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one device and one that waits to be allowed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    (tmp_path / "broker.yaml").write_text(f"server: {{data_dir: {tmp_path / 'data'}}}\n")
    new_database(tmp_path / "data")
    asyncio.run(_fill(_url(tmp_path)))
    return tmp_path


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'data' / 'mimi.db'}"


async def _fill(url: str) -> None:
    store = Store(url)
    await store.open()
    async with store.write() as session:
        device = Device(
            id=KNOWN,
            client_id="one",
            board="bread",
            revision=0,
            created_at=NOW,
            updated_at=NOW,
            last_seen_at=NOW,
        )
        await devices.save_changed(session, device, NOW)
        await ask(session, Asker(NEW, "two", board="box\x1b[2J", address="192.0.2.7"), NOW)
        await ask(session, Asker("aa-bb-cc-00-11-44", "three"), NOW - CODE_LIFETIME - timedelta(minutes=1))
    await store.aclose()


async def _age(url: str, by: timedelta) -> None:
    store = Store(url)
    await store.open()
    async with store.write() as session:
        await devices.touch(session, {KNOWN: NOW - by})
    await store.aclose()


def _device(folder: Path, device_id: str) -> Device:
    async def read() -> Device:
        store = Store(_url(folder))
        await store.open()
        async with store.read() as session:
            found = await devices.get(session, device_id)
        await store.aclose()
        assert found is not None
        return found

    return asyncio.run(read())


def _listed(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, object]]]:
    capsys.readouterr()
    assert main(["devices", "list", "--json"]) == 0
    listed: dict[str, list[dict[str, object]]] = json.loads(capsys.readouterr().out)
    return listed


def test_the_list_shows_devices_and_who_waits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = _listed(capsys)
    assert [(device["id"], device["allowed"]) for device in listed["devices"]] == [(KNOWN, True)]
    (waiting,) = listed["waiting"]
    assert (waiting["id"], waiting["address"]) == (NEW, "192.0.2.7")
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert main(["devices", "list"]) == 0
    assert out == capsys.readouterr().out
    assert KNOWN in out
    assert f"from 192.0.2.7  allow it with: mimi-mqtt devices allow {waiting['code']}" in out


def test_the_list_tells_who_was_given_a_websocket_by_the_server(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fallen_back() -> None:
        store = Store(_url(folder))
        await store.open()
        await fall_back(store, KNOWN, NOW)
        async with store.write() as session:
            session.add(OtaReport(device_id=KNOWN, received_at=NOW + timedelta(minutes=5), report={}))
        await store.aclose()

    assert _listed(capsys)["devices"][0]["fallback_since"] is None
    asyncio.run(fallen_back())
    (device,) = _listed(capsys)["devices"]
    assert (device["transport"], device["fallback_since"]) == ("websocket", NOW.isoformat())
    assert device["not_connected_since"] == (NOW + timedelta(minutes=5)).isoformat()
    assert main(["devices"]) == 0
    told = capsys.readouterr().out
    assert "websocket (fallback since " in told
    assert "not connected since its boot at " in told
    assert main(["devices", "set", KNOWN, "--transport", "websocket"]) == 0
    assert _listed(capsys)["devices"][0]["fallback_since"] is None


def test_what_devices_say_does_not_control_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", "list"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_waiting_device_is_allowed_by_its_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = str(_listed(capsys)["waiting"][0]["code"])
    assert main(["devices", "allow", code]) == 0
    assert _device(folder, NEW).client_id == "two"
    assert _listed(capsys)["waiting"] == []


def test_a_device_is_revoked_and_allowed_again(folder: Path) -> None:
    assert main(["devices", "revoke", "AA:BB:CC:00:11:22"]) == 0
    revoked = _device(folder, KNOWN)
    assert (revoked.allowed, revoked.epoch) == (False, 2)
    assert main(["devices", "allow", KNOWN]) == 0
    allowed = _device(folder, KNOWN)
    assert (allowed.allowed, allowed.epoch) == (True, 2)


def test_a_device_is_forgotten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "forget", "AA:BB:CC:00:11:22"]) == 0
    assert f"{KNOWN} is forgotten" in capsys.readouterr().out
    assert _listed(capsys)["devices"] == []
    assert main(["devices", "forget", KNOWN]) == 1
    assert main(["devices", "forget", NEW]) == 0
    assert _listed(capsys)["waiting"] == []


def test_devices_unseen_for_so_long_are_forgotten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "forget", "--unseen-days", "1"]) == 0
    assert "every device was seen" in capsys.readouterr().err
    asyncio.run(_age(_url(folder), timedelta(days=31)))
    assert main(["devices", "forget", "--unseen-days", "30"]) == 0
    assert f"{KNOWN} is forgotten" in capsys.readouterr().out
    assert _listed(capsys)["devices"] == []


def test_settings_are_changed_and_taken_back(folder: Path) -> None:
    assert (
        main(["devices", "set", KNOWN, "--transport", "websocket", "--name", "Kitchen", "--language", "de"])
        == 0
    )
    device = _device(folder, KNOWN)
    assert (device.transport, device.name, device.language) == ("websocket", "Kitchen", "de")
    assert main(["devices", "set", KNOWN, "--transport", "default", "--name", ""]) == 0
    device = _device(folder, KNOWN)
    assert (device.transport, device.name, device.language) == (None, "", "de")


def test_an_agent_and_a_user_are_given_and_taken_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "broker.yaml").open("a") as file:
        file.write("agents: {chef: {name: Chef}}\n")
    assert main(["devices", "set", KNOWN, "--agent", "chef", "--user", "Anna"]) == 0
    assert "next session" in capsys.readouterr().out
    (device,) = _listed(capsys)["devices"]
    assert (device["agent"], device["user"]) == ("chef", "Anna")
    assert main(["devices", "list"]) == 0
    assert "agent chef  of Anna" in capsys.readouterr().out
    assert main(["devices", "set", KNOWN, "--agent", "default", "--user", ""]) == 0
    assert (_device(folder, KNOWN).agent, _device(folder, KNOWN).user_name) == ("", "")
    (device,) = _listed(capsys)["devices"]
    assert (device["agent"], device["user"]) == ("default", "")


def test_an_unknown_agent_is_told_with_those_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "broker.yaml").open("a") as file:
        file.write("agents: {chef: {name: Chef}}\n")
    assert main(["devices", "set", KNOWN, "--agent", "cook"]) == 1
    assert "there are: default, chef" in capsys.readouterr().err
    assert _device(folder, KNOWN).agent == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["allow", "000000x"], "nor a code of six digits"),
        (["allow", "aa-bb-cc-99-99-99"], "never asked"),
        (["revoke", NEW], "there is no device"),
        (["set", KNOWN], "nothing to set"),
        (["forget", "aa-bb-cc-99-99-99"], "there is no device"),
        (["set", NEW, "--name", "x"], "there is no device"),
    ],
)
def test_mistakes_are_explained_with_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["devices", *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["forget"],
        ["forget", KNOWN, "--unseen-days", "3"],
        ["forget", "--unseen-days", "0"],
        ["forget", "--unseen-days", "soon"],
        ["set", KNOWN, "--transport", "pigeon"],
        ["set", KNOWN, "--language", "no such thing"],
        ["allow"],
    ],
)
def test_wrong_arguments_exit_with_code_2(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["devices", *arguments])
    assert caught.value.code == 2


def test_a_wrong_configuration_exits_with_code_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broker.yaml").write_text("nonsense: 1\n")
    assert main(["devices", "list"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_another_configuration_file_is_used_when_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other.yaml").write_text(f"server: {{data_dir: {folder / 'nowhere'}}}\n")
    assert main(["devices", "list", "--config", str(folder / "other.yaml")]) == 1
    assert "there is no database" in capsys.readouterr().err
    assert not (folder / "nowhere").exists()


# ── owners, keys, the list ───────────────────────────────────────────────────────────────────────────────


def _user(folder: Path, name: str) -> None:
    async def add() -> None:
        store = Store(_url(folder))
        await store.open()
        async with store.write() as session:
            session.add(
                User(
                    id=f"u-{name}", name=name, folded_name=name, role="member", created_at=NOW, updated_at=NOW
                )
            )
        await store.aclose()

    asyncio.run(add())


def _ids(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    assert main(["devices", "list", "--json", *arguments]) == 0
    return [device["id"] for device in json.loads(capsys.readouterr().out)["devices"]]


def test_a_device_is_claimed_for_a_user_by_its_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _user(folder, "bob")
    assert main(["devices", "list", "--json"]) == 0
    (waiting,) = json.loads(capsys.readouterr().out)["waiting"]
    assert main(["devices", "claim", waiting["code"], "Bob"]) == 0
    assert "belongs to Bob" in capsys.readouterr().out
    assert _ids(folder, capsys, "--owner", "bob") == [NEW]
    assert _ids(folder, capsys, "--owner", "nobody") == [KNOWN]
    assert main(["devices", "claim", waiting["code"], "bob"]) == 1
    assert "no device shows the code" in capsys.readouterr().err


def test_a_device_is_assigned_and_given_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _user(folder, "bob")
    assert main(["devices", "assign", KNOWN, "bob"]) == 0
    assert _ids(folder, capsys, "--owner", "bob") == [KNOWN]
    assert main(["devices", "set", KNOWN, "--owner", "nobody"]) == 0
    assert _ids(folder, capsys, "--owner", "bob") == []
    assert main(["devices", "assign", KNOWN, "carol"]) == 1
    assert "there is no user 'carol'" in capsys.readouterr().err


def test_devices_are_filtered_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--name", "Lamp", "--room", "Hall", "--tag", "loud", "--tag", "old", "--notes", "dusty"]
    assert main(["devices", "set", KNOWN, *settings, "--auto-update", "off"]) == 0
    assert main(["devices", "set", KNOWN, "--channel", "beta", "--recordings", "on"]) == 0
    for found in (["--room", "Hall"], ["--tag", "old"], ["--search", "lam hall"], ["--state", "active"]):
        assert _ids(folder, capsys, *found) == [KNOWN]
    for missed in (["--room", "Attic"], ["--tag", "ol"], ["--search", "attic"], ["--state", "disabled"]):
        assert _ids(folder, capsys, *missed) == []
    assert main(["devices", "show", KNOWN, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tags"], told["notes"], told["auto_update"]) == (["loud", "old"], "dusty", False)
    assert (told["channel"], told["recordings"]) == ("beta", "on")
    assert main(["devices", "set", KNOWN, "--channel", "stable", "--recordings", "default"]) == 0
    capsys.readouterr()
    assert main(["devices", "show", KNOWN, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["channel"], told["recordings"]) == ("stable", "default")
    assert main(["devices", "show", KNOWN]) == 0
    assert "dusty" in capsys.readouterr().out
    assert main(["devices", "show", "aa-bb-cc-00-11-99"]) == 1


def test_keys_are_imported_listed_and_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret_files.load(folder / "data", 0)
    file = folder / "keys.csv"
    file.write_text(f"serial_number,key\nSN-1,{'ab' * 32}\n")
    assert main(["devices", "import-keys", str(file)]) == 0
    assert "1 keys were added" in capsys.readouterr().out
    assert main(["devices", "keys"]) == 0
    told = capsys.readouterr().out
    assert "SN-1" in told
    assert "abab" not in told
    assert main(["devices", "remove-key", "SN-1"]) == 0
    assert main(["devices", "remove-key", "SN-1"]) == 1
    file.write_text(f"SN-1,{'ab' * 31}\n")
    assert main(["devices", "import-keys", str(file)]) == 1
    assert "line 1: the key must be 64 hexadecimal digits" in capsys.readouterr().err
    assert main(["devices", "import-keys", str(folder / "none.csv")]) == 1


def test_devices_are_put_on_the_list_and_taken_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _user(folder, "bob")
    assert (
        main(["devices", "allow-list", "add", "AA:BB:CC:00:33:01", "--owner", "bob", "--note", "hall"]) == 0
    )
    assert main(["devices", "allow-list", "add", "aa-bb-cc-00-33-01"]) == 1
    assert "is listed already" in capsys.readouterr().err
    assert main(["devices", "allow-list"]) == 0
    assert "mac  aa-bb-cc-00-33-01  for bob  hall" in capsys.readouterr().out
    assert main(["devices", "allow-list", "remove", "aabbcc003301"]) == 0
    assert main(["devices", "allow-list"]) == 0
    assert "no device is listed" in capsys.readouterr().err


def test_the_log_tells_what_was_asked_and_answered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def ask_once() -> None:
        store = Store(_url(folder))
        await store.open()
        row = {
            "device_id": KNOWN, "at": NOW, "address": "192.0.2.7", "board": "bread-compact-wifi",
            "firmware_version": "2.2.1", "answer": "mqtt", "firmware": "no image for this board",
            "offered_version": "",
        }  # fmt: skip
        async with store.write() as session:
            await ota_log.add(session, [row])
        await store.aclose()

    asyncio.run(ask_once())
    assert main(["devices", "log", KNOWN]) == 0
    told = capsys.readouterr().out
    assert "board bread-compact-wifi, 2.2.1; got its credentials for MQTT; no firmware: no image" in told
