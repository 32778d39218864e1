"""Texts that wait for a device's next session."""

from mimi_mqtt.session.unspoken import MAX_TEXTS, UnspokenTexts


def test_texts_are_their_devices_own_in_their_order_and_taken_once() -> None:
    texts = UnspokenTexts(20.0)
    for device, text in (("a", "one"), ("b", "other"), ("a", "two")):
        texts.keep(device, text, 0.0)
    assert texts.take("a", 1.0) == ("one", "two")
    assert texts.take("a", 1.0) == ()
    assert texts.take("b", 1.0) == ("other",)


def test_texts_are_kept_for_a_while() -> None:
    texts = UnspokenTexts(20.0)
    texts.keep("a", "early", 0.0)
    texts.keep("a", "late", 10.0)
    assert texts.take("a", 20.0) == ("late",)


def test_nothing_is_kept_for_no_time() -> None:
    texts = UnspokenTexts(0.0)
    texts.keep("a", "text", 5.0)
    assert texts.take("a", 5.0) == ()


def test_the_oldest_text_goes_when_there_are_too_many() -> None:
    texts = UnspokenTexts(20.0)
    for number in range(MAX_TEXTS + 1):
        texts.keep("a", str(number), 0.0)
    assert texts.take("a", 0.0) == tuple(map(str, range(1, MAX_TEXTS + 1)))
