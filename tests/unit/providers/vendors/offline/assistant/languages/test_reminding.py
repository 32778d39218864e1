"""Which day and time is meant by what is said of a reminder. The clock is at 16:25 on a Saturday."""

import asyncio

import pytest

from mimi_mqtt.providers.contract.chat import ChatOptions
from tests.unit.providers.vendors.offline.assistant.dialogue import RESULTS, TOOLS, Answer, ask


async def said(phrase: str, language: str = "en") -> Answer:
    return await ask(phrase, options=ChatOptions(language=language))


@pytest.mark.parametrize(
    ("phrase", "time"),
    [
        ("Remind me at five to leave.", "2026-11-21T17:00"),
        ("Remind me at four to leave.", "2026-11-22T04:00"),  # the next four o'clock
        ("Remind me today at five to leave.", "2026-11-21T17:00"),
        ("Remind me tomorrow at three to leave.", "2026-11-22T15:00"),
        ("Remind me tomorrow at three in the morning to leave.", "2026-11-22T03:00"),
        ("Remind me tomorrow at nine to leave.", "2026-11-22T09:00"),
        ("Remind me on Saturday at 4 pm to leave.", "2026-11-28T16:00"),
        ("Remind me on Saturday at 6 pm to leave.", "2026-11-21T18:00"),
        ("Remind me at quarter to six to leave.", "2026-11-21T17:45"),
        ("Remind me at ten past eight in the evening to leave.", "2026-11-21T20:10"),
        ("Remind me at seven oh five in the morning to leave.", "2026-11-22T07:05"),
        ("Remind me at 18:30 to leave.", "2026-11-21T18:30"),
        ("Remind me at midnight to leave.", "2026-11-22T00:00"),
        ("Remind me in half an hour to leave.", "2026-11-21T16:55"),
        ("Remind me in an hour and a half to leave.", "2026-11-21T17:55"),
    ],
)
async def test_the_time_that_is_meant(phrase: str, time: str) -> None:
    assert (await said(phrase)).calls == [("set_reminder", {"time": time, "text": "leave", "repeat": ""})]


async def test_a_time_of_today_that_is_past_is_not_moved_to_another_day() -> None:
    answer = await said("Remind me today at 9 in the morning to leave.")
    assert (answer.calls, answer.words) == ([], "That time is past.")


@pytest.mark.parametrize(
    ("phrase", "repeat"),
    [
        ("Wake me every day at six.", "FREQ=DAILY"),
        ("Wake me every morning at six.", "FREQ=DAILY"),
        ("Wake me on weekends at six.", "FREQ=WEEKLY;BYDAY=SA,SU"),
        ("Wake me on Mondays at six.", "FREQ=WEEKLY;BYDAY=MO"),
        ("Wake me every Tuesday, Thursday and Sunday at six.", "FREQ=WEEKLY;BYDAY=TU,TH,SU"),
        ("Wake me on Monday at six.", ""),
    ],
)
async def test_the_repetition_that_is_meant(phrase: str, repeat: str) -> None:
    ((tool, arguments),) = (await said(phrase)).calls
    assert (tool, arguments["repeat"], arguments["text"]) == ("set_reminder", repeat, "")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("Remind me at 6 pm that Anna's train arrives.", "Anna's train arrives"),
        ("Remind me to buy milk, eggs and bread at 6 pm.", "buy milk, eggs and bread"),
        ("At 6 pm remind me to feed the Cat, please.", "feed the Cat"),
        ("Please set a reminder to water the plants at 6 pm.", "water the plants"),
        ("Remind me about the meeting at 6 pm.", "the meeting"),
        ("Remind me that Anna at 6 pm leaves for Rome.", "Anna leaves for Rome"),
        ("Remind me at 6 pm.", ""),
    ],
)
async def test_the_words_are_those_of_the_user(phrase: str, text: str) -> None:
    ((tool, arguments),) = (await said(phrase)).calls
    assert (tool, arguments["text"], arguments["time"]) == ("set_reminder", text, "2026-11-21T18:00")


@pytest.mark.parametrize(
    "phrase",
    [
        "Reminders are useful.",
        "Does this remind you of home?",
        "The alarm was loud.",
        "I have to wake up early.",
    ],
)
async def test_what_only_mentions_them_does_nothing(phrase: str) -> None:
    assert (await said(phrase)).calls == []


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "pt", "vi", "ru", "ja", "zh", "ko"])
async def test_long_sentences_end_soon(language: str) -> None:
    for part in (
        "remind me at 7 every monday in 5 minutes ",
        "明天九点提醒我每周一5分钟",
        "jeden Montag um 7 Uhr ",
        "@7:30 ",
    ):
        async with asyncio.timeout(20):
            await ask(part * 100, options=ChatOptions(language=language))


async def test_a_broken_list_is_survived() -> None:
    for told in ("", "nothing", '{"kind": "reminder"}', '[1]\n{"kind": "reminder", "time": 5, "text": "x"}'):
        answer = await ask(
            "What reminders do I have?", tools=TOOLS, results={**RESULTS, "list_reminders": told}
        )
        assert answer.words
