import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import Invalid, NotFound
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys, ImportedKey, parse_keys
from mimi_mqtt.store import device_keys
from mimi_mqtt.store.tables import DeviceKey
from tests.unit.fleet.conftest import Fleet

KEY = "00" * 31 + "ff"


async def row(fleet: Fleet, serial: str = "SN-1") -> DeviceKey:
    async with fleet.store.read() as session:
        found = await device_keys.get(session, serial)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "content",
    [
        f"SN-1,{KEY}\n",
        f"serial_number,key\nSN-1,{KEY.upper()}\n",
        f"key;ignored,serial_number,key\nx,SN-1,{KEY}\n",
        f"# made on Monday\n\nSN-1, {KEY}\n",
        json.dumps([{"serial_number": "SN-1", "key": KEY}]),
        json.dumps({"SN-1": KEY}),
        "\ufeff" + json.dumps({"SN-1": KEY}),
    ],
)
def test_keys_are_read_from_csv_and_json(content: str) -> None:
    assert parse_keys(content.encode()) == [ImportedKey("SN-1", bytes.fromhex(KEY))]


def test_the_address_of_a_chip_is_read_too() -> None:
    (found,) = parse_keys(f"SN-1,{KEY},AA:BB:CC:00:11:22".encode())
    assert found.device_id == "aa-bb-cc-00-11-22"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no keys"),
        (f"SN-1,{KEY}\nSN-2,abc\n", "line 2: the key must be 64 hexadecimal digits"),
        (f"SN 1,{KEY}\n", "line 1: the serial number"),
        (f"SN-1,{KEY},nonsense\n", "line 1"),
        (f"SN-1,{KEY}\nSN-1,{KEY.replace('f', 'e')}\n", "twice"),
        ("[1]", "entry 1"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_its_keys(content: str, told: str) -> None:
    with pytest.raises(Invalid, match=told) as caught:
        parse_keys(content.encode())
    assert KEY not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(Invalid):
        parse_keys(content)


async def test_keys_are_sealed_each_with_its_serial_number(fleet: Fleet) -> None:
    keys = DeviceKeys(fleet.store, fleet.credentials)
    key = bytes.fromhex(KEY)
    await keys.register([ImportedKey("SN-1", key), ImportedKey("SN-2", b"2" * 32)], fleet.clock())
    stored = await row(fleet)
    assert key not in stored.sealed
    assert KEY not in repr(stored)
    assert keys.is_readable(stored)
    stored.serial_number = "SN-2"  # in the place of another
    assert not keys.is_readable(stored)


async def test_importing_again_changes_nothing(fleet: Fleet) -> None:
    keys = DeviceKeys(fleet.store, fleet.credentials)
    first = [ImportedKey("SN-1", b"1" * 32), ImportedKey("SN-2", b"2" * 32)]
    told = await keys.register(first, fleet.clock())
    assert (told.added, told.replaced, told.unchanged) == (2, 0, 0)
    told = await keys.register(
        [ImportedKey("SN-1", b"1" * 32), ImportedKey("SN-2", b"3" * 32)], fleet.clock()
    )
    assert (told.added, told.replaced, told.unchanged) == (0, 1, 1)


async def test_keys_outlive_a_rotation_of_the_secret(fleet: Fleet, tmp_path: Path) -> None:
    keys = DeviceKeys(fleet.store, fleet.credentials)
    await keys.register([ImportedKey("SN-1", b"1" * 32)], fleet.clock())
    secret_files.rotate(tmp_path, 0.0, 2**40)
    rotated = Credentials.load(tmp_path)
    during = DeviceKeys(fleet.store, rotated)
    assert during.is_readable(await row(fleet))
    assert await during.reseal() == 0
    secret_files.delete_old(tmp_path)
    after = DeviceKeys(fleet.store, Credentials.load(tmp_path))
    assert after.is_readable(await row(fleet))
    assert not keys.is_readable(await row(fleet))  # nor with the secret from before


async def test_keys_of_a_lost_secret_are_counted_and_can_be_imported_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    await DeviceKeys(fleet.store, fleet.credentials).register([ImportedKey("SN-1", b"1" * 32)], fleet.clock())
    other = DeviceKeys(fleet.store, Credentials(b"another secret of 32 bytes......"))
    assert await other.reseal() == 1
    assert not other.is_proof(await row(fleet), "challenge", b"x" * 32)
    told = await other.register([ImportedKey("SN-1", b"1" * 32)], fleet.clock())
    assert told.replaced == 1
    assert other.is_readable(await row(fleet))


async def test_a_key_that_is_not_there_can_not_be_removed(fleet: Fleet) -> None:
    keys = DeviceKeys(fleet.store, fleet.credentials)
    await keys.register([ImportedKey("SN-1", b"1" * 32)], fleet.clock())
    await keys.remove("SN-1")
    with pytest.raises(NotFound):
        await keys.remove("SN-1")
