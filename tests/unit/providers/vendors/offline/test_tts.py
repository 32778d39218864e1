"""Speech from the real espeak-ng: level, silence, languages, voices, and text that is not to be spoken."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline import tts as espeak
from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine, EspeakFailure, Speech, shared_engine
from mimi_mqtt.providers.vendors.offline.tts import Espeak, EspeakOptions

RATE = 22_050
ENGLISH = VoiceOptions()


@pytest.fixture
async def voice() -> AsyncIterator[Espeak]:
    provider = Espeak("offline", EspeakOptions(), Limits(retries=0))
    await provider.start()
    yield provider
    await provider.aclose()


async def spoken(provider: Espeak, text: str, options: VoiceOptions = ENGLISH) -> Pcm:
    chunks = [chunk.pcm async for chunk in provider.speak(text, options)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


def ms(samples: int) -> float:
    return samples * 1000 / RATE


def alike(first: Pcm, second: Pcm) -> bool:
    """True when both say the same in the same voice: the library does not make the same samples twice."""
    if abs(first.size - second.size) > RATE // 50:
        return False
    one, other = (_spectrogram(pcm) for pcm in (first, second))
    frames = min(len(one), len(other))
    distance = np.abs(one[:frames] - other[:frames]).mean()
    return bool(distance < 0.1)


def _spectrogram(pcm: Pcm) -> NDArray[np.float64]:
    """Levels in 24 bands and 20 ms frames, as logarithms."""
    frames = pcm[: pcm.size // 441 * 441].reshape(-1, 441).astype(np.float64)
    power = np.abs(np.fft.rfft(frames * np.hanning(441), axis=1))[:, :216] ** 2
    levels: NDArray[np.float64] = np.log10(power.reshape(len(frames), 24, 9).mean(axis=2) + 1e6)
    return levels


async def test_a_sentence_comes_in_chunks_of_200_ms(voice: Espeak) -> None:
    chunks = [chunk async for chunk in voice.speak("The quick brown fox jumps over the lazy dog.")]
    assert {chunk.sample_rate for chunk in chunks} == {RATE}
    assert {chunk.pcm.dtype for chunk in chunks} == {np.dtype(np.int16)}
    assert {chunk.pcm.size for chunk in chunks[:-1]} == {RATE // 5}
    assert 1500 < ms(sum(chunk.pcm.size for chunk in chunks)) < 4500


@pytest.mark.parametrize("text", ["Hello.", "what time is it", "Sssh", "... and then", "¿Sí?"])
async def test_silence_around_speech_is_short(voice: Espeak, text: str) -> None:
    pcm = await spoken(voice, text)
    audible = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 0.01 * np.abs(pcm.astype(np.int32)).max())
    assert ms(int(audible[0])) <= 20
    assert 50 <= ms(pcm.size - int(audible[-1])) <= 100


@pytest.mark.parametrize("text", ["Hello.", "what time is it", "ssssh"])
async def test_the_peak_is_at_minus_three_dbfs(voice: Espeak, text: str) -> None:
    peak = int(np.abs((await spoken(voice, text)).astype(np.int32)).max())
    assert 23_000 <= peak <= 23_300


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "good morning"), ("en-US", "good morning"), ("vi", "Xin chào, bạn khỏe không?"),
        ("ru", "Привет, как дела?"), ("zh", "你好，今天天气很好。"), ("zh-CN", "再见"), ("zh-HK", "早晨"),
        ("ja", "こんにちは"), ("ko", "안녕하세요"), ("es", "buenos días"), ("fr", "bonjour"),
        ("fr-FR", "bonjour"), ("de", "guten Tag"), ("pt", "bom dia"), ("pt_BR", "bom dia"),
        ("no", "god morgen"), ("xx", "hello"),
    ],
)  # fmt: skip
async def test_languages_are_spoken(voice: Espeak, language: str, text: str) -> None:
    assert ms((await spoken(voice, text, VoiceOptions(language=language))).size) > 250


async def test_every_language_it_claims_has_a_voice(voice: Espeak) -> None:
    languages = Espeak.capabilities.languages
    assert languages is not None
    tags = {tag.partition("-")[0] for tag in shared_engine(espeakng_loader).voices}
    assert languages - tags == {"zh", "no"}  # espeak-ng says cmn and nb
    assert languages >= {"en", "vi", "ru", "ja", "zh", "ko", "es", "fr", "de", "pt"}


async def test_languages_sound_different_and_one_does_not_leak_into_the_next(voice: Espeak) -> None:
    text = "Radio station"
    english = await spoken(voice, text)
    german = await spoken(voice, text, VoiceOptions(language="de"))
    again = await spoken(voice, text)
    assert not alike(english, german)
    assert alike(english, again)


async def test_text_in_another_script_is_read_by_a_voice_that_can(voice: Espeak) -> None:
    by_english = await spoken(voice, "Привет, как дела?")
    by_russian = await spoken(voice, "Привет, как дела?", VoiceOptions(language="ru"))
    assert alike(by_english, by_russian)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The texts that the library is given, each with its voice."""
    given: list[tuple[str, str]] = []
    speak = Engine.speak

    def spy(engine: Engine, text: str, speech: Speech) -> Pcm:
        given.append((speech.voice, text))
        return speak(engine, text, speech)

    monkeypatch.setattr(Engine, "speak", spy)
    return given


TEN: tuple[tuple[str, str, str], ...] = (
    ("en", "gmw/en", "It rains today."), ("vi", "aav/vi", "Hôm nay trời mưa."),
    ("ru", "zle/ru", "Сегодня дождь."), ("ja", "jpx/ja", "きょう あめ"),
    ("zh-CN", "sit/cmn", "今天下雨。"), ("ko", "ko", "오늘은 비가 와요."),
    ("es", "roa/es", "Hoy llueve."), ("fr", "roa/fr", "Il pleut aujourd'hui."),
    ("de", "gmw/de", "Heute regnet es."), ("pt-BR", "roa/pt-BR", "Hoje está chovendo."),
)  # fmt: skip


@pytest.mark.parametrize(("language", "own", "text"), TEN)
async def test_ten_languages_have_a_voice_of_their_own(
    voice: Espeak, read: list[tuple[str, str]], language: str, own: str, text: str
) -> None:
    native = await spoken(voice, text, VoiceOptions(language=language))
    assert [name for name, _ in read] == [own]
    engine = shared_engine(espeakng_loader)
    foreign = "gmw/en" if language != "en" else "gmw/de"
    assert not alike(native, espeak.levelled(engine.speak(text, Speech(foreign, 165, 50)), engine))


@pytest.mark.parametrize(
    ("language", "first", "other"),
    [("vi", "ma", "mạ"), ("vi", "má", "mà"), ("zh", "妈", "马"), ("zh", "是", "十")],
)
async def test_tones_are_heard(voice: Espeak, language: str, first: str, other: str) -> None:
    options = VoiceOptions(language=language)
    assert not alike(await spoken(voice, first, options), await spoken(voice, other, options))


@pytest.mark.parametrize("language", ["ja", "en"])
async def test_japanese_kanji_are_read(voice: Espeak, read: list[tuple[str, str]], language: str) -> None:
    with_kanji = await spoken(voice, "東京は、日本の首都です。", VoiceOptions(language=language))
    assert read == [("jpx/ja", "トーキョーワ、 ニホンノ シュトデス。")]
    without = await spoken(voice, "は、のです。", VoiceOptions(language=language))
    assert with_kanji.size > 1.5 * without.size


async def test_languages_within_a_sentence_are_read_by_their_own_voices(
    voice: Espeak, read: list[tuple[str, str]]
) -> None:
    await spoken(voice, "Good morning is おはよう", VoiceOptions(voice="en+f3"))
    assert read == [("en+f3", "Good morning is "), ("jpx/ja", "オハヨウ")]


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("vi", "Bây giờ là 14:30.", "Bây giờ là 14 giờ 30 phút."),
        ("ja", "14:30、-5°C", "ジュウヨジサンジュップン、 マイナスゴ ド"),
        ("zh", "现在2:05。", "现在两点零5分。"),
        ("de", "Am 1. Mai sind es 23 °C.", "Am ersten Mai sind es 23 Grad Celsius."),
    ],
)
async def test_times_and_temperatures_are_read_in_words(
    voice: Espeak, read: list[tuple[str, str]], language: str, text: str, said: str
) -> None:
    await spoken(voice, text, VoiceOptions(language=language))
    assert [words for _, words in read] == [said]


async def test_speed_changes_the_length(voice: Espeak) -> None:
    text = "This is a sentence of a reasonable length."
    normal = (await spoken(voice, text)).size
    assert (await spoken(voice, text, VoiceOptions(speed=2.0))).size < 0.7 * normal
    assert (await spoken(voice, text, VoiceOptions(speed=0.5))).size > 1.5 * normal
    # Past what the library can do it is as slow as it can.
    assert (await spoken(voice, text, VoiceOptions(speed=0.01))).size > 1.5 * normal


async def test_a_voice_of_the_library_can_be_chosen(voice: Espeak) -> None:
    plain = await spoken(voice, "Hello there")
    assert not alike(plain, await spoken(voice, "Hello there", VoiceOptions(voice="en+f3")))
    assert not alike(plain, await spoken(voice, "Hello there", VoiceOptions(voice="en-US")))


@pytest.mark.parametrize("name", ["alloy", "../../../etc/passwd", "en\x00", "", "en+" + "x" * 500])
async def test_a_voice_it_does_not_have_is_the_default_voice(voice: Espeak, name: str) -> None:
    plain = await spoken(voice, "Hello there")
    assert alike(plain, await spoken(voice, "Hello there", VoiceOptions(voice=name)))


@pytest.mark.parametrize("text", ["", "   ", "😀🎉", "...", "\x00\x01\x02", "***", "—", "\ufe0f\u200d"])
async def test_nothing_to_say_is_no_audio(voice: Espeak, text: str) -> None:
    assert not [chunk async for chunk in voice._synthesize(text, ENGLISH)]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Hello 😀 there 🎉", "Hello there"),
        ("**Hello** _there_", "Hello there"),
        ("Hello\x01\x1b there", "Hello there"),
        ("Hello\n\n\tthere", "Hello there"),
    ],
)
async def test_decoration_is_not_read_out(voice: Espeak, text: str, same: str) -> None:
    assert alike(await spoken(voice, text), await spoken(voice, same))


async def test_markup_commands_have_no_effect(voice: Espeak, read: list[tuple[str, str]]) -> None:
    pause = await spoken(voice, "<break time='20s'/> hi")
    assert ms(pause.size) < 6000
    await spoken(voice, "[[h@l'oU]]")
    assert read[-1] == ("gmw/en", "h@l'oU")


async def test_a_long_text_is_spoken_piece_by_piece(voice: Espeak) -> None:
    text = "This is one of many sentences. " * 100
    chunks = voice.speak(text)
    first = await anext(chunks)
    await chunks.aclose()
    assert first.pcm.size == RATE // 5
    one = (await spoken(voice, "This is one of many sentences.")).size
    assert (await spoken(voice, text)).size > 90 * one


async def test_many_speak_at_once_and_none_is_mixed_up(voice: Espeak) -> None:
    options = [VoiceOptions(language=language) for language in ("en", "de", "fr", "es")] * 5
    alone = [await spoken(voice, "Radio station", option) for option in options[:4]]
    together = await asyncio.gather(*(spoken(voice, "Radio station", option) for option in options))
    for index, pcm in enumerate(together):
        assert alike(pcm, alone[index % 4])


async def test_two_providers_share_the_library_with_their_own_options() -> None:
    slow = Espeak("slow", EspeakOptions(tts_words_per_minute=90), Limits(retries=0))
    deep = Espeak("deep", EspeakOptions(tts_pitch=10), Limits(retries=0))
    text = "Radio station"
    first, other, again = await spoken(slow, text), await spoken(deep, text), await spoken(slow, text)
    assert alike(first, again)
    assert first.size > other.size
    await slow.aclose()
    await deep.aclose()
    await deep.aclose()


async def test_check_really_speaks(voice: Espeak) -> None:
    assert await voice.check()


async def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ProviderNotConfigured, match=r"pip install 'mimi-mqtt\[offline\]'"):
        await Espeak("offline", EspeakOptions(), Limits()).start()


async def test_a_broken_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Engine:
        raise EspeakFailure("libespeak-ng can't be loaded")

    monkeypatch.setattr(espeak, "shared_engine", broken)
    with pytest.raises(ProviderNotConfigured, match="reinstall"):
        await Espeak("offline", EspeakOptions(), Limits()).start()


def test_an_unknown_voice_leaves_the_engine_usable() -> None:
    engine = shared_engine(espeakng_loader)
    with pytest.raises(EspeakFailure, match="no voice 'nobody'"):
        engine.speak("hello", Speech("nobody", 150, 50))
    assert engine.speak("hello", Speech("gmw/en", 150, 50)).size


@pytest.mark.parametrize("folder", ["with a space", "ünïcode", "x" * 200])
def test_the_data_may_be_in_any_folder(tmp_path: Path, folder: str) -> None:
    # The library keeps its state for the life of a process, hence another one.
    data = tmp_path / folder / "espeak-ng-data"
    shutil.copytree(espeakng_loader.get_data_path(), data)
    program = (
        "import sys; from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine, Speech; "
        "print(Engine(sys.argv[1], sys.argv[2]).speak('Привет', Speech('zle/ru', 150, 50)).size)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, espeakng_loader.get_library_path(), str(data)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(answer.stdout) > 5000


@pytest.mark.parametrize("missing", ["/nonexistent/library.so", "/nonexistent/" + "x" * 200])
def test_missing_files_are_told(missing: str) -> None:
    program = (
        "import sys; from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine, EspeakFailure\n"
        "try: Engine(sys.argv[1], sys.argv[2])\n"
        "except EspeakFailure as error: print('told:', error)"
    )
    library = espeakng_loader.get_library_path()
    for arguments in ([missing, espeakng_loader.get_data_path()], [library, missing]):
        answer = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
        )
        assert answer.stdout.startswith("told: ")
