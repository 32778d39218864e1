"""When devices were connected and talked: written behind, over restarts and crashes, bounded."""

from datetime import timedelta

from sqlmodel import func, select

from mimi_mqtt.events import DeviceConnected, DeviceGone, EventBus, SessionEnded, SessionOpened
from mimi_mqtt.fleet import administration
from mimi_mqtt.fleet.connection_history import KEPT_FOR, MAX_PER_HOUR, ConnectionHistory, History
from mimi_mqtt.store.tables import DeviceInterval, ServerRun
from tests.unit.fleet.conftest import DEVICE, Fleet, asking


class Watched:
    """A history of a fleet, whose events the test publishes."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.bus = EventBus()
        self.history = ConnectionHistory(fleet.store, self.bus, clock=fleet.clock)

    def connected(self, transport: str = "mqtt") -> None:
        at = self.fleet.clock()
        self.bus.publish(DeviceConnected(device_id=DEVICE, transport=transport, at=at))

    def gone(self, reason: str = "closed") -> None:
        self.bus.publish(DeviceGone(device_id=DEVICE, reason=reason, at=self.fleet.clock()))

    def talks(self, session_id: str = "s1") -> None:
        at = self.fleet.clock()
        self.bus.publish(SessionOpened(device_id=DEVICE, session_id=session_id, transport="udp", at=at))

    def falls_silent(self, session_id: str = "s1") -> None:
        at = self.fleet.clock()
        self.bus.publish(SessionEnded(device_id=DEVICE, session_id=session_id, reason="goodbye", at=at))


async def started(fleet: Fleet) -> Watched:
    await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1")
    watched = Watched(fleet)
    await watched.history.start()
    return watched


def told(history: History) -> list[tuple[str, float | None, str]]:
    """Kind, length in minutes (None while it goes on) and reason of each interval."""
    return [
        (
            each.kind,
            None if each.ended_at is None else (each.ended_at - each.began_at).total_seconds() / 60,
            each.reason,
        )
        for each in history.intervals
    ]


async def test_connections_and_sessions_are_intervals(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    fleet.clock.advance(minutes=5)
    watched.talks()
    fleet.clock.advance(minutes=2)
    watched.falls_silent()
    fleet.clock.advance(minutes=3)
    watched.gone("keepalive")
    fleet.clock.advance(minutes=30)
    watched.connected("websocket")
    # What is not written yet is told as well.
    assert told(await watched.history.of_device(DEVICE, 24))[-1] == ("connection", None, "")
    await watched.history.aclose()
    found = await watched.history.of_device(DEVICE, 24)
    assert told(found) == [
        ("connection", 10, "keepalive"), ("session", 2, "goodbye"), ("connection", None, ""),
    ]  # fmt: skip
    assert [each.transport for each in found.intervals] == ["mqtt", "udp", "websocket"]
    assert found.server_off == []


async def test_only_the_time_that_was_asked_for_is_told(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    fleet.clock.advance(hours=1)
    watched.gone()
    fleet.clock.advance(hours=3)
    await watched.history.aclose()
    assert told(await watched.history.of_device(DEVICE, 2)) == []
    assert len(told(await watched.history.of_device(DEVICE, 3.5))) == 1


async def test_after_a_crash_an_interval_ends_with_the_last_sign_of_life(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    fleet.clock.advance(minutes=10)
    await watched.history._changes.aclose()
    await watched.history._tell_alive()
    await watched.history._alive.aclose()  # and nothing more: it was killed
    fleet.clock.advance(minutes=20)
    again = Watched(fleet)
    await again.history.start()
    fleet.clock.advance(minutes=5)
    again.connected()
    found = await again.history.of_device(DEVICE, 24)
    assert told(found) == [("connection", 10, ""), ("connection", None, "")]
    assert [(end - begin) for begin, end in found.server_off] == [timedelta(minutes=20)]
    await again.history.aclose()


async def test_a_device_that_comes_and_goes_all_the_time_fills_no_table(fleet: Fleet) -> None:
    watched = await started(fleet)
    for _ in range(3 * MAX_PER_HOUR):
        watched.connected()
        watched.gone()
    watched.connected()
    await watched.history.aclose()
    assert len((await watched.history.of_device(DEVICE, 24)).intervals) == MAX_PER_HOUR
    assert told(await watched.history.of_device(DEVICE, 24))[-1] == ("connection", None, "")


async def test_a_taken_over_connection_ends_where_the_next_begins(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    fleet.clock.advance(minutes=1)
    watched.connected()
    await watched.history.aclose()
    assert told(await watched.history.of_device(DEVICE, 24)) == [
        ("connection", 1, "replaced"), ("connection", None, ""),
    ]  # fmt: skip


async def test_the_end_of_an_older_session_is_not_that_of_the_present_one(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.talks("s1")
    watched.talks("s2")
    watched.falls_silent("s1")
    await watched.history.aclose()
    assert told(await watched.history.of_device(DEVICE, 24))[-1] == ("session", None, "")


async def test_a_forgotten_device_leaves_no_history(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    watched.gone()
    watched.connected()
    await watched.history._changes.aclose()
    await administration.forget(fleet.store, DEVICE, fleet.clock())
    await watched.history._changes.start()
    watched.gone()  # what it ended with comes late
    await watched.history.aclose()
    async with fleet.store.read() as session:
        assert await session.scalar(select(func.count()).select_from(DeviceInterval)) == 0


async def test_old_intervals_and_runs_are_deleted(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    watched.gone()
    watched.connected()
    await watched.history.aclose()
    fleet.clock.now += KEPT_FOR + timedelta(hours=2)
    again = Watched(fleet)
    await again.history.start()
    await again.history._tell_alive()
    await again.history.aclose()
    async with fleet.store.read() as session:
        assert await session.scalar(select(func.count()).select_from(DeviceInterval)) == 0
        assert await session.scalar(select(func.count()).select_from(ServerRun)) == 1


async def test_a_new_owner_learns_nothing_of_the_connection_that_his_ownership_ended(fleet: Fleet) -> None:
    watched = await started(fleet)
    watched.connected()
    fleet.clock.advance(hours=2)
    moved_at = fleet.clock()
    fleet.clock.advance(seconds=1)
    watched.gone("revoked")  # written after all of before was deleted
    watched.connected()
    fleet.clock.advance(minutes=3)
    history = await watched.history.of_device(DEVICE, 24, moved_at)
    assert told(history) == [("connection", None, "")]
    await watched.history.aclose()
    history = await watched.history.of_device(DEVICE, 24, moved_at)
    assert [each.began_at >= moved_at for each in history.intervals] == [True]
