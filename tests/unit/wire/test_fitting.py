"""Texts that are too long for a device end at a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.wire import fitting
from mimi_mqtt.wire.fitting import cut_at_sentence, encode_within
from mimi_mqtt.wire.messages import (
    Alert,
    Llm,
    Notify,
    ServerGoodbye,
    ServerMessage,
    Stt,
    Subtitle,
    Tts,
    encode,
)

TEXT = "One is short. Two is longer, and has a comma. Three?"


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (len(TEXT), TEXT),
        (len(TEXT) - 1, "One is short. Two is longer, and has a comma."),
        (20, "One is short."),
        (13, "One is short."),
        (12, "One is…"),
        (4, "O…"),
        (2, ""),
    ],
)
def test_a_text_is_cut_at_a_sentence_else_at_a_word(most: int, kept: str) -> None:
    assert cut_at_sentence(TEXT, most) == kept


def test_a_number_or_an_address_is_no_end_of_a_sentence() -> None:
    assert cut_at_sentence("It is 3.14159 exactly", 12) == "It is…"


def test_a_language_without_spaces_is_cut_at_its_own_full_stop() -> None:
    assert cut_at_sentence("今天天气很好。明天会下雨。", 24) == "今天天气很好。"
    assert cut_at_sentence("今天天气很好", 13) == "今天天…"


@given(st.text(), st.integers(0, 200))
def test_a_cut_text_is_a_beginning_and_never_too_long(text: str, most: int) -> None:
    cut = cut_at_sentence(text, most)
    assert len(cut.encode(errors="replace")) <= most
    assert text.startswith(cut.removesuffix("…").rstrip())


@given(st.text(alphabet='aä"\\\n. 。', max_size=400), st.integers(150, 500))
def test_every_message_with_a_text_fits(text: str, most: int) -> None:
    for message in (Stt(text), Tts("sentence_start", text), Alert("Notice", text)):
        payload = encode_within(message, "0" * 32, most)
        assert len(payload) <= most
        json.loads(payload)


def test_a_text_full_of_escapes_keeps_what_fits() -> None:
    payload = encode_within(Stt('He said "no". ' * 500), "0" * 32, 2_000)
    assert 1_900 < len(payload) <= 2_000


def test_what_has_no_text_to_cut_is_sent_as_it_is() -> None:
    for message in (ServerGoodbye("x" * 300), Llm("happy", "🙂" * 100)):
        assert encode_within(message, "s", 50) == encode(message, "s")


@pytest.mark.parametrize("escapes", range(1_320, 1_340))
def test_a_sentence_that_is_just_too_long_is_not_tried_again_and_again(
    escapes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[ServerMessage] = []

    def counted(message: ServerMessage, session_id: str) -> bytes:
        tried.append(message)
        return encode(message, session_id)

    monkeypatch.setattr(fitting, "encode", counted)
    text = "\x01" * escapes + "。 " + "😀" * 650
    assert len(fitting.encode_within(Alert("Notice", text), "", 8_000)) <= 8_000
    assert len(tried) < 10


def test_a_notify_loses_its_last_subtitles_and_never_its_address() -> None:
    lines = tuple(Subtitle(number * 1_000, f"sentence {number}") for number in range(40))
    notify = Notify("http://192.0.2.7:8003/xiaozhi/n/abc", lines)
    payload = encode_within(notify, "", 500)
    told = json.loads(payload)
    assert len(payload) <= 500
    assert told["audio_url"] == notify.audio_url
    assert [line["text"] for line in told["subtitles"]] == [
        f"sentence {number}" for number in range(len(told["subtitles"]))
    ]
    assert 4 <= len(told["subtitles"]) < 40
    assert "subtitles" not in json.loads(encode_within(notify, "", 10))
