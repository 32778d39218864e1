"""What conversations, search and statistics do on every kind of database: each check is run on SQLite by the
unit tests, and on PostgreSQL by the integration tests."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Invalid
from mimi_mqtt.store import backfill, conversation_pages, search, statistics, time_bounds
from mimi_mqtt.store.conversation_pages import Filter
from mimi_mqtt.store.conversations import save_turns
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.pruning import forget_oldest
from mimi_mqtt.store.tables import Conversation, Device
from mimi_mqtt.store.turn_record import ProviderUse, TurnRecord
from mimi_mqtt.store.viewers import EVERYTHING, MAX_OWNERS, Asker, Viewer, viewer_of

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
DAY = date(2026, 8, 1)
KITCHEN, HALL, OFFICE = (f"aa-bb-cc-00-11-0{number}" for number in range(1, 4))
BOB, EVE = "u-bob", "u-eve"

Check = Callable[[Store], Awaitable[None]]


def said(
    session_id: str = "s1",
    number: int = 1,
    *,
    device: str = KITCHEN,
    owner: str = BOB,
    heard: str = "turn on the light",
    reply: str = "It is on.",
    after_s: float = 0,
    **more: object,
) -> TurnRecord:
    record = TurnRecord(
        session_id, device, number, NOW + timedelta(seconds=after_s), "auto", heard, reply, "answered", {},
        kind="utterance", agent="default", owner_id=owner,
    )  # fmt: skip
    return replace(record, **more)  # type: ignore[arg-type]


async def save(store: Store, *records: TurnRecord) -> None:
    async with store.write() as session:
        await save_turns(session, records)


async def add_device(store: Store, device_id: str, owner: str, group: str = "") -> None:
    async with store.write() as session:
        session.add(
            Device(
                id=device_id,
                client_id="c",
                owner_id=owner,
                group_id=group,
                revision=1,
                created_at=NOW,
                updated_at=NOW,
                last_seen_at=NOW,
            )
        )


async def listed(store: Store, viewer: Viewer, wanted: Filter | None = None, limit: int = 50) -> list[str]:
    async with store.read() as session:
        found = await conversation_pages.page(session, viewer, wanted or Filter(), limit=limit)
        return [each.id for each in found]


async def found(store: Store, query: str, viewer: Viewer = EVERYTHING, **more: object) -> list[str]:
    async with store.read() as session:
        turns = await search.find(session, viewer, query, limit=50, **more)  # type: ignore[arg-type]
        return [each.turn.conversation_id for each in turns]


async def read(
    store: Store, by: statistics.By = "day", viewer: Viewer = EVERYTHING, **more: object
) -> Sequence[statistics.Statistic]:
    given = {"since": DAY - timedelta(days=400), "until": DAY + timedelta(days=1), "limit": 50, **more}
    since, until = given.pop("since"), given.pop("until")
    async with store.read() as session:
        return await statistics.read(session, viewer, by, since, until, **given)  # type: ignore[arg-type]


async def viewer(store: Store, user_id: str, *groups: str) -> Viewer:
    async with store.read() as session:
        return await viewer_of(session, Asker(user_id, frozenset(groups)))


async def words_left(store: Store) -> int:
    async with store.read() as session:
        return int((await session.execute(text("SELECT count(*) FROM turn_words"))).scalar_one())


# ── conversations ────────────────────────────────────────────────────────────────────────────────────────


async def a_turn_tells_what_it_was_and_used(store: Store) -> None:
    uses = (
        ProviderUse("stt", "whisper", audio_s=2.5),
        ProviderUse("llm", "openai", input_tokens=900, output_tokens=40, cost=0.002),
    )
    record = said(
        uses=uses, providers={"stt": "whisper", "llm": "openai"}, heard_s=2.5, spoken_s=1.5, error="timeout",
        outcome="failed", error_role="llm", tools_called=("get_time",), timings_ms={"first_audio": 800.0},
    )  # fmt: skip
    await save(store, record, said(number=2))
    async with store.read() as session:
        conversation = await conversation_pages.get(session, EVERYTHING, "s1")
        turn = await conversation_pages.turn(session, "s1", 1)
    assert conversation is not None
    assert turn is not None
    told = (conversation.agent, conversation.owner_id, conversation.turns, conversation.outcome)
    assert told == ("default", BOB, 2, "failed")
    assert (turn.kind, turn.agent, turn.error, turn.cost) == ("utterance", "default", "timeout", 0.002)
    assert turn.providers == {"stt": "whisper", "llm": "openai"}
    assert turn.uses == [
        {"role": "stt", "name": "whisper", "audio_s": 2.5},
        {"role": "llm", "name": "openai", "input_tokens": 900, "output_tokens": 40, "cost": 0.002},
    ]
    assert (turn.heard_s, turn.spoken_s) == (2.5, 1.5)


async def pages_tell_each_conversation_once_the_latest_first(store: Store) -> None:
    # Two at a time have their last turns in the same moment.
    await save(store, *(said(f"s{number:02}", after_s=number // 2) for number in range(11)))
    seen: list[str] = []
    before = None
    async with store.read() as session:
        while page := await conversation_pages.page(session, EVERYTHING, Filter(), limit=3, before=before):
            seen += [each.id for each in page]
            before = page[-1].last_turn_at, page[-1].id
    assert seen == [f"s{number:02}" for number in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)]


async def filters_of_the_list_must_all_fit(store: Store) -> None:
    await save(
        store,
        said("s1", agent="chef"),
        said("s2", device=HALL, outcome="failed", after_s=10),
        said("s3", device=HALL, after_s=20),
    )
    at = NOW + timedelta(seconds=10)
    assert await listed(store, EVERYTHING, Filter(device_id=HALL)) == ["s3", "s2"]
    assert await listed(store, EVERYTHING, Filter(agent="chef")) == ["s1"]
    assert await listed(store, EVERYTHING, Filter(outcome="failed")) == ["s2"]
    assert await listed(store, EVERYTHING, Filter(since=at)) == ["s3", "s2"]
    assert await listed(store, EVERYTHING, Filter(until=at)) == ["s1"]
    assert await listed(store, EVERYTHING, Filter(device_id=HALL, outcome="answered")) == ["s3"]


async def a_member_sees_what_is_his_and_what_is_shared_since_its_owner_has_it(store: Store) -> None:
    await add_device(store, KITCHEN, BOB, "g-home")
    await add_device(store, HALL, EVE)
    await save(
        store,
        said("bobs", owner=BOB, after_s=1),
        said("before-bob", owner=EVE, heard="my secret", after_s=2),  # the kitchen was Eve's then
        said("moved", device=HALL, owner=BOB, heard="my secret", after_s=3),  # the hall was Bob's then
        said("nobodys", owner="", after_s=4),
        said("eves", device=HALL, owner=EVE, after_s=5),
    )
    bob, eve = await viewer(store, BOB), await viewer(store, EVE)
    guest, stranger = await viewer(store, "u-guest", "g-home"), await viewer(store, "u-x", "g-other")
    assert await listed(store, bob) == ["moved", "bobs"]
    assert await listed(store, eve) == ["eves", "before-bob"]
    assert await listed(store, guest) == ["bobs"]
    assert await listed(store, stranger) == []
    assert await listed(store, await viewer(store, "", "")) == []
    assert len(await listed(store, EVERYTHING)) == 5
    assert await listed(store, bob, Filter(device_id=HALL)) == ["moved"]
    assert await found(store, "secret", bob) == ["moved"]
    assert await found(store, "secret", eve) == ["before-bob"]
    assert await found(store, "secret", guest) == []
    assert await found(store, "secret", stranger) == []
    assert await found(store, "secret") == ["moved", "before-bob"]
    async with store.read() as session:
        for seer, id_, sees in ((guest, "bobs", True), (guest, "before-bob", False), (eve, "moved", False)):
            assert (await conversation_pages.get(session, seer, id_) is not None) is sees


async def a_guest_pages_through_his_own_and_what_is_shared(store: Store) -> None:
    await add_device(store, KITCHEN, BOB, "g-home")
    await add_device(store, OFFICE, "", "g-home")
    records = [
        said(f"s{number:02}", device=(KITCHEN, HALL, OFFICE)[number % 3],
             owner=(BOB, "u-guest", "")[number % 3], after_s=number)
        for number in range(12)
    ]  # fmt: skip
    await save(store, *records)
    guest = await viewer(store, "u-guest", "g-home")
    seen: list[str] = []
    before = None
    async with store.read() as session:
        while page := await conversation_pages.page(session, guest, Filter(), limit=5, before=before):
            seen += [each.id for each in page]
            before = page[-1].last_turn_at, page[-1].id
    assert seen == [f"s{number:02}" for number in range(11, -1, -1)]


async def a_member_of_large_groups_sees_what_is_shared_by_many(store: Store) -> None:
    owners = MAX_OWNERS + 1
    async with store.write() as session:
        session.add_all(
            Device(
                id=f"aa-bb-cc-00-{number // 256:02x}-{number % 256:02x}", client_id="c",
                owner_id=f"u-{number}", group_id="g-school", revision=1,
                created_at=NOW, updated_at=NOW, last_seen_at=NOW,
            )
            for number in range(owners)
        )  # fmt: skip
    await save(
        store,
        *(
            said(f"s{number:03}-{turn:03}", device=f"aa-bb-cc-00-00-{number:02x}", owner=f"u-{number}",
                 after_s=turn * 10 + number)
            for number in range(2)
            for turn in range(150)
        ),
    )  # fmt: skip
    pupil = await viewer(store, "u-pupil", "g-school")
    assert len(pupil.shared) == MAX_OWNERS
    assert (await listed(store, pupil, limit=201))[:3] == ["s001-149", "s000-149", "s001-148"]
    assert len(await listed(store, pupil, limit=201)) == 201
    assert len(await found(store, "light", pupil)) == 50
    assert [each.numbers["turns"] for each in await read(store, "agent", pupil)] == [300]


async def deletion_takes_what_is_seen_and_wanted_with_its_words(store: Store) -> None:
    await save(store, said("s1"), said("s1", 2), said("s2", device=HALL, owner=EVE), said("s3", after_s=60))
    async with store.write() as session:
        wanted = Filter(until=NOW + timedelta(seconds=30))
        assert await conversation_pages.delete_some(session, Viewer(BOB), wanted) == 1
    assert await listed(store, EVERYTHING) == ["s3", "s2"]
    assert await words_left(store) == 2
    assert await found(store, "light") == ["s3", "s2"]
    async with store.write() as session:
        assert await conversation_pages.forget_person(session, "") == 0
        assert await conversation_pages.forget_person(session, EVE) == 1
        assert await forget_oldest(session, 10) == 1
    assert await words_left(store) == 0


# ── search ───────────────────────────────────────────────────────────────────────────────────────────────

LANGUAGES = {
    "en": ("What's the weather in London tomorrow?", "weather tomorrow"),
    "de": ("Schalte bitte die Küchenlampe aus", "kuchenlampe"),
    "fr": ("Éteins la lumière de l'entrée", "lumiere entree"),
    "es": ("¿Qué hora es en España mañana?", "españa MAÑANA"),
    "pt": ("Não esqueça a reunião de amanhã", "reuniao"),
    "ru": ("Включи свет в гостиной", "СВЕТ гостиной"),
    "vi": ("Bật đèn phòng khách lên", "den phong"),
    "zh": ("打开客厅的灯", "客厅"),
    "ja": ("リビングの電気をつけて", "電気"),
    "ko": ("거실에 불을 켜 줘", "거실"),
}


async def every_language_is_found_and_no_other(store: Store) -> None:
    await save(store, *(said(code, heard=spoken, reply="") for code, (spoken, _) in LANGUAGES.items()))
    for code, (spoken, query) in LANGUAGES.items():
        assert await found(store, query) == [code], query
        assert await found(store, spoken) == [code], spoken


async def one_character_and_the_beginning_of_a_word_are_found(store: Store) -> None:
    await save(
        store, said("zh", heard="打开客厅的灯", reply=""), said("en", heard="the thermostat", reply="")
    )
    assert await found(store, "灯") == ["zh"]
    assert await found(store, "客") == ["zh"]
    assert await found(store, "的") == ["zh"]
    assert await found(store, "thermo*") == ["en"]
    assert await found(store, "thermo* the") == ["en"]
    assert await found(store, "thermo the") == []
    assert await found(store, "厅灯") == []


async def all_words_must_be_in_one_turn_heard_or_replied(store: Store) -> None:
    await save(store, said("s1", 1, heard="red", reply="blue"), said("s1", 2, heard="red", reply="green"))
    assert await found(store, "red") == ["s1", "s1"]
    assert await found(store, "blue red") == ["s1"]
    assert await found(store, "blue green") == []


async def signs_of_the_query_languages_are_no_signs(store: Store) -> None:
    await save(store, said(heard='it\'s "quoted" AND (so) \\ on: a*b', reply="NOT NEAR"))
    for query in (
        '"quoted"',
        "it's",
        "quoted AND so",
        "a*b",
        "NOT NEAR",
        "on: a",
        "(so)",
        "\\",
        "so | x & !y",
    ):
        if query == "\\":
            with pytest.raises(Invalid):
                await found(store, query)
        elif "x" in query:
            assert await found(store, query) == []
        else:
            assert await found(store, query) == ["s1"], query
    assert await found(store, f":o{BOB.encode().hex()}") == []


async def search_is_paged_and_filtered(store: Store) -> None:
    await save(store, *(said(f"s{number}", device=(KITCHEN, HALL)[number % 2], after_s=number)
                        for number in range(6)))  # fmt: skip
    assert await found(store, "light", device_id=HALL) == ["s5", "s3", "s1"]
    assert await found(store, "light", since=NOW + timedelta(seconds=4)) == ["s5", "s4"]
    assert await found(store, "light", until=NOW + timedelta(seconds=1), agent="default") == ["s0"]
    assert await found(store, "light", agent="chef") == []
    async with store.read() as session:
        first = await search.find(session, EVERYTHING, "light", limit=2)
        rest = await search.find(session, EVERYTHING, "light", limit=9, before=first[-1].turn.id)
    assert [each.conversation.id for each in first] == ["s5", "s4"]
    assert [each.conversation.id for each in rest] == ["s3", "s2", "s1", "s0"]


async def a_turn_that_is_written_again_is_found_by_its_new_words_and_counted_once(store: Store) -> None:
    await save(store, said(heard="apple"))
    await save(store, said(heard="pear"))
    assert await found(store, "apple") == []
    assert await found(store, "pear") == ["s1"]
    assert await words_left(store) == 1
    assert [each.numbers["turns"] for each in await read(store)] == [1]
    async with store.read() as session:
        conversation = await session.get(Conversation, "s1")
        assert conversation is not None
        assert conversation.turns == 1


async def _count_for_ever(session: AsyncSession, *_: object) -> None:
    sqlite = (await session.connection()).dialect.name == "sqlite"
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    await session.execute(text(endless if sqlite else "SELECT pg_sleep(30)"))


async def a_query_that_takes_too_long_ends_and_the_connection_goes_on(store: Store) -> None:
    async def ask(session: AsyncSession) -> None:
        async with time_bounds.within(session, 0.05, "ask for less"):
            await _count_for_ever(session)

    async with store.read() as session:
        with pytest.raises(Invalid, match="ask for less"):
            await ask(session)
    await save(store, said())
    assert await found(store, "light") == ["s1"]


async def statistics_that_take_too_long_are_refused(store: Store) -> None:
    await save(store, said())
    with pytest.MonkeyPatch.context() as slow:
        slow.setattr(statistics, "READ_S", 0.05)
        slow.setattr(statistics, "_errors", _count_for_ever)
        with pytest.raises(Invalid, match="shorter time"):
            await read(store, "day")
    assert len(await read(store, "day")) == 1


# ── statistics ───────────────────────────────────────────────────────────────────────────────────────────


async def statistics_add_up_days_devices_agents_and_providers(store: Store) -> None:
    llm = ProviderUse("llm", "openai", input_tokens=100, output_tokens=10, cost=0.5)
    await save(
        store,
        said("s1", uses=(llm,), timings_ms={"first_audio": 800.0, "transcript": 200.0, "first_token": 600.0},
             heard_s=30, spoken_s=30, providers={"llm": "openai"}),
        said("s2", device=HALL, owner=EVE, agent="chef", uses=(replace(llm, name="groq"),), spoken_s=60),
        said("s3", outcome="failed", error="timeout", error_role="llm", providers={"llm": "openai"},
             started_at=NOW - timedelta(days=40)),
    )  # fmt: skip
    days = await read(store)
    assert [(each.day, each.numbers["turns"], each.numbers["failed"]) for each in days] == [
        (DAY - timedelta(days=40), 1, 1), (DAY, 2, 0)
    ]  # fmt: skip
    assert days[0].errors == {"timeout": 1}
    assert days[1].errors == {}
    assert days[1].numbers["cost"] == 1.0
    assert days[1].numbers["input_tokens"] == 200
    assert days[1].numbers["heard_s"] + days[1].numbers["spoken_s"] == 120
    assert days[1].p50_ms == pytest.approx(800, rel=0.1)
    devices = await read(store, "device")
    assert [(each.device_id, each.numbers["turns"]) for each in devices] == [(KITCHEN, 2), (HALL, 1)]
    agents = await read(store, "agent")
    assert [(each.agent, each.numbers["turns"]) for each in agents] == [("chef", 1), ("default", 2)]
    providers = await read(store, "provider", since=DAY)
    told = [(each.role, each.provider, each.numbers["turns"], each.numbers["cost"]) for each in providers]
    assert told == [("llm", "groq", 1, 0.5), ("llm", "openai", 1, 0.5)]
    assert providers[1].p95_ms == pytest.approx(400, rel=0.1)
    assert [each.numbers["turns"] for each in await read(store, agent="chef")] == [1]
    assert [each.numbers["turns"] for each in await read(store, device_id=KITCHEN, since=DAY)] == [1]
    page = await read(store, "provider", since=DAY, limit=1, after=("llm", "groq"))
    assert [each.provider for each in page] == ["openai"]
    assert [each.device_id for each in await read(store, "device", after=(KITCHEN,))] == [HALL]


async def a_member_is_told_the_statistics_of_what_he_may_see(store: Store) -> None:
    await add_device(store, KITCHEN, BOB, "g-home")
    use = (ProviderUse("llm", "openai"),)
    await save(
        store,
        said("s1", uses=use),
        said("s2", owner=EVE, error="timeout", outcome="failed", uses=use),
        said("s3", device=HALL, owner="", uses=use),
    )
    for user, groups, turns in ((BOB, (), 1), (EVE, (), 1), ("u-guest", ("g-home",), 1), ("u-x", (), 0)):
        seer = await viewer(store, user, *groups)
        for by in ("day", "device", "agent", "provider"):
            told = await read(store, by, seer)
            assert sum(each.numbers["turns"] for each in told) == turns, (user, by)
            errors = sum(sum(each.errors.values()) for each in told)
            assert errors == (1 if user == EVE and by != "provider" else 0), (user, by)
        assert await read(store, "day", seer, device_id="") == []
    assert [each.numbers["turns"] for each in await read(store)] == [3]


async def days_are_those_of_the_servers_zone(store: Store) -> None:
    late = said(started_at=datetime(2026, 8, 1, 20, 0, tzinfo=UTC))
    async with store.write() as session:
        await save_turns(session, [late], ZoneInfo("Asia/Ho_Chi_Minh"))
    assert [each.day for each in await read(store)] == [date(2026, 8, 2)]


async def statistics_stay_when_conversations_go_and_go_with_the_person_or_their_age(store: Store) -> None:
    await save(
        store,
        said("s1", outcome="failed", error="timeout"),
        said("s2", owner=EVE, device=HALL),
        said("s3", started_at=NOW - timedelta(days=300), outcome="failed", error="timeout"),
    )
    async with store.write() as session:
        assert await forget_oldest(session, 10) == 3
    assert sum(each.numbers["turns"] for each in await read(store)) == 3
    async with store.write() as session:
        assert await statistics.forget_person(session, "") == 0
        while await statistics.forget_person(session, BOB):
            pass
    assert await read(store, "day", Viewer(BOB)) == []
    assert [each.device_id for each in await read(store, "device")] == [HALL]
    assert sum(each.numbers["turns"] for each in await read(store)) == 3
    async with store.write() as session:
        while await statistics.forget_days(session, DAY):
            pass
    assert [each.day for each in await read(store)] == [DAY]
    async with store.write() as session:
        while await statistics.forget_device(session, HALL):
            pass
    assert await read(store, "device") == []


# ── turns of before ──────────────────────────────────────────────────────────────────────────────────────


async def turns_of_before_are_counted_and_indexed_once_in_the_background(store: Store) -> None:
    await save(store, *(said(f"s{number % 3}", number, after_s=number) for number in range(1, 8)))
    async with store.write() as session:  # as the migration leaves them
        await session.execute(text("UPDATE turns SET kind = ''"))
        await session.execute(text("UPDATE conversations SET turns = 0, outcome = ''"))
        for table in ("daily_statistics", "daily_errors", "turn_words"):
            await session.execute(text(f"DELETE FROM {table}"))
        await session.execute(text("UPDATE backfills SET below = (SELECT max(id) + 1 FROM turns)"))
    await save(store, said("new", after_s=99))
    rounds = 0
    for _ in range(50):
        async with store.write() as session:
            if not await backfill.next_turns(session, UTC, 2):
                break
        rounds += 1
    assert rounds == 8  # four each: 2 + 2 + 2 + 1
    assert [each.numbers["turns"] for each in await read(store)] == [8]
    assert len(await found(store, "light")) == 8
    async with store.read() as session:
        known = await conversation_pages.page(session, EVERYTHING, Filter(), limit=9)
    assert [(each.id, each.turns, each.outcome) for each in known] == [
        ("new", 1, "answered"), ("s1", 3, "answered"), ("s0", 2, "answered"), ("s2", 2, "answered")
    ]  # fmt: skip


CHECKS: tuple[Check, ...] = (
    a_turn_tells_what_it_was_and_used,
    pages_tell_each_conversation_once_the_latest_first,
    filters_of_the_list_must_all_fit,
    a_member_sees_what_is_his_and_what_is_shared_since_its_owner_has_it,
    a_guest_pages_through_his_own_and_what_is_shared,
    a_member_of_large_groups_sees_what_is_shared_by_many,
    deletion_takes_what_is_seen_and_wanted_with_its_words,
    every_language_is_found_and_no_other,
    one_character_and_the_beginning_of_a_word_are_found,
    all_words_must_be_in_one_turn_heard_or_replied,
    signs_of_the_query_languages_are_no_signs,
    search_is_paged_and_filtered,
    a_turn_that_is_written_again_is_found_by_its_new_words_and_counted_once,
    a_query_that_takes_too_long_ends_and_the_connection_goes_on,
    statistics_that_take_too_long_are_refused,
    statistics_add_up_days_devices_agents_and_providers,
    a_member_is_told_the_statistics_of_what_he_may_see,
    days_are_those_of_the_servers_zone,
    statistics_stay_when_conversations_go_and_go_with_the_person_or_their_age,
    turns_of_before_are_counted_and_indexed_once_in_the_background,
)


async def clear(store: Store) -> None:
    """Empties the tables that a check fills."""
    async with store.write() as session:
        for table in ("conversations", "devices", "daily_statistics", "daily_errors"):
            await session.execute(text(f"DELETE FROM {table}"))
        await session.execute(text("UPDATE backfills SET below = 0"))
