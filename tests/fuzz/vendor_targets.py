"""Fuzz targets of vendors' answers: event streams, JSON, audio and the messages of WebSocket services."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence

import httpx
from pydantic import SecretStr

from mimi_mqtt.errors import ProviderBadAnswer, ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.http.audio import SampleReader
from mimi_mqtt.providers.http.errors import readable, retry_after_s
from mimi_mqtt.providers.http.hosted_agent import HostedAgent
from mimi_mqtt.providers.http.server_sent_events import EventReader, ServerSentEvent
from mimi_mqtt.providers.http.service import json_object
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.azure.stt import AzureSpeechToText, AzureSttOptions
from mimi_mqtt.providers.vendors.coze.llm import CozeBot, CozeOptions
from mimi_mqtt.providers.vendors.deepgram import stt as deepgram
from mimi_mqtt.providers.vendors.dify.llm import DifyApp, DifyOptions
from mimi_mqtt.providers.vendors.funasr import stt as funasr
from mimi_mqtt.providers.vendors.home_assistant.llm import HomeAssistant, HomeAssistantOptions
from mimi_mqtt.providers.vendors.openai.compatible import parse_arguments
from mimi_mqtt.providers.vendors.openai.llm import ThinkingFilter, ToolCallAssembler
from tests.fuzz.target import Target, pieces, told_briefly

_SECRET = SecretStr("sk-fuzz-secret")


# ── providers/http ───────────────────────────────────────────────────────────────────────────────────────


def _events(parts: Sequence[bytes]) -> tuple[list[ServerSentEvent], bool]:
    reader, events = EventReader("fuzz"), list[ServerSentEvent]()
    try:
        for part in parts:
            events += reader.feed(part)
    except ProviderBadAnswer:
        return events, True
    return events, False


def check_events(data: bytes) -> bool:
    """Server-sent events: the same ones however the stream is cut, and no longer than what was sent."""
    whole = _events([data])
    assert whole == _events(list(pieces(data)))
    assert whole == _events([data[at : at + 1] for at in range(len(data))])
    events, broken = whole
    assert not broken
    assert sum(len(event.data) for event in events) <= len(data)
    assert all(event.kind for event in events)
    return bool(events)


def check_json(data: bytes) -> bool:
    """An answer of JSON: only ProviderBadAnswer. A complaint: a short line without the key."""
    complaint = readable(data, (_SECRET,))
    assert len(complaint) <= 201
    assert "\n" not in complaint
    assert _SECRET.get_secret_value() not in complaint
    seconds = retry_after_s({"retry-after": data.decode("latin-1"), "retry-after-ms": data.decode("latin-1")})
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
    try:
        assert isinstance(json_object("fuzz", data), dict)
    except ProviderBadAnswer:
        return False
    return True


def check_samples(data: bytes) -> bool:
    """Streamed audio, raw or WAV: the same samples however it is cut; only ProviderBadAnswer."""
    results = []
    for parts in ([data], list(pieces(data))):
        reader, samples, rates = SampleReader("fuzz", 24_000), b"", set[int]()
        try:
            for part in parts:
                chunk = reader.feed(part)
                if chunk is not None:
                    samples += chunk.pcm.tobytes()
                    rates.add(chunk.sample_rate)
            reader.finish()
        except ProviderBadAnswer:
            results.append((b"", set[int](), True))
            continue
        assert len(samples) <= len(data)
        assert all(8_000 <= rate <= 48_000 for rate in rates)
        results.append((samples, rates, False))
    assert results[0] == results[1]
    return not results[0][2] and bool(results[0][0])


# ── agents over plain HTTP ───────────────────────────────────────────────────────────────────────────────

_MESSAGES = (ChatMessage("system", "s"), ChatMessage("user", "u"))


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in pieces(self._data):
            yield piece


async def _answer(model: LanguageModel, client: httpx.AsyncClient, data: bytes) -> list[LlmEvent] | None:
    """The events that `model` makes of an answer of `data`; None when it is a failure."""
    assert isinstance(model, HostedAgent)
    model._http._made = client
    try:
        return [event async for event in model._chat(_MESSAGES, (), ChatOptions(device_id="d"))]
    except ProviderError as error:
        told_briefly(error)
        said = str(error)
    assert _SECRET.get_secret_value() not in said
    return None


_runner = asyncio.Runner()


def _of_agent(model: LanguageModel, data: bytes) -> bool:
    """First byte: the answer's status and type; the rest is its body."""
    kind, body = (data[0], data[1:]) if data else (0, b"")
    status = (200, 200, 200, 429, 500)[kind % 5]
    content_type = "application/json" if kind & 0x80 else "text/event-stream"

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-type": content_type}, stream=_Pieces(body))

    client = httpx.AsyncClient(timeout=60.0, transport=httpx.MockTransport(respond))
    events = _runner.run(_answer(model, client, body))
    if events is None:
        return False
    for event in events:
        assert isinstance(event, TextDelta | Usage | ToolCall)
        if isinstance(event, TextDelta):
            assert isinstance(event.text, str)
            assert len(event.text) <= len(data) + 16
        if isinstance(event, Usage):
            assert isinstance(event.input_tokens, int)
    return True


def check_dify(data: bytes) -> bool:
    """A stream of Dify: only ProviderError, with a short text that holds no key."""
    return _of_agent(DifyApp("dify", DifyOptions(api_key=_SECRET), Limits()), data)


def check_coze(data: bytes) -> bool:
    """A stream of Coze: only ProviderError, with a short text that holds no key."""
    return _of_agent(CozeBot("coze", CozeOptions(api_key=_SECRET, bot_id="b"), Limits()), data)


def check_home_assistant(data: bytes) -> bool:
    """An answer of Home Assistant: only ProviderError, with a short text that holds no key."""
    options = HomeAssistantOptions(api_key=_SECRET)
    return _of_agent(HomeAssistant("home_assistant", options, Limits()), data)


# ── WebSocket services and language models ───────────────────────────────────────────────────────────────


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:16]


_azure = AzureSpeechToText("azure", AzureSttOptions(speech_key=_SECRET, speech_region="westeurope"), Limits())


def check_azure(data: bytes) -> bool:
    """An answer of Azure's transcription: only ProviderError, and a text no longer than what was sent."""
    try:
        transcript = _azure._transcript(data, "en-US")
    except ProviderError as error:
        told_briefly(error)
        return False
    assert transcript.final
    assert len(transcript.text) <= 2 * len(data)
    return True


def check_deepgram(data: bytes) -> bool:
    """Deepgram's messages, one a line: only ProviderError, and a text no longer than what was sent."""
    heard = deepgram.TranscriptBuilder("deepgram", "en")
    heard.all_sent = len(data) % 2 == 0
    try:
        for line in _lines(data):
            transcript = heard.message(line)
            assert transcript is None or isinstance(transcript, Transcript)
            assert transcript is None or len(transcript.text) <= 2 * len(data)
    except ProviderError as error:
        told_briefly(error)
        return False
    return True


def check_funasr(data: bytes) -> bool:
    """FunASR's messages, one a line: only ProviderError, and a text no longer than what was sent."""
    heard = funasr.TranscriptBuilder("funasr", ("2pass", "online", "offline")[len(data) % 3])
    try:
        for index, line in enumerate(_lines(data)):
            heard.ended = index > 1
            heard.message(line)
            assert len(heard.text) <= 2 * len(data)
    except ProviderError as error:
        told_briefly(error)
        return False
    return True


def check_tool_calls(data: bytes) -> bool:
    """Deltas of tool calls, one a line: only ProviderError; each call has a name, an id and arguments."""
    calls = ToolCallAssembler("fuzz")
    try:
        parse_arguments("fuzz", json.dumps(data.decode("latin-1")))  # encoded twice, as some servers do
    except ProviderError as error:
        told_briefly(error)
    try:
        for line in _lines(data):
            calls.add(dict(json_object("fuzz", line)))
        for call in calls.finish():
            assert call.name
            assert call.id
            assert isinstance(call.arguments, dict)
    except ProviderError as error:
        told_briefly(error)
        return False
    return True


def check_thinking(data: bytes) -> bool:
    """A model's `<think>` tags: the same words however the answer is cut, and no more than it said."""
    text = data.decode(errors="replace")
    results = []
    for parts in ([text], [part.decode(errors="replace") for part in pieces(text.encode())], list(text)):
        if "".join(parts) != text:  # a character was cut in two
            continue
        kept = ThinkingFilter()
        results.append("".join(kept.feed(part) for part in parts))
    assert len(set(results)) == 1
    assert len(results[0]) <= len(text)
    return bool(results[0])


_JSON = (b'"', b"{", b"}", b"[", b"]", b":", b",", b"null", b"true", b"1e999", b"\n", b"[" * 40)
_DEEPGRAM = (
    b'{"type":"Results","is_final":true,"channel":{"alternatives":[{"transcript":"hi","confidence":0.9,'
    b'"languages":["en"]}]}}\n{"type":"UtteranceEnd"}\n{"type":"Metadata"}'
)

TARGETS = (
    Target(
        "vendor-events",
        check_events,
        (b"event: a\r\ndata: 1\rdata: 2\n\n: c\ndata\n\n", '\ufeffdata: {"a":"é\u2028"}\n\n'.encode()),
        (b"data:", b"event:", b"\r\n", b"\n\n", b"\r", "\u2028".encode(), b"\xef\xbb\xbf"),
        512,
    ),
    Target(
        "vendor-json",
        check_json,
        (b'{"error":{"message":"no sk-fuzz-secret here"}}', b'{"detail":[{"msg":"m"}]}', b"{}"),
        (*_JSON, b"sk-fuzz-secret", b'"message":'),
    ),
    Target(
        "vendor-samples",
        check_samples,
        (
            b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0"
            b"data\x04\0\0\0abcd",
            b"\x01\x02\x03\x04\x05",
        ),
        (b"RIFF", b"data", b"fmt ", b"LIST\x04\0\0\0info", b"\xff\xff\xff\xff"),
    ),
    Target(
        "vendor-dify",
        check_dify,
        (
            b'\0data: {"event":"message","answer":"a","conversation_id":"c"}\n\ndata: {"event":"message_end",'
            b'"metadata":{"usage":{"prompt_tokens":1}}}\n\n',
        ),
        (*_JSON, b'"event":', b'"message_end"', b'"error"', b"data: ", b"\n\n"),
        1_024,
    ),
    Target(
        "vendor-coze",
        check_coze,
        (
            b'\0event:conversation.message.delta\ndata:{"type":"answer","content":"a"}\n\n'
            b'event:conversation.chat.completed\ndata:{"usage":{"input_count":1}}\n\nevent:done\ndata:"[DONE]"\n\n',
        ),
        (*_JSON, b"event:error\n", b'"code":4009', b'"msg":', b"data:", b"\n\n"),
        1_024,
    ),
    Target(
        "vendor-home-assistant",
        check_home_assistant,
        (
            b'\0{"response":{"speech":{"plain":{"speech":"ok"}},"response_type":"action_done"},"conversation_id":"c"}',
        ),
        (*_JSON, b'"speech":', b'"failed":', b'"data":'),
        1_024,
    ),
    Target(
        "vendor-azure",
        check_azure,
        (
            b'{"RecognitionStatus":"Success","NBest":[{"Display":"Hi.","Confidence":0.9}]}',
            b'{"RecognitionStatus":"Success","DisplayText":"Hi."}',
            b'{"RecognitionStatus":"NoMatch"}',
        ),
        (*_JSON, b'"NBest":', b'"DisplayText":', b'"Error"'),
    ),
    Target(
        "vendor-deepgram",
        check_deepgram,
        (_DEEPGRAM,),
        (*_JSON, b'"Results"', b'"Error"', b'"from_finalize":true'),
    ),
    Target(
        "vendor-funasr",
        check_funasr,
        (
            b'{"mode":"2pass-online","text":"a"}\n{"mode":"2pass-offline","text":"<|en|>b","is_final":true}\n{"is_end":true}',
        ),
        (*_JSON, b'"mode":', b'"online"', b'"offline"', b"<|zh|>"),
    ),
    Target(
        "vendor-tool-calls",
        check_tool_calls,
        (
            b'{"index":0,"id":"c","function":{"name":"f","arguments":"{\\"a\\":"}}\n{"index":0,"function":{"arguments":"1}"}}',
            b'{"function":{"name":"f","arguments":{"a":1}}}',
        ),
        (*_JSON, b'"index":', b'"arguments":', b'"id":'),
    ),
    Target(
        "vendor-thinking",
        check_thinking,
        (b"<think>a b</think> Hello", b" <thinking is hard", b"plain"),
        (b"<think>", b"</think>", b"<", b" "),
        512,
    ),
)
