"""Whatever a device says and providers do, in whatever order: nothing raises, and nobody is left speaking."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.config.settings import SessionSettings, VoiceSettings
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.voice.conversation import Conversation
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
_KINDS: list[Callable[[str, str], ProviderError]] = [
    ProviderUnavailable,
    ProviderTimeout,
    ProviderRefused,
    ProviderBadAnswer,
    ProviderRateLimited,
]
_PROVIDER_FAULTS = st.sampled_from(_KINDS).map(lambda kind: kind("a provider", "down"))
_FAULTS = st.one_of(_PROVIDER_FAULTS, st.builds(lambda: RuntimeError("a bug")))
_SURROUNDINGS = st.tuples(st.sampled_from([None, 0.02, 0.3]), st.booleans())
"""How late frames are heard, in batches; and whether apologies were prepared."""
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
    around: tuple[float | None, bool],
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
        made.spoken_apologies = SpokenApologies(ToneTts(), None, made.agent)
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
    speech = [what for what in device.said() if what in ("start", "stop")]
    assert speech == ["start", "stop"] * (len(speech) // 2)
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@settings(max_examples=150)
@given(
    st.lists(_STEPS, max_size=14),
    _ANSWERS,
    _HEARD,
    st.sampled_from(["", "One", "never"]),
    st.sampled_from(["greet", "answer", "listen"]),
    _SURROUNDINGS,
)
def test_no_order_of_events_leaves_a_device_speaking_or_a_task_behind(
    steps: list[Step],
    answers: list[list[Any]],
    heard: list[Any],
    tts_fails_on: str,
    wake: str,
    around: tuple[float | None, bool],
) -> None:
    tts = ToneTts(error=ProviderUnavailable("tts", "down"), fails_on=tts_fails_on)
    run(_play(steps, ScriptedLlm(*answers), heard, tts, wake, around))


_SPOKEN = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from(["😊 Yes. ", "One sentence and another one. ", "", "…"]),
            st.integers(1, 3_000).map(Sound),
            st.floats(0, 3).map(Wait),
            st.just(ToolCall("1", "lamp", {})),
            st.just(ToolCall("2", "unknown", {})),
            _PROVIDER_FAULTS,
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
        st.builds(lambda: ProviderUnavailable("s2s", "no text")),
    ),
    max_size=4,
)


@settings(max_examples=150)
@given(
    st.lists(_STEPS, max_size=14),
    _SPOKEN,
    _UNDERSTOOD,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["greet", "answer", "listen"]),
    _SURROUNDINGS,
)
def test_nor_does_it_with_a_service_that_speaks_itself(
    steps: list[Step],
    answers: list[list[Any]],
    understood: list[Any],
    refuses: bool,
    mute: bool,
    wake: str,
    around: tuple[float | None, bool],
) -> None:
    service = FakeService(*answers, words=[*understood, "the end"])
    down = ProviderUnavailable("s2s", "down")
    service.refuses = down if refuses else None
    service.mute = down if mute else None
    run(_play(steps, ScriptedLlm(["Yes."]), ["hello"], ToneTts(), wake, around, service))
    assert all(session.closed for session in service.sessions)
    assert all(utterance.closed for session in service.sessions for utterance in session.utterances)
