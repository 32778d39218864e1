"""Wyoming: what a server of the `wyoming` package is told, and what its events become."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from wyoming.audio import AudioStart

from mimi_mqtt.errors import ConfigError, ProviderUnavailable
from mimi_mqtt.providers.contract.stt import SpeechToText
from tests.integration.providers.stt.hearing import begun, final, provider, speech, transcripts
from tests.servers.vendor import Status
from tests.servers.wyoming_asr import WyomingAsrServer


@pytest.fixture
async def server() -> AsyncIterator[WyomingAsrServer]:
    running = WyomingAsrServer()
    await running.start()
    yield running
    await running.aclose()


def wyoming(server: WyomingAsrServer, **options: Any) -> SpeechToText:
    return provider("wyoming", stt_uri=server.url, **options)


async def test_the_utterance_is_sent_as_it_is(server: WyomingAsrServer) -> None:
    await final(wyoming(server))
    assert server.starts == [AudioStart(16_000, 2, 1)]
    assert bytes(server.audio) == speech().astype("<i2").tobytes()


async def test_language_model_and_expected_words_are_told(server: WyomingAsrServer) -> None:
    await final(wyoming(server, stt_model="base", stt_words=["MiMi"]), language="de-DE")
    assert server.asked[0].fields == {"language": "de", "name": "base", "transcript_names": ["MiMi"]}
    await final(wyoming(server), language=None)
    assert server.asked[1].fields == {}


async def test_audio_goes_up_and_text_comes_down_while_the_speaker_speaks(server: WyomingAsrServer) -> None:
    stt, recording = wyoming(server), begun()
    async with aclosing(stt.listen(recording, "en")) as heard:
        assert (await anext(heard)).text == "hello"
        assert not recording.ended
        assert server.audio
        recording.end()
        assert [transcript.text async for transcript in heard][-1] == "hello world"
    await stt.aclose()


async def test_the_servers_word_on_the_language_counts(server: WyomingAsrServer) -> None:
    server.language = "fr"
    assert (await transcripts(wyoming(server)))[-1].language == "fr"


@pytest.mark.parametrize(("detects", "told"), [(True, {}), (False, {"language": "en"})])
async def test_a_server_that_finds_out_the_language_is_not_told(
    server: WyomingAsrServer, detects: bool, told: dict[str, str]
) -> None:
    stt = wyoming(server, stt_detects_language=detects)
    assert (await final(stt, language="en", certain=False)).language is None
    assert server.asked[0].fields == told


async def test_an_error_event_is_unavailability_in_its_own_words(server: WyomingAsrServer) -> None:
    server.faults.append(Status(500, "no model is loaded"))
    with pytest.raises(ProviderUnavailable, match="no model is loaded"):
        await final(wyoming(server))


@pytest.mark.parametrize("uri", ["localhost:10300", "tcp://localhost", "http://localhost:10300", "unix://x"])
def test_an_address_that_is_none_is_a_configuration_error(uri: str) -> None:
    with pytest.raises(ConfigError, match="stt_uri"):
        provider("wyoming", stt_uri=uri)
