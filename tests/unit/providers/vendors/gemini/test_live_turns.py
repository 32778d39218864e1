"""Which of the turns of Gemini's Live API is whose answer, whatever order things come in."""

from typing import Any

import pytest
from google.genai.types import LiveServerMessage
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderBadAnswer, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.llm import MAX_ANSWER_CHARS
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.s2s import AnswerDone, AnswerPart, DuplexEvent, UserWords
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.vendors.gemini import live_turns
from mimi_mqtt.providers.vendors.gemini.live_turns import Turns


def message(**fields: Any) -> LiveServerMessage:
    return LiveServerMessage.model_validate(fields)


def content(**fields: Any) -> LiveServerMessage:
    return message(server_content=fields)


def said(text: str) -> LiveServerMessage:
    return content(output_transcription={"text": text})


def heard(text: str, **fields: Any) -> LiveServerMessage:
    return content(input_transcription={"text": text, **fields})


def called(*ids: str) -> LiveServerMessage:
    return message(tool_call={"function_calls": [{"id": one, "name": "light", "args": {}} for one in ids]})


def counted(tokens: int) -> LiveServerMessage:
    return message(usage_metadata={"prompt_token_count": tokens, "response_token_count": 1})


MADE = content(generation_complete=True)
OVER = content(turn_complete=True)
INTERRUPTED = content(interrupted=True)


@pytest.fixture
def turns() -> Turns:
    """An utterance has just ended."""
    turns = Turns("gemini_live")
    turns.hear("u1")
    turns.heard()
    return turns


def tell(turns: Turns, *messages: LiveServerMessage) -> list[DuplexEvent]:
    """The events that follow from `messages`."""
    for one in messages:
        turns.take(one)
    events = [*turns.ready]
    turns.ready.clear()
    return events


def part(answer: str, text: str) -> AnswerPart:
    return AnswerPart(answer, TextDelta(text))


def test_what_is_said_unasked_is_kept_until_it_is_asked_for(turns: Turns) -> None:
    assert tell(turns, said("good "), said("day"), MADE, OVER) == []
    assert not turns.idle
    assert turns.claim("a1")
    assert tell(turns) == [part("a1", "good "), part("a1", "day"), AnswerDone("a1")]
    assert turns.idle


def test_what_is_said_after_it_was_asked_for_is_passed_on_at_once(turns: Turns) -> None:
    assert turns.claim("a1")
    assert tell(turns, said("good ")) == [part("a1", "good ")]
    assert tell(turns, MADE) == []
    assert turns.settling
    assert tell(turns, OVER) == [AnswerDone("a1")]


def test_a_model_may_choose_to_say_nothing(turns: Turns) -> None:
    turns.claim("a1")
    assert tell(turns, counted(3), OVER) == [
        AnswerPart("a1", Usage(3, 1)),
        AnswerDone("a1", silent=True),
    ]
    turns.hear("u2")
    turns.heard()
    assert tell(turns, content(turn_complete=True, turn_complete_reason="NEED_MORE_INPUT")) == []
    assert turns.claim("a2")
    assert tell(turns) == [AnswerDone("a2", silent=True)]
    turns.asked("a3")
    assert tell(turns, MADE) == []
    turns.settle()
    assert tell(turns) == [AnswerDone("a3", silent=True)]


def test_there_is_nothing_to_claim_twice(turns: Turns) -> None:
    assert turns.claim("a1")
    assert not turns.claim("a2")


def test_who_says_more_than_anybody_asked_for_is_stopped(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_turns, "MAX_HELD_PARTS", 2)
    with pytest.raises(ProviderBadAnswer):
        tell(turns, *[said("and ")] * 3)


def test_a_transcript_that_does_not_end_is_a_bad_answer(turns: Turns) -> None:
    with pytest.raises(ProviderBadAnswer):
        tell(turns, heard("x" * MAX_ANSWER_CHARS), heard("x"))


@pytest.mark.parametrize(
    "end", [[INTERRUPTED, OVER], [MADE, OVER], [content(interrupted=True, turn_complete=True)]]
)
def test_an_answer_that_is_replaced_leaves_nothing_behind(turns: Turns, end: list[LiveServerMessage]) -> None:
    tell(turns, said("old "))
    turns.asked("a2")
    assert tell(turns, said("old "), called("c1"), *end) == []
    assert tell(turns, said("new"), MADE, OVER) == [part("a2", "new"), AnswerDone("a2")]
    assert turns.idle


def test_the_end_of_one_answer_does_not_end_the_next(turns: Turns) -> None:
    turns.claim("a1")
    tell(turns, said("good day"), MADE)
    turns.settle()
    assert tell(turns) == [AnswerDone("a1")]
    turns.asked("a2")
    assert tell(turns, OVER) == []
    assert tell(turns, said("new"), OVER) == [part("a2", "new"), AnswerDone("a2")]


def test_an_answer_whose_end_was_never_announced_does_not_swallow_that_of_the_next(turns: Turns) -> None:
    turns.claim("a1")
    tell(turns, said("good day"), MADE)
    turns.settle()
    turns.asked("a2")
    assert tell(turns, said("new"), MADE, OVER)[-1] == AnswerDone("a2")


def test_a_question_ends_what_is_being_said(turns: Turns) -> None:
    turns.claim("a1")
    tell(turns, said("good "))
    turns.asked("a2")
    assert tell(turns) == [AnswerDone("a1")]


def test_only_an_answer_that_is_being_made_has_to_be_stopped(turns: Turns) -> None:
    assert not turns.cancel("a1")
    turns.claim("a1")
    tell(turns, said("good "))
    assert turns.making
    assert turns.cancel("a1")
    assert not turns.cancel("a1")


def test_an_answer_that_is_all_there_needs_no_stopping(turns: Turns) -> None:
    turns.claim("a1")
    tell(turns, said("good day"), MADE)
    assert not turns.cancel("a1")
    assert turns.idle


def test_an_answer_broken_off_is_told_so(turns: Turns) -> None:
    turns.claim("a1")
    *_, end = tell(turns, said("good "), INTERRUPTED)
    assert isinstance(end, AnswerDone)
    assert isinstance(end.error, ProviderUnavailable)
    assert tell(turns, OVER) == []


@pytest.mark.parametrize("silence", [OVER, content(waiting_for_input=True)])
def test_a_service_that_chooses_silence_is_not_waited_for(turns: Turns, silence: LiveServerMessage) -> None:
    turns.claim("a1")
    assert tell(turns, silence) == [AnswerDone("a1", silent=True)]


def test_calls_end_an_answer_and_are_waited_for(turns: Turns) -> None:
    turns.claim("a1")
    calls = [AnswerPart("a1", ToolCall(one, "light", {})) for one in ("c1", "c2")]
    assert tell(turns, called("c1", "c2")) == [*calls, AnswerDone("a1")]
    assert [*turns.calls] == ["c1", "c2"]
    assert tell(turns, message(tool_call_cancellation={"ids": ["c1", "c3"]})) == []
    assert [*turns.calls] == ["c2"]
    assert not turns.idle


def test_calls_that_nobody_has_asked_for_yet_are_the_next_answer(turns: Turns) -> None:
    turns.claim("a1")
    tell(turns, called("c1"))
    assert tell(turns, called("c2"), called("c3")) == []
    turns.given_results()
    assert turns.claim("a2")
    calls = [AnswerPart("a2", ToolCall(one, "light", {})) for one in ("c2", "c3")]
    assert tell(turns) == [*calls, AnswerDone("a2")]


def test_a_call_without_an_id_gets_one(turns: Turns) -> None:
    turns.claim("a1")
    call, _ = tell(turns, message(tool_call={"function_calls": [{"name": "light"}]}))
    assert isinstance(call, AnswerPart)
    assert isinstance(call.part, ToolCall)
    assert turns.calls == {call.part.id: "light"}


def test_the_last_count_of_a_turn_holds_and_later_ones_stand_alone(turns: Turns) -> None:
    turns.claim("a1")
    events = tell(turns, said("good day"), counted(5), counted(7), OVER)
    assert events[1:] == [AnswerPart("a1", Usage(7, 1)), AnswerDone("a1")]
    assert tell(turns, counted(9)) == [AnswerPart("", Usage(9, 1))]


def test_the_count_of_an_answer_that_is_not_wanted_is_not_the_next_ones(turns: Turns) -> None:
    turns.asked("a2")
    assert tell(turns, counted(5)) == [AnswerPart("", Usage(5, 1))]


def test_words_grow_and_are_final_with_the_answer(turns: Turns) -> None:
    turns.claim("a1")
    assert tell(turns, heard(" hello"), heard(" world"), said("good day"), OVER) == [
        UserWords("u1", Transcript("hello", False)),
        UserWords("u1", Transcript("hello world", False)),
        part("a1", "good day"),
        UserWords("u1", Transcript("hello world", True)),
        AnswerDone("a1"),
    ]
    assert not turns.settling


def test_late_words_are_final_when_no_more_come(turns: Turns) -> None:
    turns.claim("a1")
    tell(turns, said("good day"), OVER)
    before = turns.settling
    assert tell(turns, heard("hello")) == [UserWords("u1", Transcript("hello", False))]
    meanwhile = turns.settling
    turns.settle()
    assert tell(turns) == [UserWords("u1", Transcript("hello", True))]
    assert (before, meanwhile, turns.settling) == (False, True, False)


def test_words_are_not_final_while_somebody_speaks() -> None:
    turns = Turns("gemini_live")
    turns.hear("u1")
    assert tell(turns, heard("hello", finished=True)) == [UserWords("u1", Transcript("hello", False))]
    turns.heard()
    assert tell(turns, heard(" world", finished=True)) == [UserWords("u1", Transcript("hello world", True))]


def test_the_language_that_was_told_holds(turns: Turns) -> None:
    turns.claim("a1")
    *_, final, _ = tell(turns, heard("guten ", language_code="de"), heard("Tag"), said("good day"), OVER)
    assert final == UserWords("u1", Transcript("guten Tag", True, "de"))


def test_words_before_anybody_spoke_are_nobodys() -> None:
    assert tell(Turns("gemini_live"), heard("hello"), said("good day"), MADE, OVER) == []


def test_speech_is_cut_into_samples_wherever_its_pieces_end(turns: Turns) -> None:
    turns.claim("a1")
    blobs = [
        {"inline_data": {"data": data, "mime_type": "audio/pcm;rate=24000"}}
        for data in (b"\x01\x00\x02\x00\x03", b"\x00")
    ]
    events = tell(turns, *[content(model_turn={"parts": [blob]}) for blob in blobs], OVER)
    chunks = [event.part for event in events if isinstance(event, AnswerPart)]
    samples = [int(sample) for chunk in chunks if isinstance(chunk, SpeechChunk) for sample in chunk.pcm]
    assert samples == [1, 2, 3]


def test_a_message_with_nothing_in_it_is_a_bad_answer(turns: Turns) -> None:
    with pytest.raises(ProviderBadAnswer):
        turns.take(message())


def test_a_message_may_hold_several_things(turns: Turns) -> None:
    turns.claim("a1")
    blob = {"data": b"\x01\x00\x02\x00", "mime_type": "audio/pcm;rate=24000"}
    whole = content(
        input_transcription={"text": "hello", "finished": True},
        model_turn={"parts": [{"inline_data": blob}]},
        output_transcription={"text": "good day"},
        generation_complete=True,
        turn_complete=True,
    )
    words, speech, text, end = tell(turns, whole)
    assert words == UserWords("u1", Transcript("hello", True))
    assert isinstance(speech, AnswerPart)
    assert isinstance(speech.part, SpeechChunk)
    assert (text, end) == (part("a1", "good day"), AnswerDone("a1"))


def test_it_is_told_when_the_service_leaves(turns: Turns) -> None:
    assert not turns.leaving
    assert tell(turns, message(go_away={"time_left": "60s"})) == []
    assert turns.leaving


MESSAGES = [
    said("good "),
    heard("hello"),
    heard("hello", finished=True),
    content(model_turn={"parts": [{"inline_data": {"data": b"\1\0\2\0", "mime_type": "audio/pcm"}}]}),
    called("c1"),
    called("c2", "c3"),
    message(tool_call_cancellation={"ids": ["c1", "c2"]}),
    counted(5),
    MADE,
    OVER,
    INTERRUPTED,
    content(interrupted=True, turn_complete=True),
    content(turn_complete=True, interaction_status="IN_PROGRESS"),
    content(turn_complete=True, turn_complete_reason="RESPONSE_REJECTED"),
    content(waiting_for_input=True),
    message(go_away={"time_left": "1s"}),
]
TOLD = ["hear", "heard", "given_results", "asked", "claim", "cancel", "forget", "settle"]


@given(st.lists(st.sampled_from([*MESSAGES, *TOLD]), max_size=40))
def test_whatever_comes_in_whatever_order_an_answer_ends_once_and_nothing_follows(
    steps: list[LiveServerMessage | str],
) -> None:
    turns = Turns("gemini_live")
    asked: list[str] = []
    for step in steps:
        name = f"a{len(asked) + 1}"
        match step:
            case "hear":
                turns.hear("u")
            case "heard":
                turns.heard()
            case "given_results":
                turns.given_results()
            case "forget":
                turns.forget()
            case "asked":
                turns.asked(name)
                asked.append(name)
            case "claim":
                if turns.claim(name):
                    asked.append(name)
            case "cancel":
                turns.cancel(asked[-1] if asked else name)
            case "settle":
                if turns.settling:
                    turns.settle()
            case LiveServerMessage():
                turns.take(step)
    over: set[str] = set()
    for event in turns.ready:
        if isinstance(event, AnswerPart | AnswerDone) and event.answer:
            assert event.answer in asked
            assert event.answer not in over
        if isinstance(event, AnswerDone):
            over.add(event.answer)
    assert set(asked[:-1]) <= over
