"""Live sessions over REST."""

from mimi_mqtt.fleet.entry import DeviceInfo
from tests.fakes.api import client
from tests.fakes.api_scene import BOBS, NOBODYS, SESSION, SHARED, Scene, session


async def test_a_session_is_told_with_its_audio() -> None:
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        (listed,) = (await api.get("/sessions")).json()["items"]
        assert (await api.get(f"/sessions/{SESSION}")).json() == listed
    assert (listed["device_name"], listed["state"], listed["agent"]) == ("Kitchen", "speaking", "assistant")
    assert (listed["audio"]["loss_percent"], listed["audio"]["jitter_ms"]) == (5.0, 3.2)


async def test_lists_have_pages_and_may_be_of_one_device() -> None:
    scene = Scene()
    scene.sessions.sessions = [
        session(f"{number:032x}", BOBS if number % 3 else SHARED if number % 2 else NOBODYS)
        for number in range(12)
    ]
    async with client(as_="bob", **scene.parts) as api:
        found, path = [], "/sessions?limit=2"
        while path:
            page = (await api.get(path)).json()
            found += [each["id"] for each in page["items"]]
            path = f"/sessions?limit=2&cursor={page['next']}" if page["next"] else ""
        of_one = (await api.get(f"/sessions?device={SHARED}")).json()["items"]
        others = await api.get(f"/sessions?device={NOBODYS}")
    assert found == [f"{number:032x}" for number in range(12) if number % 6]
    assert {each["device_id"] for each in of_one} == {SHARED}
    assert others.status_code == 404


async def test_a_session_is_ended_once() -> None:
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        assert (await api.delete(f"/sessions/{SESSION}")).status_code == 204
        assert scene.control.asked == [("end", BOBS, "command")]
        assert (await api.delete(f"/sessions/{SESSION}")).status_code == 404  # it is over meanwhile
        scene.sessions.sessions.clear()
        assert (await api.delete(f"/sessions/{SESSION}")).status_code == 404


async def test_a_session_of_a_device_that_was_given_away_is_the_new_owners() -> None:
    scene = Scene()
    scene.directory[BOBS] = DeviceInfo(BOBS, owner_id="u-eve")
    for as_, status in (("bob", 404), ("eve", 200)):
        async with client(as_=as_, **scene.parts) as api:
            assert (await api.get(f"/sessions/{SESSION}")).status_code == status
