"""Word and character error rates."""

import pytest

from mimi_mqtt.cli.bench.voice.scoring import Score, edits, score, tokens
from mimi_mqtt.cli.bench.voice.sentences import MAX_SPELLINGS, read


@pytest.mark.parametrize(
    ("said", "written", "errors"),
    [
        ("", "", 0),
        ("turn on the light", "turn on the light", 0),
        ("turn on the light", "turn on light", 1),
        ("turn on the light", "turn on the bright light", 1),
        ("turn on the light", "turn off the lights", 2),
        ("turn on the light", "", 4),
        ("", "thank you", 2),
        ("a b c d", "d c b a", 4),
    ],
)
def test_edits_are_the_fewest_words_changed(said: str, written: str, errors: int) -> None:
    assert edits(said.split(), written.split()) == errors
    assert edits(written.split(), said.split()) == errors


def test_case_punctuation_and_hyphens_do_not_count() -> None:
    assert tokens("Turn it on, PLEASE: twenty-one!", "en") == ["turn", "it", "on", "please", "twenty", "one"]
    assert tokens("That’s “all”…", "en") == ["that's", "all"]


def test_numbers_keep_what_makes_their_value() -> None:
    assert tokens("At 7:30, 50% of 3.5.", "en") == ["at", "7:30", "50", "%", "of", "3.5"]


def test_letters_composed_in_another_way_are_the_same() -> None:
    decomposed = "Ma\u0302\u0301y gio\u031b\u0300 ro\u0302\u0300i"
    assert tokens(decomposed, "vi") == tokens("Mấy giờ rồi", "vi")
    assert tokens("Всё", "ru") == tokens("все", "ru")


def test_languages_without_clear_spaces_are_judged_by_the_character() -> None:
    assert tokens("今、何時ですか。", "ja") == list("今何時ですか")
    assert score(read("지금 몇 시야?"), "지금 몇시야", "ko") == Score(0, 5, 1, 1)
    assert score(read("现在几点了？"), "现在几点", "zh").errors == 1


def test_the_nearest_spelling_counts() -> None:
    sentence = read("Wake me up at {half past seven|7:30}.", command=True)
    assert sentence.spoken == "Wake me up at half past seven."
    assert score(sentence, "Wake me up at 7:30.", "en") == Score(0, 5, 1, 1)
    assert score(sentence, "Wake me up at half past seven", "en") == Score(0, 7, 1, 1)
    assert score(sentence, "Wake me up at 7:15.", "en").errors == 1


def test_more_may_be_wrong_than_was_said() -> None:
    total = score(read("Pause."), "thank you for watching", "en") + score(read("Stop."), "stop", "en")
    assert total == Score(errors=4, tokens=2, exact=1, sentences=2)
    assert total.error_percent == 200.0
    assert total.exact_percent == 50.0


def test_nothing_has_no_rate() -> None:
    assert Score().error_percent is None
    assert Score().exact_percent is None


def test_spellings_of_a_sentence_are_bounded() -> None:
    assert len(read("{a|b}" * 6).spellings) == MAX_SPELLINGS
    with pytest.raises(ValueError, match="more than 64 spellings"):
        read("{a|b}" * 7)
