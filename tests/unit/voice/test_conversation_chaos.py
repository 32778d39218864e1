"""Whatever a device says and providers do, in whatever order: nothing raises, and nobody is left speaking."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.answer.context import Outcome
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.language.words import tokens
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.voice.speech.prepared import SpokenApologies
from mimi_mqtt.voice.turn.state import TurnState
from tests.fakes.speech_service import FakeService, Sound
from tests.fakes.voice import (
    DOWNLINK,
    SILENCE,
    SPEECH,
    UPLINK,
    FakeDevice,
    FakeHearing,
    FakeTools,
    MemoryLog,
    ScriptedLlm,
    ScriptedStt,
    ToneTts,
    Wait,
    services,
)
from tests.virtual_time import run

Step = tuple[str, Any]

_STEPS = st.one_of(
    st.tuples(st.just("listen"), st.sampled_from(["auto", "manual", "realtime"])),
    st.tuples(st.just("stop"), st.none()),
    st.tuples(st.just("wake"), st.sampled_from(["hi", ""])),
    st.tuples(st.just("abort"), st.sampled_from(["", "wake_word_detected"])),
    st.tuples(st.just("announce"), st.sampled_from(["Tea is ready.", " "])),
    st.tuples(st.just("speech"), st.integers(1, 15)),
    st.tuples(st.just("silence"), st.integers(1, 20)),
    st.tuples(st.just("pause"), st.floats(0, 5)),
    st.tuples(st.just("break"), st.none()),
)
_KINDS: Sequence[Callable[[str, str], ProviderError]] = ProviderError.__subclasses__()
_PROVIDER_FAULTS = st.sampled_from(_KINDS).map(lambda kind: kind("a provider", "down"))
_FAULTS = st.one_of(_PROVIDER_FAULTS, st.builds(lambda: RuntimeError("a bug")))
_SURROUNDINGS = st.tuples(
    st.sampled_from([0.0, 0.02, 0.3]), st.one_of(st.sampled_from([True, False]), _PROVIDER_FAULTS)
)
"""How late frames are heard, in batches; and whether apologies were prepared, or why they could not be."""
_ANSWERS = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from(["😊 Yes. ", "One sentence and another one. ", "", "…", "😀"]),
            st.floats(0, 3).map(Wait),
            st.just(ToolCall("1", "lamp", {})),
            st.just(ToolCall("2", "unknown", {})),
            _FAULTS,
        ),
        max_size=4,
    ),
    min_size=1,
    max_size=4,
)
_HEARD = st.lists(
    st.one_of(st.sampled_from(["hello", ""]), _FAULTS),
    min_size=1,
    max_size=4,
)


async def _play(
    steps: list[Step],
    llm: ScriptedLlm,
    heard: list[Any],
    tts: ToneTts,
    wake: str,
    around: tuple[float, bool | ProviderError],
    s2s: FakeService | None = None,
) -> None:
    device = FakeDevice()
    late_s, prepared = around
    made = services(
        stt=ScriptedStt(*heard),
        llm=llm,
        tts=tts,
        session=SessionSettings(watchdog_s=20),
        agent=AgentSettings.model_validate({"wake_word": wake}),
        voice=VoiceSettings(no_speech_timeout_s=4, max_utterance_s=5, s2s_idle_s=5),
        s2s=s2s,
    )
    made.hearing = FakeHearing(late_s=late_s)
    if prepared:
        failure = None if prepared is True else prepared
        made.spoken_apologies = SpokenApologies(ToneTts(error=failure), None, made.agent)
        made.spoken_apologies.prepare("en")
        await made.spoken_apologies.prepared()
    conversation = Conversation(
        ConversationSetup(
            device=DeviceFacts("aa-bb-cc-00-11-22"),
            user=UserFacts(),
            session_id="s1",
            uplink=UPLINK,
            downlink=DOWNLINK,
            output=device,
            tools=FakeTools(lamp="on"),
            language="en",
        ),
        made,
    )
    sequence = 0
    try:
        for step, value in steps:
            match step:
                case "listen":
                    conversation.listen(value)
                case "stop":
                    conversation.stop_listening()
                case "wake":
                    conversation.wake_word(value)
                case "abort":
                    conversation.abort(value)
                case "announce":
                    conversation.announce(value)
                case "pause":
                    await asyncio.sleep(value)
                case "break":
                    device.break_stream()
                case _:
                    for _ in range(value):
                        sequence += 1
                        now = asyncio.get_running_loop().time()
                        conversation.audio(SPEECH if step == "speech" else SILENCE, sequence, 0, now)
                        await asyncio.sleep(0.06)
        await asyncio.sleep(300)
        assert conversation.state in (TurnState.IDLE, TurnState.LISTENING)
        assert not device.speaking
        assert not conversation.busy
    finally:
        await conversation.aclose()
        made.encoders.close()
    assert not device.stray
    assert isinstance(made.log, MemoryLog)
    _check_records(made.log.records, device)
    speech = [what for what in device.said() if what in ("start", "stop")]
    assert speech == ["start", "stop"] * (len(speech) // 2)
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def _check_records(records: list[TurnRecord], device: FakeDevice) -> None:
    """Each turn is recorded once, and says nothing that the device was not sent."""
    numbers = [record.number for record in records]
    assert len(set(numbers)) == len(numbers)
    shown = {word for text in device.texts("sentence") for word in tokens(text)}
    alerted = device.count("alert") > 0
    for record in records:
        assert record.outcome in get_args(Outcome)
        assert record.outcome != "continued"
        for word in tokens(record.reply):  # the last one may have been cut off
            assert any(whole.startswith(word) for whole in shown), record.reply
        if record.outcome == "failed":
            assert alerted or shown, "a failure that nobody was told of"
    # A speech belongs to a turn: of none that was spoken the record is missing.
    assert device.count("start") <= len(records)


@settings(max_examples=150)
@given(
    st.lists(_STEPS, max_size=14),
    _ANSWERS,
    _HEARD,
    st.tuples(st.sampled_from(["", "One", "never"]), _FAULTS),
    st.sampled_from(["greet", "answer", "listen"]),
    _SURROUNDINGS,
)
def test_no_order_of_events_leaves_a_device_speaking_or_a_task_behind(
    steps: list[Step],
    answers: list[list[Any]],
    heard: list[Any],
    tts_fails: tuple[str, Exception],
    wake: str,
    around: tuple[float, bool | ProviderError],
) -> None:
    tts = ToneTts(error=tts_fails[1], fails_on=tts_fails[0])
    run(_play(steps, ScriptedLlm(*answers), heard, tts, wake, around))


_SPOKEN = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from(["😊 Yes. ", "One sentence and another one. ", "", "…"]),
            st.integers(1, 3_000).map(Sound),
            st.floats(0, 3).map(Wait),
            st.just(ToolCall("1", "lamp", {})),
            st.just(ToolCall("2", "unknown", {})),
            _FAULTS,
        ),
        max_size=5,
    ),
    min_size=1,
    max_size=4,
)
_UNDERSTOOD = st.lists(
    st.one_of(
        st.sampled_from(["hello", "", "стой"]),
        st.floats(0, 3).map(Wait),
        _PROVIDER_FAULTS,
    ),
    max_size=4,
)


@settings(max_examples=150)
@given(
    st.lists(_STEPS, max_size=14),
    _SPOKEN,
    _UNDERSTOOD,
    st.none() | _PROVIDER_FAULTS,
    st.none() | _PROVIDER_FAULTS,
    st.sampled_from(["greet", "answer", "listen"]),
    _SURROUNDINGS,
)
def test_nor_does_it_with_a_service_that_speaks_itself(
    steps: list[Step],
    answers: list[list[Any]],
    understood: list[Any],
    refuses: ProviderError | None,
    mute: ProviderError | None,
    wake: str,
    around: tuple[float, bool | ProviderError],
) -> None:
    service = FakeService(*answers, words=[*understood, "the end"])
    service.refuses, service.mute = refuses, mute
    run(_play(steps, ScriptedLlm(["Yes."]), ["hello"], ToneTts(), wake, around, service))
    assert all(session.closed for session in service.sessions)
    assert all(utterance.closed for session in service.sessions for utterance in session.utterances)
