"""Roll-outs on PostgreSQL: two nodes that share them, offers and pauses at the same time, the migration."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from mimi_mqtt.errors import Conflict
from mimi_mqtt.events import RollOutHalted
from mimi_mqtt.fleet.firmware.rollouts import Terms
from mimi_mqtt.fleet.firmware_offers import FirmwareOffer, NoFirmware
from mimi_mqtt.store import migrations
from mimi_mqtt.store.engine import Store
from mimi_mqtt.wire.ota import OtaRequest
from tests.fakes.firmware import ADA, BOARD, ORIGIN, device_id, report, workshop_in

pytestmark = pytest.mark.timeout(120)


def request(number: int) -> OtaRequest:
    return OtaRequest(
        device_id=device_id(number), client_id="c", board=BOARD, firmware_version="2.2.1", report=report()
    )


async def test_two_nodes_roll_out_together(postgres_url: str, tmp_path: Path) -> None:
    async with (
        workshop_in(tmp_path / "a", postgres_url) as one,
        workshop_in(tmp_path / "b", postgres_url) as two,
    ):
        old, new = await one.image("2.2.1"), await one.image("2.3.1")
        assert old.id is not None
        assert new.id is not None
        with pytest.raises(Conflict, match="the same image"):
            await two.image("2.3.1")
        made = await one.rollouts.create(new.id, Terms(come_back_min=15), ADA, now=one.moment.now)
        rollout = made.row.id
        assert rollout is not None
        for number in range(1, 13):
            await one.device(number)
        await asyncio.gather(one.offers.refresh(), two.offers.refresh())

        # The same device at both nodes at once is one device; a pause on one node is in force on the other.
        both = await asyncio.gather(*(node.offers.offer(request(1), ORIGIN) for node in (one, two, one, two)))
        assert all(isinstance(answer, FirmwareOffer) for answer in both)
        await asyncio.gather(
            *((one, two)[number % 2].offers.offer(request(number), ORIGIN) for number in range(2, 8)),
            one.rollouts.pause(rollout, ADA),
        )
        late = [await two.offers.offer(request(number), ORIGIN) for number in range(8, 13)]
        assert [answer.reason for answer in late if isinstance(answer, NoFirmware)] == [
            "the roll-out is paused"
        ] * 5
        await two.rollouts.resume(rollout, ADA)

        # One node sends, the other one judges.
        for number in (1, 2, 3):
            await two.boot(number)
            one.moment.now = two.moment.now
            await two.download(rollout, number)
        await one.boot(1, version="2.3.1")
        one.moment.forward(minutes=16)
        two.moment.forward(minutes=16)
        await asyncio.gather(one.watch.judge(), two.watch.judge())
        states = await one.states(rollout)
        assert {number: states[number] for number in ("01", "02", "03")} == {
            "01": "done",
            "02": "gone",
            "03": "gone",
        }
        assert await two.state(rollout) == "halted"
        halted = [each for each in (*one.events, *two.events) if isinstance(each, RollOutHalted)]
        assert len(halted) == 1
        back = await two.rollouts.roll_back(rollout, ADA)
        assert back.image.version == "2.2.1"
        answer = await one.boot(1, version="2.3.1")
        assert isinstance(answer, FirmwareOffer)
        assert (answer.version, answer.force) == ("2.2.1", True)


async def test_the_tables_of_firmware_come_and_go_on_postgresql(postgres_url: str) -> None:
    def to(revision: str, connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        (command.downgrade if revision < "0014" else command.upgrade)(config, revision)

    store = Store(postgres_url)
    await store.open()
    for revision, there in (("0013", False), ("0014", True)):
        async with store.write() as session:
            await (await session.connection()).run_sync(partial(to, revision))
        async with store.read() as session:
            found = await session.execute(text("SELECT to_regclass('rollouts') IS NOT NULL"))
            assert found.scalar_one() is there
    await store.aclose()
