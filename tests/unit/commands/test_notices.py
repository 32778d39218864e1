"""The way in which each device is told a notice, in virtual time, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mimi_mqtt.commands.model import Notify, Principal, Refusal
from mimi_mqtt.commands.notice_urls import FETCH_WITHIN_S, Fetch, NoticeUrls
from mimi_mqtt.commands.notices import AGAIN_S, EXPIRY_EVERY_S, MAX_TRIES, SETTLE_S, Notices
from mimi_mqtt.commands.offers import MAX_PREPARED, PREPARED_WITHIN_S
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.waiting import MAX_PER_DEVICE
from mimi_mqtt.errors import AudioError
from mimi_mqtt.events import (
    CommandRan,
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    DeviceRevoked,
    EventBus,
    NoticeTold,
    SessionEnded,
    SessionOpened,
)
from mimi_mqtt.session.reach import Reach
from tests.fakes.notices import FakeDevices, FakeVoices, MemoryOfNotices, virtual_now
from tests.unit.commands.fake_control import FakeControl

pytestmark = pytest.mark.virtual_time

DEVICE = "aa-bb-cc-00-11-22"
OTHER = "aa-bb-cc-00-11-33"
ORIGIN = "https://voice.example.org"
ADMIN = Principal("admin")


class Desk:
    """Notices among fakes."""

    def __init__(self, memory: MemoryOfNotices | None = None) -> None:
        self.devices = FakeDevices()
        self.voices = FakeVoices()
        self.urls = NoticeUrls()
        self.memory = memory or MemoryOfNotices()
        self.events = EventBus()
        self.told: list[tuple[str, bool]] = []
        self.loop = asyncio.get_running_loop()
        self.origin: str | None = ORIGIN
        self.notices = Notices(
            self.devices, self.voices, self.urls, self.memory, self.events,
            address=lambda _: self.origin, path="/n/", now=virtual_now,
        )  # fmt: skip
        self.events.subscribe(
            lambda event: self.told.append((event.outcome, event.over)), NoticeTold, name="test"
        )
        control = FakeControl()
        control.known.add(OTHER)
        self.commands = Commands(control, self.events, notices=self.notices)

    def tell(
        self, text: str = "Dinner is ready.", device: str = DEVICE, **fields: Any
    ) -> "asyncio.Task[str]":
        """What `notify` tells as its result."""

        async def how() -> str:
            command = Notify(device_id=device, text=text, **fields)
            result = await self.commands.run(command, by=ADMIN)
            assert result.status == "done", result
            return str(result.payload["how"])

        return asyncio.create_task(how())

    def becomes(self, reach: Reach, event: DeviceEvent | None = None, device: str = DEVICE) -> None:
        """The device changes its state."""
        self.devices.states[device] = reach
        if event is not None:
            self.events.publish(event)

    def hello(self) -> None:
        """The device begins a conversation."""
        self.becomes(Reach.TALKING, SessionOpened(device_id=DEVICE, session_id="s"))

    def fetch(self, number: int = -1) -> Fetch:
        """The device begins to fetch what it was notified of."""
        url = self.devices.notified[number][1]
        assert url.startswith(ORIGIN + "/n/")
        found = self.urls.find(url.rpartition("/")[2], self.loop.time())
        assert found is not None
        found.begin(self.loop.time())
        return found


@asynccontextmanager
async def desk_of(memory: MemoryOfNotices | None = None) -> AsyncIterator[Desk]:
    made = Desk(memory)
    await made.notices.start()
    try:
        yield made
    finally:
        await made.notices.aclose()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_of() as made:
        yield made


# ── idle ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_idle_device_is_notified_and_what_it_fetched_is_delivered(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    how = desk.tell()
    await asyncio.sleep(0.1)
    ((_, url, subtitles),) = desk.devices.notified
    assert [line.text for line in subtitles] == ["Dinner is ready."]
    assert len(url.rpartition("/")[2]) == 22  # 128 bits
    assert not how.done()
    desk.fetch().end(whole=True)
    assert await how == "delivered"
    assert desk.told == [("delivered", True)]
    assert len(desk.notices) == len(desk.urls) == desk.voices.held == 0
    assert desk.memory.rows == {}


async def test_the_sound_is_there_before_the_device_is_told_of_it(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.voices.delay_s = 4
    desk.tell()
    await asyncio.sleep(3.9)
    assert not desk.devices.notified
    await asyncio.sleep(0.2)
    assert len(desk.fetch().recording.stream) > 500


async def test_a_fetch_that_ends_early_is_told_and_not_repeated(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    how = desk.tell()
    await asyncio.sleep(0.1)
    desk.fetch().end(whole=False)
    assert await how == "partly"
    await asyncio.sleep(600)
    assert len(desk.devices.notified) == 1
    assert desk.told == [("partly", True)]


async def test_the_result_is_what_is_known_in_time_and_the_outcome_an_event(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    assert await desk.tell(timeout_s=2.0) == "waiting"
    assert desk.told == []
    desk.fetch().end(whole=True)
    await asyncio.sleep(0.1)
    assert desk.told == [("delivered", True)]


async def test_the_next_notice_comes_when_the_one_before_was_heard(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.tell("One.")
    desk.tell("Two.")
    desk.tell("Now!", urgent=True)
    await asyncio.sleep(0.1)
    assert len(desk.devices.notified) == 1
    began = desk.loop.time()
    desk.fetch().end(whole=True)
    await asyncio.sleep(1.0)
    assert len(desk.devices.notified) == 1, "it plays 1.2 s"
    await asyncio.sleep(5.0)
    assert desk.voices.made == ["One.", "Now!"]
    assert desk.loop.time() - began > 2.7
    desk.fetch().end(whole=True)
    await asyncio.sleep(5.0)
    assert desk.voices.made == ["One.", "Now!", "Two."]


# ── not idle after all ───────────────────────────────────────────────────────────────────────────────────


async def test_a_device_that_begins_a_conversation_instead_is_told_in_it(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    how = desk.tell()
    await asyncio.sleep(0.1)
    desk.hello()
    await asyncio.sleep(0.1)
    ((_, announcement),) = desk.devices.announced
    assert announcement.text == "Dinner is ready."
    assert len(desk.urls) == 0
    announcement.concluded(True)
    assert await how == "spoken"


async def test_a_conversation_during_the_fetch_ends_it(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    how = desk.tell()
    await asyncio.sleep(0.1)
    fetch = desk.fetch()
    desk.hello()
    assert await how == "partly"
    assert fetch.ended.is_set()
    await asyncio.sleep(1)
    assert desk.devices.announced == []


async def test_an_address_that_is_not_fetched_is_given_once_more_then_the_text_is_shown(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    how = desk.tell()
    await asyncio.sleep(0.1)
    old = desk.devices.notified[0][1].rpartition("/")[2]
    await asyncio.sleep(FETCH_WITHIN_S + 1)
    assert desk.urls.find(old, desk.loop.time()) is None
    assert await how == "waiting"
    await asyncio.sleep(AGAIN_S + 1)
    assert len(desk.devices.notified) == MAX_TRIES
    assert desk.devices.alerts == []
    await asyncio.sleep(FETCH_WITHIN_S + 1)
    assert desk.devices.alerts == [(DEVICE, "Dinner is ready.")]
    assert desk.told == [("shown", False)]
    await asyncio.sleep(600)
    assert len(desk.devices.notified) == MAX_TRIES
    assert len(desk.devices.alerts) == 1
    desk.hello()
    await asyncio.sleep(0.1)
    desk.devices.announced[0][1].concluded(True)
    assert desk.told[-1] == ("spoken", True)


async def test_an_urgent_notice_is_shown_after_one_address(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.tell(urgent=True)
    await asyncio.sleep(FETCH_WITHIN_S + 1)
    assert len(desk.devices.notified) == 1
    assert len(desk.devices.alerts) == 1


async def test_a_device_that_went_away_before_it_fetched_is_told_when_it_is_back(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.tell()
    await asyncio.sleep(0.1)
    desk.becomes(Reach.AWAY, DeviceGone(device_id=DEVICE))
    await asyncio.sleep(300)
    assert len(desk.urls) == 0
    desk.becomes(Reach.NOTIFY, DeviceConnected(device_id=DEVICE, transport="mqtt"))
    await asyncio.sleep(SETTLE_S + 0.2)
    assert len(desk.devices.notified) == 2
    desk.fetch().end(whole=True)
    await asyncio.sleep(0.1)
    assert desk.told == [("delivered", True)]


async def test_a_device_that_restarted_before_it_fetched_is_notified_again(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.tell()
    await asyncio.sleep(0.1)
    desk.events.publish(DeviceConnected(device_id=DEVICE, transport="mqtt"))  # its old connection was dead
    await asyncio.sleep(SETTLE_S + 0.2)
    assert len(desk.devices.notified) == 2
    assert len(desk.urls) == 1


@pytest.mark.parametrize(
    "event",
    [
        DeviceConnected(device_id=DEVICE, transport="mqtt"),
        SessionEnded(device_id=DEVICE, session_id="s", reason="goodbye"),
    ],
)
async def test_a_device_has_time_to_become_idle_before_its_first_notice(
    desk: Desk, event: DeviceEvent
) -> None:
    desk.becomes(Reach.NOTIFY, event)
    desk.tell()
    await asyncio.sleep(SETTLE_S - 0.1)
    assert desk.devices.notified == []
    await asyncio.sleep(0.2)
    assert len(desk.devices.notified) == 1


async def test_a_session_is_told_at_once_although_its_device_has_just_connected(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY, DeviceConnected(device_id=DEVICE, transport="mqtt"))
    desk.hello()
    desk.tell()
    await asyncio.sleep(0.1)
    assert len(desk.devices.announced) == 1


async def test_pauses_of_devices_are_forgotten(desk: Desk) -> None:
    for number in range(100):
        desk.events.publish(DeviceConnected(device_id=f"aa-bb-cc-00-12-{number:02x}", transport="mqtt"))
    assert len(desk.notices._pauses) == 100
    await asyncio.sleep(SETTLE_S + EXPIRY_EVERY_S + 0.1)
    assert len(desk.notices._pauses) == 0


async def test_what_expires_while_its_sound_is_made_is_not_told(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.voices.delay_s = 10.0
    assert await desk.tell(expires_s=5.0) == "expired"
    assert desk.devices.notified == []
    assert desk.voices.held == 0


async def test_a_voice_that_never_answers_keeps_no_other_device_waiting_for_ever(desk: Desk) -> None:
    desk.voices.delay_s = 1e6
    ids = [f"aa-bb-cc-00-12-{number:02x}" for number in range(MAX_PREPARED)]
    for device in ids:
        desk.becomes(Reach.NOTIFY, device=device)
        desk.notices.tell_later(Notify(device_id=device, text="Fire!"))
    await asyncio.sleep(1)
    desk.voices.delay_s = 0.0
    desk.becomes(Reach.NOTIFY)
    desk.tell()
    await asyncio.sleep(PREPARED_WITHIN_S)
    assert [device for device, _, _ in desk.devices.notified] == [DEVICE]
    assert {device for device, _ in desk.devices.alerts} == set(ids), "they are shown the text"


async def test_a_caller_that_is_cancelled_has_its_notice_dropped(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    task = desk.tell()
    await asyncio.sleep(0.1)
    fetch = desk.fetch()
    task.cancel()
    await asyncio.wait({task})
    assert desk.told == [("dropped", True)]
    assert fetch.ended.is_set()
    assert desk.memory.rows == {}
    await asyncio.sleep(0.1)
    assert desk.voices.held == 0


async def test_a_device_whose_way_to_http_is_unknown_is_shown_the_text(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.origin = None
    assert await desk.tell() == "shown"
    assert desk.devices.notified == []


async def test_a_text_that_can_not_be_spoken_is_shown(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.voices.fails = True
    assert await desk.tell() == "shown"
    assert desk.devices.alerts == [(DEVICE, "Dinner is ready.")]
    assert desk.told == [("shown", True)]
    assert len(desk.notices) == 0


# ── in a conversation ────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_in_conversation_hears_it_as_an_announcement(desk: Desk) -> None:
    desk.becomes(Reach.TALKING)
    how = desk.tell()
    await asyncio.sleep(0.1)
    desk.devices.announced[0][1].concluded(True)
    desk.devices.announced[0][1].concluded(True)
    assert await how == "spoken"
    assert desk.told == [("spoken", True)]
    assert desk.devices.alerts == []


async def test_an_urgent_one_is_shown_besides(desk: Desk) -> None:
    desk.becomes(Reach.TALKING)
    desk.tell(urgent=True)
    await asyncio.sleep(0.1)
    assert desk.devices.announced[0][1].urgent
    assert desk.devices.alerts == [(DEVICE, "Dinner is ready.")]
    assert desk.told == []


async def test_what_a_session_did_not_get_to_waits_for_the_device_to_be_idle(desk: Desk) -> None:
    desk.becomes(Reach.TALKING)
    how = desk.tell(timeout_s=60.0)
    await asyncio.sleep(0.1)
    desk.becomes(Reach.NOTIFY, SessionEnded(device_id=DEVICE, session_id="s", reason="goodbye"))
    desk.devices.announced[0][1].concluded(False)
    await asyncio.sleep(SETTLE_S / 2)
    assert desk.devices.notified == [], "it is still showing the goodbye"
    await asyncio.sleep(10)
    desk.fetch().end(whole=True)
    assert await how == "delivered"


async def test_a_session_that_refuses_is_not_asked_without_end(desk: Desk) -> None:
    desk.becomes(Reach.TALKING)
    desk.devices.refuses = True
    desk.tell()
    await asyncio.sleep(60)
    desk.devices.refuses = False
    await asyncio.sleep(10)
    assert len(desk.devices.announced) == 1


# ── older firmware, Espressif's client, away ─────────────────────────────────────────────────────────────


async def test_older_firmware_shows_it_now_and_says_it_at_the_next_wake_up(desk: Desk) -> None:
    desk.becomes(Reach.ALERT)
    assert await desk.tell() == "shown"
    assert desk.devices.alerts == [(DEVICE, "Dinner is ready.")]
    assert desk.devices.notified == []
    await asyncio.sleep(300)
    desk.hello()
    await asyncio.sleep(0.1)
    desk.devices.announced[0][1].concluded(True)
    assert desk.told == [("shown", False), ("spoken", True)]


async def test_a_device_that_knows_neither_message_says_it_at_the_next_wake_up(desk: Desk) -> None:
    desk.becomes(Reach.SILENT)
    assert await desk.tell() == "waiting"
    assert (desk.devices.alerts, desk.devices.notified) == ([], [])
    desk.hello()
    await asyncio.sleep(0.1)
    assert len(desk.devices.announced) == 1


async def test_a_device_that_is_away_is_told_when_it_connects(desk: Desk) -> None:
    assert await desk.tell() == "waiting"
    await asyncio.sleep(3_000)
    desk.becomes(Reach.NOTIFY, DeviceConnected(device_id=DEVICE, transport="mqtt"))
    await asyncio.sleep(0.1)
    assert desk.devices.notified == [], "it may be about to say hello"
    await asyncio.sleep(SETTLE_S)
    desk.fetch().end(whole=True)
    await asyncio.sleep(0.1)
    assert desk.told == [("delivered", True)]


async def test_what_was_not_told_in_time_expires(desk: Desk) -> None:
    assert await desk.tell(expires_s=100.0) == "waiting"
    await asyncio.sleep(99)
    assert desk.told == []
    await asyncio.sleep(4)
    assert desk.told == [("expired", True)]
    desk.becomes(Reach.NOTIFY, DeviceConnected(device_id=DEVICE, transport="mqtt"))
    await asyncio.sleep(10)
    assert desk.devices.notified == []
    assert desk.memory.rows == {}


async def test_an_address_is_open_no_longer_than_the_notice_is_good(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.tell(expires_s=5.0)
    await asyncio.sleep(7)
    assert len(desk.urls) == 0
    await asyncio.sleep(AGAIN_S)
    assert desk.told == [("expired", True)]


# ── bounds, restarts, devices that are gone ──────────────────────────────────────────────────────────────


async def test_waiting_notices_are_bounded_and_the_refusal_says_so(desk: Desk) -> None:
    for number in range(MAX_PER_DEVICE):
        assert await desk.tell(f"number {number}") == "waiting"
    result = await desk.commands.run(Notify(device_id=DEVICE, text="one more"), by=ADMIN)
    assert result.refusal is Refusal.BUSY
    assert str(MAX_PER_DEVICE) in result.message
    result = desk.commands.run_now(Notify(device_id=DEVICE, text="one more"), by=ADMIN)
    assert result.refusal is Refusal.BUSY
    assert await desk.tell(device=OTHER) == "waiting"
    assert len(desk.memory.rows) == MAX_PER_DEVICE + 1


async def test_what_waits_is_told_after_a_restart(desk: Desk) -> None:
    memory = desk.memory
    desk.tell("Old.", expires_s=50.0)
    desk.tell("Calm.")
    desk.tell("Now!", urgent=True)
    await asyncio.sleep(1)
    await desk.notices.aclose()
    await asyncio.sleep(100)
    async with desk_of(memory) as again:
        assert len(again.notices) == 2
        again.hello()
        await asyncio.sleep(0.1)
        assert [told.text for _, told in again.devices.announced] == ["Now!", "Calm."]
        for _, announcement in again.devices.announced:
            announcement.concluded(True)
    assert [row.text for row in memory.rows.values()] == ["Old."], "the database forgets it when it loads"


async def test_what_was_being_told_when_the_server_stopped_is_told_again(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    task = desk.tell()
    await asyncio.sleep(0.1)
    desk.fetch()
    await desk.notices.aclose()
    async with desk_of(desk.memory) as again:
        assert len(again.notices) == 1
    task.cancel()


async def test_the_notices_of_a_device_that_may_not_connect_any_more_are_dropped(desk: Desk) -> None:
    await desk.tell()
    desk.events.publish(DeviceRevoked(device_id=DEVICE))  # new credentials: it still may
    assert len(desk.notices) == 1
    desk.devices.unknown.add(DEVICE)
    desk.events.publish(DeviceRevoked(device_id=DEVICE))
    assert len(desk.notices) == 0
    assert desk.told == [("dropped", True)]
    assert desk.memory.rows == {}


async def test_the_notices_of_a_device_forgotten_while_the_server_was_off_are_dropped(desk: Desk) -> None:
    await desk.tell()
    await desk.notices.aclose()
    again = Desk(desk.memory)
    again.devices.unknown.add(DEVICE)
    await again.notices.start()
    assert len(again.notices) == 0
    assert desk.memory.rows == {}
    await again.notices.aclose()


async def test_a_thousand_devices_are_notified_at_once(desk: Desk) -> None:
    ids = [f"aa-bb-cc-00-{number // 256:02x}-{number % 256:02x}" for number in range(1_000)]
    desk.voices.delay_s = 0.5
    told = []
    for device in ids:
        desk.becomes(Reach.NOTIFY, device=device)
        told.append(asyncio.create_task(desk.notices.tell(Notify(device_id=device, text="Fire!"), 60)))
    while len(desk.devices.notified) < 1_000:  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0.5)
    for number in range(1_000):
        desk.fetch(number).end(whole=True)
    assert {how for how, _ in await asyncio.gather(*told)} == {"delivered"}
    assert desk.voices.held == 0


async def test_a_sound_is_played_and_its_text_shown(desk: Desk) -> None:
    desk.becomes(Reach.NOTIFY)
    how = desk.tell("Our song.", audio=b"song")
    await asyncio.sleep(0.1)
    ((_, _, subtitles),) = desk.devices.notified
    assert [line.text for line in subtitles] == ["Our song."]
    desk.fetch().end(whole=True)
    assert await how == "delivered"
    assert desk.voices.held == 0


async def test_a_sound_without_a_text_waits_where_nothing_can_be_shown(desk: Desk) -> None:
    desk.becomes(Reach.ALERT)
    assert await desk.tell("", audio=b"song") == "waiting"
    assert desk.devices.alerts == []
    await desk.notices.aclose()
    async with desk_of(desk.memory) as again:
        again.hello()
        await asyncio.sleep(0.1)
        ((_, announcement),) = again.devices.announced
        assert announcement.speech is not None
        announcement.concluded(True)
        assert again.voices.held == 0


async def test_what_is_no_sound_is_refused_with_the_reason(desk: Desk) -> None:
    result = await desk.commands.run(Notify(device_id=DEVICE, audio=b"noise"), by=ADMIN)
    assert result.refusal is Refusal.BAD_ARGUMENTS
    assert "no sound" in result.message
    with pytest.raises(AudioError):
        await desk.notices.tell(Notify(device_id=DEVICE, audio=b"noise"), 1)
    assert len(desk.notices) == 0


async def test_the_audit_names_the_command_and_never_the_text(desk: Desk) -> None:
    ran: list[CommandRan] = []
    desk.events.subscribe(ran.append, CommandRan, name="test")
    await desk.tell("A secret.")
    (event,) = ran
    assert (event.command, event.by, event.status) == ("notify", "admin", "done")
    assert "secret" not in repr(event)
    assert "secret" not in repr(Notify(device_id=DEVICE, audio=b"secret"))


async def test_who_may_not_command_the_device_does_not_notify_it(desk: Desk) -> None:
    other = Principal("other", OTHER)
    result = await desk.commands.run(Notify(device_id=DEVICE, text="hi"), by=other)
    assert result.refusal is Refusal.NOT_ALLOWED
    stranger = Notify(device_id="aa-bb-cc-00-11-55", text="hi")
    assert (await desk.commands.run(stranger, by=ADMIN)).refusal is Refusal.UNKNOWN_DEVICE
    assert len(desk.notices) == 0


async def test_at_once_means_that_the_outcome_is_an_event(desk: Desk) -> None:
    desk.becomes(Reach.ALERT)
    result = desk.commands.run_now(Notify(device_id=DEVICE, text="hi"), by=ADMIN)
    assert result.payload["how"] == "waiting"
    assert desk.told == [("shown", False)]
