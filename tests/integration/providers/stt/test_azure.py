"""Azure Speech: what goes up while it is said, and what the answers mean."""

import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText
from tests.integration.providers.stt.hearing import final, provider, speech
from tests.servers.azure_asr import KEY, AzureAsrServer


@pytest.fixture
async def server() -> AsyncIterator[AzureAsrServer]:
    running = AzureAsrServer()
    await running.start()
    yield running
    await running.aclose()


def azure(server: AzureAsrServer, **options: Any) -> SpeechToText:
    return provider("azure", stt_url=server.url, speech_key=KEY, **options)


async def test_a_file_of_unknown_length_goes_up_in_pieces(server: AzureAsrServer) -> None:
    transcript = await final(azure(server))
    header = bytes(server.body[:44])
    assert (header[:4], header[8:16], header[36:40]) == (b"RIFF", b"WAVEfmt ", b"data")
    assert struct.unpack("<HHIIHH", header[20:36]) == (1, 1, 16_000, 32_000, 2, 16)
    assert bytes(server.body[44:]) == speech().astype("<i2").tobytes()
    assert server.asked[0].headers["transfer-encoding"] == "chunked"
    assert transcript == Transcript("hello world", True, "en", 0.5)


async def test_audio_goes_up_while_the_speaker_speaks(server: AzureAsrServer) -> None:
    stt = azure(server)
    utterance = stt.open(language="en")
    utterance.push(speech())
    await server.hears.wait()
    assert (await utterance.finish()).text == "hello world"
    await utterance.aclose()
    await stt.aclose()


@pytest.mark.parametrize(
    ("language", "options", "locale"),
    [
        ("en", {}, "en-US"),
        ("en-gb", {}, "en-GB"),
        ("vi", {}, "vi-VN"),
        ("zh_TW", {}, "zh-TW"),
        ("zh-Hant-HK", {}, "zh-CN"),
        ("de", {}, "de-DE"),
        ("tlh", {"stt_language": "fr-CA"}, "fr-CA"),
        (None, {}, "en-US"),
    ],
)
async def test_the_language_becomes_a_locale(
    server: AzureAsrServer, language: str | None, options: Mapping[str, str], locale: str
) -> None:
    await final(azure(server, **options), language=language)
    assert server.asked[0].fields == {"language": locale, "format": "detailed", "profanity": "raw"}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"RecognitionStatus": "NoMatch"}, ""),
        ({"RecognitionStatus": "InitialSilenceTimeout"}, ""),
        ({"RecognitionStatus": "Success", "DisplayText": "Hello."}, "Hello."),
    ],
)
async def test_silence_and_short_answers_are_understood(
    server: AzureAsrServer, answer: Mapping[str, Any], text: str
) -> None:
    server.answer = answer
    assert (await final(azure(server))).text == text


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"RecognitionStatus": "Error"}, ProviderUnavailable),
        ({"RecognitionStatus": "Tired"}, ProviderBadAnswer),
        ({"RecognitionStatus": "Success"}, ProviderBadAnswer),
        ({"RecognitionStatus": "Success", "NBest": [{}]}, ProviderBadAnswer),
        ({}, ProviderBadAnswer),
    ],
)
async def test_other_answers_are_errors(
    server: AzureAsrServer, answer: Mapping[str, Any], expected: type[ProviderError]
) -> None:
    server.answer = answer
    with pytest.raises(expected):
        await final(azure(server))


@pytest.mark.parametrize(
    ("options", "missing"),
    [({"speech_region": "westeurope"}, "AZURE_SPEECH_KEY"), ({"speech_key": "k"}, "AZURE_SPEECH_REGION")],
)
async def test_key_and_region_are_needed(options: Mapping[str, str], missing: str) -> None:
    with pytest.raises(ProviderNotConfigured, match=missing):
        await provider("azure", **options).start()


async def test_key_and_region_may_come_from_variables() -> None:
    environ = {"AZURE_SPEECH_KEY": "k", "AZURE_SPEECH_REGION": "westeurope"}
    stt = registry.build("stt", ProviderSettings(stt=("azure",)), environ)
    await stt.start()
    await stt.aclose()
