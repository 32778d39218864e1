"""Each kind of device is told by the way that it has: the whole server, and simulated devices."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mimi_mqtt.cli.device.actions import AlertShown, FetchNotice, Ignored, NoticePlayed, Sentence
from mimi_mqtt.cli.device.client import Told, converse
from mimi_mqtt.cli.device.identity import client_id_for
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from mimi_mqtt.commands import notices
from mimi_mqtt.commands.model import Notify
from mimi_mqtt.fleet.administration import forget
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.tools.reminders import scheduler as scheduling
from mimi_mqtt.tools.reminders.service import Reminders
from tests.integration.notices.house import House, connected, house_in, register
from tests.ogg import probe, read_by_libopusfile

pytestmark = pytest.mark.timeout(60)

MAC = "aa:bb:cc:00:00:01"
ID = "aa-bb-cc-00-00-01"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has connected is taken for idle almost at once."""
    monkeypatch.setattr(notices, "SETTLE_S", 0.05)


class Simulated:
    """A simulated device that runs beside the test."""

    def __init__(self, house: House, **options: object) -> None:
        self.told: list[Told] = []
        self.changed = asyncio.Event()
        given = DeviceOptions(ota=house.ota, mac=MAC, timeout_s=40, **options)  # type: ignore[arg-type]
        self.task: asyncio.Task[Summary] = asyncio.create_task(converse(given, self.tell))

    def tell(self, told: Told) -> None:
        self.told.append(told)
        self.changed.set()

    async def until(self, kind: type[Told]) -> Told:
        """The first action of its kind."""
        while True:
            for told in self.told:
                if isinstance(told, kind):
                    return told
            self.changed.clear()
            await self.changed.wait()


async def until_connected(house: House) -> None:
    while not house.app._parts.live.sessions.connected(ID):  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0.01)


async def test_an_idle_device_of_2_5_hears_it_with_subtitles(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        device = Simulated(house, idle_s=30.0)
        await until_connected(house)
        assert await house.notify(ID, "Dinner is ready. Come to the table.") == "delivered"
        played = await device.until(NoticePlayed)
        assert isinstance(played, NoticePlayed)
        assert played.error == ""
        assert played.audio_ms > 1_000
        assert played.texts == ("Dinner is ready.", "Come to the table.")
        device.task.cancel()


async def test_firmware_of_2_4_shows_it_and_says_it_at_the_next_wake_up(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        device = Simulated(house, like="stock-2.4", idle_s=1.0, text="hello")
        await until_connected(house)
        assert await house.notify(ID, "Dinner is ready.") == "shown"
        shown = await device.until(AlertShown)
        assert isinstance(shown, AlertShown)
        assert shown.message == "Dinner is ready."
        assert await house.until_told(2) == ["shown", "spoken"]
        assert "Dinner is ready." in [told.text for told in device.told if isinstance(told, Sentence)]
        assert not [told for told in device.told if isinstance(told, FetchNotice | Ignored)]
        device.task.cancel()


async def test_espressifs_client_says_it_at_the_next_wake_up(tmp_path: Path) -> None:
    async with house_in(tmp_path, ota={"transport": "mqtt"}) as house:
        device = Simulated(house, like="espressif", idle_s=1.0, text="hello")
        await asyncio.sleep(0.5)
        assert await house.notify(ID, "Dinner is ready.") == "waiting"
        assert await house.until_told(1) == ["spoken"]
        assert not [told for told in device.told if isinstance(told, AlertShown | Ignored)]
        device.task.cancel()


async def test_in_a_conversation_it_is_announced(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        access = await register(house)
        async with connected(access) as device:
            session_id = await device.hello()
            await device.listen(session_id)
            told = asyncio.create_task(house.notify(ID, "Dinner is ready."))
            while (message := await device.until("tts"))["state"] != "sentence_start":
                pass
            assert message["text"] == "Dinner is ready."
            assert await told == "spoken"


async def test_between_hello_and_listen_it_waits_for_the_listen(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        session_id = await device.hello()
        told = asyncio.create_task(house.notify(ID, "Dinner is ready."))
        await asyncio.sleep(0.2)
        assert device.received.empty()
        await device.listen(session_id)
        assert await told == "spoken"


async def test_a_sound_is_heard_in_a_conversation(tmp_path: Path, bell: bytes) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        await device.listen(await device.hello())
        told = asyncio.create_task(house.notify(ID, "", audio=bell))
        while (message := await device.until("tts"))["state"] != "start":
            pass
        assert message["state"] == "start"
        assert await told == "spoken"


async def test_a_device_that_is_away_hears_it_when_it_connects(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        access = await register(house)
        assert await house.notify(ID) == "waiting"
        async with connected(access) as device:
            reply = await house.http.get(await device.notified())
            assert reply.status_code == 200
            assert await house.until_told(1) == ["delivered"]


async def test_a_device_over_websocket_hears_it_when_it_wakes(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        await register(house, client_id=client_id_for(MAC))
        assert await house.notify(ID) == "waiting"
        device = Simulated(house, transport="websocket", text="hello")
        assert await house.until_told(1) == ["spoken"]
        device.task.cancel()


async def test_what_expired_is_not_told(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        access = await register(house)
        assert await house.notify(ID, expires_s=0.1) == "waiting"
        assert await house.until_told(1) == ["expired"]
        async with connected(access) as device:
            await asyncio.sleep(0.3)
            assert device.received.empty()


async def test_a_device_that_says_hello_instead_of_fetching_hears_it_in_its_session(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        told = asyncio.create_task(house.notify(ID))
        path = await device.notified()
        await device.listen(await device.hello())
        assert await told == "spoken"
        assert (await house.http.get(path)).status_code == 404


async def test_a_wake_word_during_the_sound_means_that_it_was_heard_in_part(
    tmp_path: Path, melody: bytes
) -> None:
    async with house_in(tmp_path) as house:
        device = Simulated(house, idle_s=2.0, text="hello")
        await until_connected(house)
        assert await house.notify(ID, "A long melody.", audio=melody) == "partly"
        assert await house.until_told(1) == ["partly"]
        device.task.cancel()


async def test_what_waits_survives_a_restart_sounds_too(tmp_path: Path, bell: bytes) -> None:
    async with house_in(tmp_path) as house:
        await register(house)
        assert await house.notify(ID, "Dinner is ready.") == "waiting"
        assert await house.notify(ID, "A bell.", audio=bell, urgent=True) == "waiting"
    async with house_in(tmp_path) as house:
        assert len(house.app._parts.commands.notices) == 2
        async with connected(await register(house)) as device:
            message = await device.until("notify")
            assert [line["text"] for line in message["subtitles"]] == ["A bell."]
            sound = await house.http.get(str(message["audio_url"]))
            assert read_by_libopusfile(sound.content).channels == 1
            reply = await house.http.get(await device.notified())
            assert probe(reply.content).channels == 1
            assert await house.until_told(2) == ["delivered", "delivered"]
    async with house_in(tmp_path) as house:
        assert len(house.app._parts.commands.notices) == 0


async def test_a_device_that_is_forgotten_takes_its_notices_with_it(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        await register(house)
        assert await house.notify(ID) == "waiting"
        await forget(house.app._parts.foundation.store, ID, datetime.now(UTC))
        assert await house.until_told(1) == ["dropped"]
        result = await house.run(Notify(device_id=ID, text="hello?"))
        assert result.status == "refused"


async def test_a_reminder_of_an_hour_ago_is_spoken_by_an_idle_device_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house_in(tmp_path) as house:
        await register(house, client_id=client_id_for(MAC))
        at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0, tzinfo=None)
        reminders = Reminders(ReminderTable(house.app._parts.foundation.store), "Etc/UTC")
        await reminders.set_reminder(ID, at.isoformat(), "call mum")
    async with house_in(tmp_path) as house:
        device = Simulated(house, like="stock-2.5", idle_s=30.0)
        await until_connected(house)
        later = timedelta(hours=1, seconds=1)
        monkeypatch.setattr(scheduling, "utc_now", lambda: datetime.now(UTC) + later)
        played = await device.until(NoticePlayed)
        assert isinstance(played, NoticePlayed)
        assert (played.error, played.texts) == ("", ("Reminder: call mum.",))
        assert played.audio_ms > 500
        assert await house.until_told(1) == ["delivered"]
        device.task.cancel()
