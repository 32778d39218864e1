"""FunASR: the two passes, and how servers of all kinds are known to be done."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import pytest

from mimi_mqtt.errors import ProviderBadAnswer, ProviderUnavailable
from mimi_mqtt.providers.contract.stt import SpeechToText
from tests.integration.providers.stt.hearing import begun, final, provider, speech, transcripts
from tests.servers.funasr import FunAsrServer
from tests.servers.websocket_vendor import Line


@pytest.fixture
async def server() -> AsyncIterator[FunAsrServer]:
    running = FunAsrServer()
    await running.start()
    yield running
    await running.aclose()


def funasr(server: FunAsrServer, **options: Any) -> SpeechToText:
    return provider("funasr", url=server.url.replace("http", "ws"), **options)


async def test_an_utterance_is_announced_sent_in_blocks_and_ended(server: FunAsrServer) -> None:
    await final(funasr(server, stt_hotwords={"小智": 20}), language="zh-CN", samples=2000)
    start = server.starts[0]
    assert (start["mode"], start["is_speaking"], start["audio_fs"]) == ("2pass", True, 16_000)
    assert (start["chunk_size"], start["chunk_interval"]) == ([5, 10, 5], 10)
    assert (json.loads(start["hotwords"]), start["svs_lang"]) == ({"小智": 20}, "zh")
    assert [len(block) for block in server.blocks] == [1920, 1920, 160]
    assert b"".join(server.blocks) == speech(2000).astype("<i2").tobytes()
    assert server.ends == [{"is_speaking": False, "is_end": True}]


async def test_a_chunk_of_another_length_is_sent_in_blocks_of_a_tenth(server: FunAsrServer) -> None:
    await final(funasr(server, stt_chunk_frames=5), samples=960)
    assert [len(block) for block in server.blocks] == [960, 960]


async def test_text_comes_while_the_speaker_speaks(server: FunAsrServer) -> None:
    stt, recording = funasr(server), begun()
    async with aclosing(stt.listen(recording, "en")) as heard:
        assert (await anext(heard)).text == "hello"
        assert not recording.ended
        recording.end()
        assert [transcript.text async for transcript in heard][-1] == "hello world"
    await stt.aclose()


@pytest.mark.parametrize("like", ["c++", "python", "new"])
async def test_the_end_is_known_with_every_kind_of_server(
    server: FunAsrServer, like: Literal["c++", "python", "new"]
) -> None:
    server.like = like
    server.meanwhile = [("2pass-online", "你"), ("2pass-online", "号"), ("2pass-offline", "你好，")]
    server.rest = [("2pass-online", "世"), ("2pass-offline", "世界。")]
    heard = await transcripts(funasr(server), language="zh")
    assert [transcript.text for transcript in heard] == ["你", "你号", "你好，", "你好，世", "你好，世界。"]
    assert heard[-1].language is None


@pytest.mark.virtual_time
async def test_a_server_that_says_nothing_about_the_last_silence_is_not_waited_for(
    server: FunAsrServer,
) -> None:
    server.like, server.rest = "python", []
    server.meanwhile = [("2pass-online", "hello"), ("2pass-offline", "Hello.")]
    stt, recording = funasr(server), begun()
    async with aclosing(stt.listen(recording, "en")) as heard:
        assert [(await anext(heard)).text for _ in range(2)] == ["hello", "Hello."]
        recording.end()
        assert [transcript.text async for transcript in heard] == ["Hello."]
    await stt.aclose()


@pytest.mark.virtual_time
async def test_the_silence_may_also_be_noticed_after_the_end(server: FunAsrServer) -> None:
    server.like, server.meanwhile = "python", []
    server.rest = [("2pass-offline", "Yes.")]
    assert (await final(funasr(server))).text == "Yes."


async def test_a_server_of_one_pass_ends_with_its_answer(server: FunAsrServer) -> None:
    server.meanwhile, server.rest = [], [("offline", "hello world")]
    server.like = "python"
    assert (await final(funasr(server, stt_mode="offline"))).text == "hello world"
    server.like, server.rest = "c++", [("online", "hello"), ("online", "world")]
    assert (await final(funasr(server, stt_mode="online"))).text == "hello world"


async def test_marks_of_sense_voice_are_not_part_of_the_text(server: FunAsrServer) -> None:
    server.meanwhile = []
    server.rest = [("2pass-offline", "<|ja|><|HAPPY|><|Speech|>こんにちは")]
    transcript = await final(funasr(server), language="en", certain=False)
    assert (transcript.text, transcript.language) == ("こんにちは", "ja")
    assert server.starts[0]["svs_lang"] == "auto"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"is_end": True, "is_final": False, "error": "out of memory"}, ProviderUnavailable),
        ({}, ProviderBadAnswer),
        ({"mode": "2pass-online"}, ProviderBadAnswer),
        ({"mode": 5, "text": "hello"}, ProviderBadAnswer),
    ],
)
async def test_other_messages_are_errors(message: Any, expected: type[Exception]) -> None:
    class Odd(FunAsrServer):
        async def converse(self, line: Line) -> None:
            await line.say(message)
            await self.hang()

    server = Odd()
    await server.start()
    with pytest.raises(expected):
        await final(funasr(server))
    await server.aclose()
