"""The offline assistant in conversation: every intent, its tools, and what it does not know."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, ToolCall, ToolSpec
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.assistant import OfflineAssistant
from mimi_mqtt.providers.vendors.offline.assistant.languages import OTHERS, pack
from mimi_mqtt.providers.vendors.offline.assistant.phrases import FIXED, JOKES, TALK
from mimi_mqtt.voice.speech.emotions import EMOJI, leading_emotion
from tests.unit.providers.vendors.offline.assistant.dialogue import (
    GET_STATUS,
    RESULTS,
    SET_BRIGHTNESS,
    SET_VOLUME,
    TOOLS,
    ask,
    assistant,
    clock,
)

WHO = "I'm MiMi, your voice assistant. Without a language model I only know a few things."
UNKNOWN = FIXED["unknown"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what time is it", "It is four twenty-five in the afternoon."),
        ("What's the time?", "It is four twenty-five in the afternoon."),
        ("tell me the time please", "It is four twenty-five in the afternoon."),
        ("do you know what time it is", "It is four twenty-five in the afternoon."),
        ("hello, what time is it now?", "It is four twenty-five in the afternoon."),
        ("what is the date today", "Today is Saturday, the 21st of November 2026."),
        ("what's today’s date?", "Today is Saturday, the 21st of November 2026."),
        ("What day is it?", "Today is Saturday, the 21st of November 2026."),
        ("what year is it", "It is the year 2026."),
        ("what month is it", "It is November."),
        ("what is twelve times seven", "That is 84."),
        ("how much is ten divided by four", "That is 2.5."),
        ("what is 7 / 0", "Nobody can divide by zero, not even me."),
        ("what is 999999999999 times 999999999999", "That number is too large for me."),
        ("repeat after me the cat is on the roof", "the cat is on the roof"),
        ("Repeat after me: What time is it, MiMi?", "What time is it, MiMi?"),
        ("say I am a little robot", "I am a little robot"),
        ("repeat after me", "Say: repeat after me, and then the words."),
        ("thank you", "You're welcome!"),
        ("goodbye", "Goodbye! See you soon."),
        ("hello", "Hello! What can I do for you?"),
        ("who are you", WHO),
        ("what is your name?", WHO),
    ],
)  # fmt: skip
async def test_questions_that_need_no_tool_are_answered(question: str, answer: str) -> None:
    answered = await ask(question)
    assert answered.words == answer
    assert not answered.calls


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("how are you", "how are you"),
        ("how are you doing today?", "how are you"),
        ("good morning", "morning"),
        ("good afternoon", "afternoon"),
        ("good evening", "evening"),
        ("good night", "night"),
        ("nice to meet you", "meet"),
        ("can you hear me", "presence"),
        ("i love you", "love"),
        ("you are great", "praise"),
        ("you're so stupid", "insult"),
        ("are you a robot", "nature"),
        ("how old are you", "age"),
        ("where are you from", "home"),
        ("who made you", "maker"),
        ("sorry", "sorry"),
        ("never mind", "never mind"),
        ("yes please", "yes"),
        ("no", "no"),
    ],
)
async def test_small_talk_is_made(question: str, kind: str) -> None:
    assert (await ask(question)).text in TALK[kind]


@pytest.mark.parametrize(
    ("question", "tool", "arguments"),
    [
        ("set the volume to forty", SET_VOLUME, {"volume": 40}),
        ("please set the volume to seventy five percent", SET_VOLUME, {"volume": 75}),
        ("Set volume to 40.", SET_VOLUME, {"volume": 40}),
        ("volume 55%", SET_VOLUME, {"volume": 55}),
        ("turn the volume down to twenty", SET_VOLUME, {"volume": 20}),
        ("turn the volume up to a hundred", SET_VOLUME, {"volume": 100}),
        ("mute the sound", SET_VOLUME, {"volume": 0}),
        ("unmute", SET_VOLUME, {"volume": 50}),
        ("maximum volume", SET_VOLUME, {"volume": 100}),
        ("set the brightness to sixty", SET_BRIGHTNESS, {"brightness": 60}),
        ("full brightness", SET_BRIGHTNESS, {"brightness": 100}),
        ("minimum brightness", SET_BRIGHTNESS, {"brightness": 5}),
        ("set a timer for five minutes", "set_timer", {"seconds": 300, "label": ""}),
        ("start a ten minute timer", "set_timer", {"seconds": 600, "label": ""}),
        ("set a pasta timer for an hour and a half", "set_timer", {"seconds": 5400, "label": "pasta"}),
        ("set a timer for 20 seconds called tea", "set_timer", {"seconds": 20, "label": "tea"}),
        ("set another alarm for half an hour", "set_timer", {"seconds": 1800, "label": ""}),
        ("remind me in 5 minutes", "set_timer", {"seconds": 300, "label": ""}),
        ("how much time is left", "list_reminders", {}),
        ("what timers are running?", "list_reminders", {}),
        ("cancel the timer", "cancel_reminder", {"which": "timer"}),
        ("stop the pasta timer", "cancel_reminder", {"which": "pasta"}),
    ],
)
async def test_wishes_become_one_tool_call_and_a_word_about_it(
    question: str, tool: str, arguments: dict[str, object]
) -> None:
    answer = await ask(question)
    assert answer.calls == [(tool, arguments)]
    assert answer.words
    assert answer.text != UNKNOWN


@pytest.mark.parametrize(
    ("question", "tool", "arguments"),
    [
        ("louder", SET_VOLUME, {"volume": 80}),
        ("turn it up", SET_VOLUME, {"volume": 80}),
        ("turn the volume up", SET_VOLUME, {"volume": 80}),
        ("make it much louder", SET_VOLUME, {"volume": 90}),
        ("turn the volume up by thirty", SET_VOLUME, {"volume": 100}),
        ("make it quieter please", SET_VOLUME, {"volume": 60}),
        ("reduce the volume by 25", SET_VOLUME, {"volume": 45}),
        ("make the screen brighter", SET_BRIGHTNESS, {"brightness": 60}),
        ("dim the screen", SET_BRIGHTNESS, {"brightness": 40}),
    ],
)
async def test_relative_wishes_ask_for_the_status_first(
    question: str, tool: str, arguments: dict[str, object]
) -> None:
    answer = await ask(question)
    assert answer.calls == [(GET_STATUS, {}), (tool, arguments)]
    (value,) = arguments.values()
    assert f"now {value}." in answer.words


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is the volume", "The volume is 70."),
        ("how bright is the brightness", "The brightness is 50."),
        ("how much battery is left", "The battery is at 81 percent."),
    ],
)
async def test_the_status_is_told(question: str, answer: str) -> None:
    answered = await ask(question)
    assert answered.calls == [(GET_STATUS, {})]
    assert answered.words == answer


async def test_what_is_already_loudest_is_left_alone() -> None:
    answer = await ask("louder", results={**RESULTS, GET_STATUS: '{"audio_speaker": {"volume": 100}}'})
    assert [name for name, _ in answer.calls] == [GET_STATUS]
    assert answer.words == "The volume is already at 100."


@pytest.mark.parametrize(
    "status",
    [
        "", "no JSON", "[]", "null", "{}", '{"audio_speaker": 5}', '{"audio_speaker": {"volume": "loud"}}',
        '{"audio_speaker": {"volume": true}}', '{"audio_speaker": {"volume": 1e9}}', "[" * 5000,
        '{"audio_speaker": {"volume": NaN}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("question", ["louder", "what is the volume"])
async def test_a_status_without_the_volume_is_no_reason_to_guess(status: str, question: str) -> None:
    answer = await ask(question, results={**RESULTS, GET_STATUS: status})
    assert [name for name, _ in answer.calls] == [GET_STATUS]
    assert answer.text.startswith("😔")


@pytest.mark.parametrize(
    "status",
    [
        '{"audio_speaker": {"volume": 70}}',
        '"{\\"audio_speaker\\": {\\"volume\\": 70}}"',
        '{"status": {"parts": [{"audio_speaker": {"volume": 70.0}}]}}',
    ],
)
async def test_the_volume_is_found_wherever_it_is(status: str) -> None:
    answer = await ask("louder", results={**RESULTS, GET_STATUS: status})
    assert answer.calls[-1] == (SET_VOLUME, {"volume": 80})


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("false", "That didn't work."),
        (" False\n", "That didn't work."),
        ("Error: the amplifier is off.", "That didn't work: the amplifier is off."),
        ('{"success": false, "message": "no such device"}', "That didn't work: no such device."),
        ('{"result": false}', "That didn't work."),
        ("true", "The volume is now 30."),
        ('{"success": true}', "The volume is now 30."),
        ("{not JSON}", "The volume is now 30."),
    ],
)
async def test_a_volume_that_was_not_set_is_not_said_to_be(result: str, words: str) -> None:
    answer = await ask("set the volume to thirty", results={**RESULTS, SET_VOLUME: result})
    assert answer.words == words


@pytest.mark.parametrize(
    ("question", "failing"),
    [
        ("set the volume to forty", SET_VOLUME),
        ("louder", GET_STATUS),
        ("louder", SET_VOLUME),
        ("what is the volume", GET_STATUS),
        ("how much battery is left", GET_STATUS),
        ("set the brightness to ten", SET_BRIGHTNESS),
        ("set a timer for one minute", "set_timer"),
        ("cancel the timer", "cancel_reminder"),
        ("how much time is left", "list_reminders"),
    ],
)
async def test_a_failed_tool_is_told_in_plain_words(question: str, failing: str) -> None:
    answer = await ask(question, results={**RESULTS, failing: "error: the device did not answer."})
    assert answer.words == "That didn't work: the device did not answer."


@pytest.mark.parametrize(
    "question",
    ["set the volume to forty", "louder", "what is the volume", "set the brightness to ten", "mute",
     "set a timer for one minute", "cancel the timer", "how much time is left", "how much battery is left"],
)  # fmt: skip
async def test_without_the_tool_it_says_so(question: str) -> None:
    answer = await ask(question, tools=())
    assert not answer.calls
    assert answer.text.startswith("😔")


async def test_louder_without_a_status_asks_for_a_number() -> None:
    tools = tuple(tool for tool in TOOLS if tool.name != GET_STATUS)
    answer = await ask("louder", tools=tools)
    assert not answer.calls
    assert "number" in answer.words


async def test_the_tool_is_found_by_its_ending_and_its_argument_by_its_schema() -> None:
    tool = ToolSpec("speaker__set_volume", "", {"properties": {"level": {"type": "integer"}}})
    answer = await ask("set the volume to forty", tools=[tool], results={tool.name: "ok"})
    assert answer.calls == [(tool.name, {"level": 40})]


@pytest.mark.parametrize(
    "question",
    ["set the volume to one hundred and fifty", "set the volume to minus five", "set volume to 40.5",
     "set a timer for five", "set a timer for 3 days", "set a timer for thirty hours",
     "set a timer for 0 seconds"],
)  # fmt: skip
async def test_what_is_out_of_range_is_explained_and_not_done(question: str) -> None:
    answer = await ask(question)
    assert not answer.calls
    assert answer.text.startswith("🤔")


@pytest.mark.parametrize(
    "question",
    [
        "who won the second world war",
        "what is the capital of france",
        "turn on the lights in the kitchen",
        "the sound of music has five songs",
        "i heard louder music in the street of my town yesterday",
        "how do you spell elephant",
        "translate good night into spanish",
        "he set the table for four people",
        "what is the weather over there",
        "is the volume of a ball larger than that of a cube",
    ],
)
async def test_what_it_does_not_know_it_says_and_touches_nothing(question: str) -> None:
    answer = await ask(question)
    assert answer.text == UNKNOWN
    assert not answer.calls


async def test_the_second_unknown_question_is_answered_shortly() -> None:
    before = [ChatMessage("user", "why"), ChatMessage("assistant", UNKNOWN)]
    again = await ask("who won the second world war", before=before)
    assert again.text == FIXED["unknown again"]
    before += [ChatMessage("user", "how"), ChatMessage("assistant", again.text)]
    assert (await ask("what is love", before=before)).text == FIXED["unknown again"]


@pytest.mark.parametrize("nothing", ["", "   ", "...", "?!"])
async def test_nothing_said_is_asked_again(nothing: str) -> None:
    assert (await ask(nothing)).text == FIXED["nothing"]


async def test_no_message_at_all_is_nothing_said() -> None:
    events = [event async for event in assistant().chat([])]
    assert events


def in_words_of(language: str, key: str) -> str:
    texts = FIXED[key] if language == "en" else pack(language).replies[key]
    return texts if isinstance(texts, str) else texts[0]


@pytest.mark.parametrize("language", ["en", *OTHERS])
async def test_fixed_replies_come_in_the_users_language(language: str) -> None:
    options = ChatOptions(language=f"{language}-XX")
    assert (await ask("blah blah", options=options)).text == in_words_of(language, "unknown")
    assert (await ask("", options=options)).text == in_words_of(language, "nothing")


async def test_a_language_without_replies_gets_english_and_is_told_so() -> None:
    answer = await ask("blah", options=ChatOptions(language="sw"))
    assert (answer.text, answer.languages) == (UNKNOWN, {"en"})


@pytest.mark.parametrize(
    ("question", "language"),
    [("help", "en"), ("", "vi"), ("blah", "vi"), ("what is two plus two", "en"), ("ありがとう", "ja")],
)
async def test_the_answers_language_is_told(question: str, language: str) -> None:
    assert (await ask(question, options=ChatOptions(language="vi"))).languages == {language}


@pytest.mark.parametrize(
    ("question", "key", "language"),
    [
        ("Xin chào", "greeting", "vi"), ("cảm ơn bạn", "thanks", "vi"), ("tạm biệt", "goodbye", "vi"),
        ("Привет!", "greeting", "ru"), ("спасибо", "thanks", "ru"), ("пока", "goodbye", "ru"),
        ("こんにちは", "greeting", "ja"), ("ありがとう", "thanks", "ja"), ("さようなら", "goodbye", "ja"),
        ("你好！", "greeting", "zh"), ("谢谢", "thanks", "zh"), ("再见", "goodbye", "zh"),
    ],
)  # fmt: skip
async def test_greetings_are_answered_in_their_own_language(question: str, key: str, language: str) -> None:
    assert (await ask(question)).text == in_words_of(language, key)


@pytest.mark.parametrize(
    ("timezone", "time"),
    [
        ("Asia/Ho_Chi_Minh", "eleven twenty-five at night"),
        ("America/New_York", "eleven twenty-five in the morning"),
        (None, "four twenty-five in the afternoon"),
        ("Middle/Earth", "four twenty-five in the afternoon"),
        ("../../etc/passwd", "four twenty-five in the afternoon"),
    ],
)
async def test_time_is_told_in_the_users_zone(timezone: str | None, time: str) -> None:
    answer = await ask("what time is it", options=ChatOptions(timezone=timezone))
    assert answer.words == f"It is {time}."


async def test_another_citys_time_is_not_made_up() -> None:
    assert (await ask("what time is it in london")).words.startswith("I only know the time here.")


async def test_the_machines_own_clock_is_the_default() -> None:
    model = OfflineAssistant("offline", ProviderOptions(), Limits())
    before = datetime.now(ZoneInfo("Asia/Tokyo")).year
    answer = await ask("what year is it", model=model, options=ChatOptions(timezone="Asia/Tokyo"))
    assert answer.words in {f"It is the year {year}." for year in (before, before + 1)}


async def test_a_joke_is_not_told_again_soon() -> None:
    told: list[ChatMessage] = []
    for _ in JOKES:
        joke = (await ask("tell me another joke", before=told)).text
        assert joke in JOKES
        # What was spoken is remembered without its emoji.
        assert all(message.content != joke[2:] for message in told)
        told.append(ChatMessage("assistant", joke[2:]))
    assert (await ask("tell me a joke", before=told)).text[2:] != told[-1].content


async def test_the_name_comes_from_the_prompt() -> None:
    messages = [ChatMessage("system", "Hello. You are Luna, a pirate."), ChatMessage("user", "who are you")]
    text = "".join([getattr(event, "text", "") async for event in assistant().chat(messages)])
    assert "I'm Luna," in text


async def test_an_answer_comes_in_sentences_and_begins_with_a_mood() -> None:
    answer = await ask("hello")
    assert answer.deltas == ["😊 Hello! ", "What can I do for you?"]
    assert leading_emotion(answer.text) == ("happy", "😊")


@pytest.mark.parametrize(
    "text", [*JOKES, *(reply for replies in TALK.values() for reply in replies),
             *FIXED.values(), *(text for language in OTHERS for texts in pack(language).replies.values()
                                for text in ([texts] if isinstance(texts, str) else texts))],
)  # fmt: skip
def test_every_phrase_begins_with_a_mood_and_has_no_other_emoji(text: str) -> None:
    assert leading_emotion(text) is not None
    assert len(EMOJI.findall(text)) == 1
    assert text[1] == " "


async def test_results_of_earlier_turns_are_not_taken_for_this_one() -> None:
    call = ToolCall("offline_1", SET_VOLUME, {"volume": 10})
    before = [
        ChatMessage("user", "set the volume to ten"),
        ChatMessage("assistant", "", (call,)),
        ChatMessage("tool", "true", tool_call_id="offline_1"),
        ChatMessage("assistant", "The volume is now 10."),
    ]
    answer = await ask("set the volume to forty", before=before)
    assert answer.calls == [(SET_VOLUME, {"volume": 40})]


async def test_results_count_when_tools_are_no_longer_offered() -> None:
    call = ToolCall("offline_1", SET_VOLUME, {"volume": 40})
    messages = [
        ChatMessage("user", "set the volume to forty"),
        ChatMessage("assistant", "", (call,)),
        ChatMessage("tool", "true", tool_call_id="offline_1"),
    ]
    events = [event async for event in assistant().chat(messages, ())]
    assert "".join(getattr(event, "text", "") for event in events) == "😀 The volume is now 40."


async def test_check_really_answers() -> None:
    assert "42" in await assistant().check()


_WORDS = """
remind me every weekday monday tomorrow at seven thirty pm wake move reminder today list
what is the time volume brightness to set a timer for louder turn up down by forty minus 5 100 percent half
and hour minutes cancel called timer alarm joke repeat after me hello plus times over zero root of % . ' ’ -
battery mute help 你好 привет 😀 \x01 １２ ٣ ²
""".split()  # noqa: SIM905 - easier to read than sixty quoted words


@settings(max_examples=300)
@given(st.one_of(st.lists(st.sampled_from(_WORDS), max_size=12).map(" ".join), st.text(max_size=60)))
async def test_no_question_breaks_it(question: str) -> None:
    answer = await ask(question)
    assert answer.words


def test_the_clock_of_these_tests_is_a_saturday() -> None:
    assert clock(None).strftime("%A") == "Saturday"


END = ToolSpec("end_conversation", "", {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("goodbye", "en"), ("Bye!", "en"), ("okay, thank you, bye bye", "en"), ("see you tomorrow", "en"),
        ("that's all, thanks", "en"), ("stop talking", "en"), ("stop listening, please", "en"),
        ("tạm biệt", "vi"), ("до свидания", "ru"), ("さようなら", "ja"), ("再见", "zh"),
    ],
)  # fmt: skip
async def test_whoever_says_goodbye_ends_the_conversation(question: str, language: str) -> None:
    answer = await ask(question, tools=[*TOOLS, END], results={END.name: "The conversation ends."})
    assert answer.calls == [(END.name, {})]
    assert answer.text == in_words_of(language, "goodbye")


@pytest.mark.parametrize(
    "question",
    ["how do you say goodbye in french", "i will see you at the station", "thank you", "good night"],
)
async def test_whoever_only_talks_of_goodbyes_does_not(question: str) -> None:
    answer = await ask(question, tools=[*TOOLS, END], results={})
    assert answer.calls == []
    assert answer.text
