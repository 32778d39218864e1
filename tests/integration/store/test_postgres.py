import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from mimi_mqtt.config import AccountSettings, OtaSettings
from mimi_mqtt.fleet import administration, device_settings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.memory.recent import RecentTurns
from mimi_mqtt.store import conversations, devices, migrations, pruning
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.pruning import Pruner
from mimi_mqtt.store.reminders import ReminderRecord, ReminderTable
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.wire.ota import OtaRequest
from tests.databases import is_declared
from tests.unit.store.test_engine import device

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
DEVICE = "aa-bb-cc-00-11-22"


def asking(client_id: str, number: int = 0x22) -> OtaRequest:
    return OtaRequest(
        device_id=f"aa-bb-cc-00-11-{number:02x}",
        client_id=client_id,
        report={"text": "\0 ü", "list": [1.5, None]},
    )


async def test_two_nodes_share_one_fleet_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(
            compare_metadata(
                MigrationContext.configure(connection, opts={"include_name": is_declared}), SQLModel.metadata
            )
        )

    credentials = Credentials.load(tmp_path)
    nodes = [Store(postgres_url), Store(postgres_url)]
    await asyncio.gather(*(node.open() for node in nodes))
    async with nodes[0].read() as session:
        assert await (await session.connection()).run_sync(differences) == []
    directories = [
        DeviceDirectory(node, credentials, Accounts(AccountSettings()), refresh_s=3600) for node in nodes
    ]
    provisioners = []
    for node, directory in zip(nodes, directories, strict=True):
        await directory.start()
        endpoints = Endpoints(mqtt_port=1883, udp_port=8884)
        provisioners.append(Provisioner(node, directory, credentials, endpoints, OtaSettings()))

    # The same new device at both nodes at once: one Client-Id wins, the other one waits.
    answers = await asyncio.gather(
        *(provisioners[number % 2].provision(asking(f"uuid-{number}"), "10.0.0.1") for number in range(4))
    )
    assert sum(answer.mqtt is not None for answer in answers) == 1
    # Many devices at both: every node learns of all of them.
    await asyncio.gather(
        *(
            provisioners[number % 2].provision(asking("uuid", number), "10.0.0.1", address="10.0.0.7")
            for number in range(0x30, 0x60)
        )
    )
    for directory in directories:
        await directory.refresh()
        assert len(directory) == 49

    wanted = device_settings.DeviceChange(agent="chef", user_name="Anna")
    await device_settings.change(nodes[0], "aa-bb-cc-00-11-30", wanted, NOW)
    await directories[1].refresh()
    known = directories[1].get("aa-bb-cc-00-11-30")
    assert known is not None
    assert (known.agent, known.user_name) == ("chef", "Anna")

    # The board of a device that boots at one node is known at the other.
    modem = asking("uuid", 0x31).model_copy(update={"board": "ml307", "cellular": True})
    assert (await provisioners[0].provision(modem, "10.0.0.1")).mqtt is not None
    await directories[0].aclose()
    await directories[0].start()
    await directories[1].refresh()
    known = directories[1].get("aa-bb-cc-00-11-31")
    assert known is not None
    assert (known.board, known.cellular) == ("ml307", True)

    revoked: list[str] = []
    directories[1].on_revoked = revoked.append
    await administration.revoke(nodes[0], DEVICE, NOW)
    await directories[1].refresh()
    assert revoked == [DEVICE]
    for directory in directories:
        await directory.aclose()
    async with nodes[1].read() as session:
        report = await devices.last_report(session, "aa-bb-cc-00-11-30")
    assert report is not None
    assert report.report == {"text": " ü", "list": [1.5, None]}

    log = ConversationLog(nodes[0])
    for number in range(3):
        log.add_turn(
            TurnRecord(
                "s1", DEVICE, number, NOW, "auto", "he\0ard", "reply", "spoken", {"stop": 1.0}, ("tool",)
            )
        )
    log.add_turn(TurnRecord("old", DEVICE, 1, NOW - timedelta(days=900), "auto", "", "", "spoken", {}))
    await log.start()
    await log.aclose()
    async with nodes[1].read() as session:
        turns = await conversations.turns(session, "s1")
        assert [(turn.heard, turn.timings_ms, turn.started_at) for turn in turns] == [
            ("heard", {"stop": 1.0}, NOW)
        ] * 3
    async with nodes[1].write() as session:
        await pruning.forget_oldest(session, 100, NOW - timedelta(days=90))
    async with nodes[0].read() as session:
        assert [found.id for found in await conversations.latest(session, DEVICE)] == ["s1"]
    assert log.dropped == 0
    async with nodes[1].write() as session:
        answered = TurnRecord("s0", DEVICE, 1, NOW, "auto", "is it late", "No.", "answered", {})
        await conversations.save_turns(session, [answered])
        await devices.know_secret(session, [DEVICE], "0123456789abcdef")
    async with nodes[0].read() as session:
        row = await devices.get(session, DEVICE)
        assert row is not None
        assert row.secret_id == "0123456789abcdef"
        assert await devices.never_connected(session, NOW - timedelta(days=900)) is None
        idle = await devices.never_connected(session, NOW + timedelta(days=900))
        assert idle is not None
        assert idle.address == "10.0.0.7"
    told = await RecentTurns(nodes[0], timezone="UTC").recall(DEVICE, "s1")
    assert told == "Saturday, 01 August 2026, 12:00:\nUser: is it late\nYou: No."
    for node in nodes:
        await node.aclose()


async def test_a_database_of_an_older_version_is_migrated_on_postgresql(postgres_url: str) -> None:
    def back(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")

    store = Store(postgres_url)
    await store.open()
    async with store.write() as session:
        await (await session.connection()).run_sync(back)
        for number, report in (
            (1, {"board": {"imei": "868123456789012"}}),
            (2, {"board": {"ssid": "home"}}),
        ):
            device_id = f"aa-bb-cc-00-11-0{number}"
            await session.execute(
                text(
                    "INSERT INTO devices VALUES (:id, 'one', 1, TRUE, NULL, '', '', '', '', '', '', 1, "
                    "now(), now(), now(), '', '')"
                ),
                {"id": device_id},
            )
            await session.execute(
                text("INSERT INTO ota_reports VALUES (:id, now(), CAST(:report AS JSON))"),
                {"id": device_id, "report": json.dumps(report)},
            )
    await store.aclose()
    await store.open()
    async with store.read() as session:
        found = await devices.list_all(session)
        kept = [await devices.last_report(session, device.id) is not None for device in found]
    await store.aclose()
    assert [device.cellular for device in found] == [True, False]
    assert kept == [False, True]


async def test_tables_of_others_in_the_same_database_cost_no_conversations(postgres_url: str) -> None:
    store = Store(postgres_url)
    await store.open()
    async with store.write() as session:
        await session.execute(text("CREATE TABLE others AS SELECT generate_series(1, 400000) AS number"))
        await conversations.save_turns(
            session, [TurnRecord("s1", DEVICE, 1, NOW, "auto", "heard", "reply", "spoken", {})]
        )
    pruner = Pruner(store, keep_days=36_500, max_bytes=10_000_000)
    await pruner._prune_when_due()
    async with store.read() as session:
        kept = [found.id for found in await conversations.latest(session, DEVICE)]
        size = (await session.execute(text("SELECT pg_database_size(current_database())"))).scalar_one()
    await store.aclose()
    assert kept == ["s1"]
    assert size > 20_000_000


async def lock_awaited(store: Store) -> None:
    """Returns when a transaction on the database waits for another one."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(30):
        while True:
            async with store.read() as session:
                if (await session.execute(waiting)).scalar_one():
                    return


async def test_a_device_whose_deletion_takes_long_is_admitted_nowhere(
    postgres_url: str, tmp_path: Path
) -> None:
    """Other nodes read what has changed of late, by its revision."""
    stores = [Store(postgres_url), Store(postgres_url)]
    for store in stores:
        await store.open()
    async with stores[0].write() as session:
        await devices.save_changed(session, device(DEVICE), NOW)
        await conversations.save_turns(session, [TurnRecord("s1", DEVICE, 1, NOW, "auto", "", "", "", {})])
    credentials = Credentials.load(tmp_path)
    directory = DeviceDirectory(stores[1], credentials, Accounts(AccountSettings()), refresh_s=3600)
    await directory.start()
    async with asyncio.TaskGroup() as group:
        async with stores[1].write() as session:  # its conversations go before, in transactions of their own
            await session.execute(text("LOCK TABLE reminders IN EXCLUSIVE MODE"))
            forgetting = group.create_task(administration.forget(stores[0], DEVICE, NOW))
            await lock_awaited(stores[1])
            for number in range(2 * stores[0].revision_overlap):
                async with stores[1].write() as other:
                    await devices.save_changed(other, device(f"aa-bb-cc-00-22-{number:02x}"), NOW)
            await directory.refresh()
            assert directory.get(DEVICE) is not None
        await forgetting
    await directory.refresh()
    assert directory.get(DEVICE) is None
    await directory.aclose()
    for store in stores:
        await store.aclose()


async def test_turns_are_kept_while_their_conversations_are_deleted(postgres_url: str) -> None:
    stores = [Store(postgres_url), Store(postgres_url)]
    for store in stores:
        await store.open()
    said = [TurnRecord(name, DEVICE, 1, NOW, "auto", "", "", "spoken", {}) for name in ("mine", "yours")]
    async with stores[0].write() as session:
        await conversations.save_turns(session, said)
    log = ConversationLog(stores[0], keep_days=36_500)
    for turn in said:
        log.add_turn(replace(turn, number=2))
    async with stores[1].write() as session:
        await session.execute(text("DELETE FROM conversations WHERE id = 'mine'"))
        await log.start()
        await lock_awaited(stores[1])
    await log.aclose()
    assert log.dropped == 0
    async with stores[1].read() as session:
        numbers = [
            [turn.number for turn in await conversations.turns(session, name)] for name in ("mine", "yours")
        ]
    assert numbers == [[2], [1, 2]]
    for store in stores:
        await store.aclose()


async def test_postgresql_is_bounded_in_size_too(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(postgres_url)
    await store.open()
    words = "".join(f"{number:x}" for number in range(1_000))  # what hardly compresses
    for start in range(0, 2_000, 100):
        async with store.write() as session:
            await conversations.save_turns(
                session,
                [
                    TurnRecord(
                        f"s{index:04}", DEVICE, number, NOW + timedelta(seconds=index), "auto", words, "",
                        "spoken", {},
                    )
                    for index in range(start, start + 100)
                    for number in (1, 2, 3)
                ],
            )  # fmt: skip
    async with store.read() as session:
        size = await pruning._disk_bytes(session)
        turns = await pruning._turn_bytes(session)
        pages = (await session.execute(text("SELECT pg_relation_size('turns')"))).scalar_one()
        with monkeypatch.context() as small:
            small.setattr(pruning, "POSTGRES_SAMPLE_BYTES", pages // 4)
            estimate = await pruning._turn_bytes(session)
    assert 2_000_000 < turns < size
    assert estimate != turns
    assert 0.5 < estimate / turns < 1.5
    pruner = Pruner(store, keep_days=36_500, max_bytes=size - turns // 2)
    await pruner._prune_when_due()
    async with store.read() as session:
        kept = sorted(found.id for found in await conversations.latest(session, DEVICE, 10_000))
    assert 0 < len(kept) < 1_990
    assert kept == [f"s{index:04}" for index in range(2_000 - len(kept), 2_000)]
    pruner._size_at = float("-inf")  # the tables are as large as before on disk: nothing more has to go
    await pruner._prune_when_due()
    async with store.read() as session:
        assert len(await conversations.latest(session, DEVICE, 10_000)) == len(kept)
        assert (await session.execute(text("SHOW lock_timeout"))).scalar_one() == "0"
    async with store.write(within_s=2) as session:
        assert (await session.execute(text("SHOW lock_timeout"))).scalar_one() == "2s"
    await store.aclose()


async def test_two_nodes_share_reminders_on_postgresql(postgres_url: str) -> None:
    stores = [Store(postgres_url), Store(postgres_url)]
    for store in stores:
        await store.open()
    mine, yours = (ReminderTable(store) for store in stores)
    minute = timedelta(minutes=1)
    alarms = [
        ReminderRecord(
            id=str(number), device_id=DEVICE, kind="alarm", text="Guten Morgen 🌞",
            due_at=NOW + number * minute, created_at=NOW, expires_s=60,
            wall=datetime(2026, 8, 1, 14, 0), zone="Europe/Berlin", rule="FREQ=DAILY", owner="anna",
        )
        for number in range(8)
    ]  # fmt: skip
    # Of more than there is room for, added at both at once, as many are kept as there is room for.
    tables = [(mine, yours)[number % 2] for number in range(8)]
    problems = await asyncio.gather(
        *(table.add(alarm, most_of_device=5, most=9) for table, alarm in zip(tables, alarms, strict=True))
    )
    assert sorted(problem or "" for problem in problems) == [*[""] * 5, *["device"] * 3]
    kept = await yours.list(DEVICE)
    assert [alarm for alarm, problem in zip(alarms, problems, strict=True) if problem is None] == list(kept)
    assert await mine.next_due() == kept[0].due_at
    assert list(await mine.due(NOW + 8 * minute, 9)) == list(kept)

    # What is due is marked by one of two nodes.
    marked = [replace(alarm, due_at=None, pending_at=NOW, pending_until=NOW + minute) for alarm in kept]
    written = await asyncio.gather(mine.replace(marked), yours.replace(marked))
    assert sorted(alarm.id for part in written for alarm in part) == [alarm.id for alarm in kept]
    assert len(await mine.pending(expired_by=NOW + minute)) == 5
    assert await yours.pending(expired_by=NOW) == []

    timer = ReminderRecord("t", "other", "timer", "", NOW, NOW, 60, duration_s=60)
    assert await mine.add(timer, most_of_device=5, most=9) is None
    await mine.shift({"t"}, minute)
    moved = await yours.get("t")
    assert moved is not None
    assert (moved.due_at, moved.version) == (NOW + minute, 2)
    assert await yours.delete("t")
    await yours.delete_of_device(DEVICE)
    await yours.delete_ended(NOW)
    assert await mine.list(ended=True) == []
    for store in stores:
        await store.aclose()
