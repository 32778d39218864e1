import io
import wave

import pytest

from mimi_mqtt.app.stage_tests import MAX_RECORDING_S, StageTests, wav_pcm
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import Invalid


def wav(seconds: float = 0.5, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(int(seconds * rate) * channels * width))
    return content.getvalue()


def offline() -> StageTests:
    settings = Settings(providers={"stt": ["offline"], "llm": ["offline"]})
    return StageTests(lambda: settings, {})


def test_two_channels_become_one() -> None:
    pcm, rate = wav_pcm(wav(rate=48_000, channels=2))
    assert (str(pcm.dtype), pcm.size, rate) == ("int16", 24_000, 48_000)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"no sound at all",
        wav(seconds=0),
        wav(width=1),
        wav(rate=4_000),
        wav(channels=3),
        wav(seconds=MAX_RECORDING_S + 1),
        wav()[:40],
    ],
)
def test_what_is_no_short_recording_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        wav_pcm(content)


async def test_a_question_is_answered_with_its_times() -> None:
    result = await offline().think("how much is two plus three?")
    assert "5" in result.text
    assert result.asked == ("offline",)
    assert result.first_s is not None
    assert result.answer_s is not None
    assert result.first_s <= result.answer_s


async def test_a_provider_that_is_not_configured_says_what_it_lacks() -> None:
    settings = Settings(providers={"llm": ["openai"]})
    result = await StageTests(lambda: settings, {}).think("hello?")
    assert result.text == ""
    assert "OPENAI_API_KEY" in result.error
