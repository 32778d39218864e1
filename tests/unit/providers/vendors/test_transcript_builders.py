"""Transcripts from streaming vendors' messages; any message raises documented errors only."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.vendors.deepgram import stt as deepgram
from mimi_mqtt.providers.vendors.funasr import stt as funasr
from tests.servers.deepgram import results, utterance_end

_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_deepgram = st.fixed_dictionaries(
    {"type": st.sampled_from(["Results", "UtteranceEnd", "Metadata", "Error", "New"]) | _json},
    optional={
        "channel": _json | st.fixed_dictionaries({"alternatives": _json}),
        "is_final": _json,
        "speech_final": _json,
        "from_finalize": _json,
    },
)
_funasr = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["2pass-online", "2pass-offline", "online", "offline"]) | _json,
        "text": _json,
        "is_final": _json,
        "is_end": _json,
        "error": _json,
    },
)


def _messages(shape: st.SearchStrategy[object]) -> st.SearchStrategy[list[str | bytes]]:
    text = shape.map(json.dumps) | _json.map(json.dumps) | st.text() | st.binary()
    return st.lists(text, max_size=5)


@given(messages=_messages(_deepgram), sent=st.booleans())
def test_deepgrams_messages_are_understood_or_refused(messages: list[str | bytes], sent: bool) -> None:
    heard = deepgram.TranscriptBuilder("deepgram", "en")
    heard.all_sent = sent
    for message in messages:
        with suppress(ProviderError):
            heard.message(message)
    assert heard.final().final


@given(messages=_messages(_funasr), ended=st.booleans(), mode=st.sampled_from(["2pass", "online", "offline"]))
def test_funasrs_messages_are_understood_or_refused(
    messages: list[str | bytes], ended: bool, mode: str
) -> None:
    heard = funasr.TranscriptBuilder("funasr", mode)
    heard.ended = ended
    for message in messages:
        with suppress(ProviderError):
            heard.message(message)
    assert heard.text == heard.text.strip()


def test_deepgrams_final_pieces_stay_and_interim_ones_change() -> None:
    heard = deepgram.TranscriptBuilder("deepgram", "")
    said = [
        heard.message(json.dumps(message))
        for message in (
            results("turn"),
            results("turn on"),
            results("Turn on", is_final=True),
            results("the"),
            results("the light"),
        )
    ]
    texts = [transcript.text for transcript in said if transcript is not None]
    assert texts == ["turn", "turn on", "Turn on", "Turn on the", "Turn on the light"]


@pytest.mark.parametrize("spoken", [False, True])
def test_an_end_of_nothing_is_no_endpoint(spoken: bool) -> None:
    heard = deepgram.TranscriptBuilder("deepgram", "")
    if spoken:
        heard.message(json.dumps(results("turn")))
    said = heard.message(json.dumps(utterance_end()))
    assert (said is not None and said.endpoint) is spoken
