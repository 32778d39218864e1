"""The sentences that are spoken to recognisers."""

import pytest

from mimi_mqtt.cli.bench.voice.scoring import score, tokens
from mimi_mqtt.cli.bench.voice.sentences import LANGUAGES, sentences


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_fifty_ordinary_sentences_and_fifty_commands(language: str) -> None:
    everything = sentences(language, 50)
    assert len(everything) == len({sentence.spoken for sentence in everything}) == 100
    assert [sentence.command for sentence in everything[:4]] == [False, True, False, True]
    assert sum(sentence.command for sentence in everything) == 50
    for sentence in everything:
        assert not set(sentence.spoken) & set("{}|")
        assert tokens(sentence.spoken, language)
        assert score(sentence, sentence.spoken, language).errors == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_digit_is_left_to_a_voice_to_read(language: str) -> None:
    assert not [
        sentence for sentence in sentences(language, 50) if any(c.isdecimal() for c in sentence.spoken)
    ]
