"""A conversation's language from turn to turn: what is told, what the text shows, and what is not sure."""

from collections.abc import Iterable, Mapping

from mimi_mqtt.voice.language.spoken import SpokenLanguage


class Detector:
    """Holds every text to be in `language`."""

    def __init__(self, language: str) -> None:
        self._language = language
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def probabilities(self, text: str, ours: Iterable[str]) -> Mapping[str, float]:
        self.asked.append((text, tuple(ours)))
        return {"en": 0.1, "ru": 0.0, self._language: 0.9}


async def test_what_is_told_needs_no_detector() -> None:
    detector = Detector("fr")
    language = SpokenLanguage("en", detector)
    assert await language.of("guten Morgen", "de") == "de"
    assert await language.of("おはよう") == "ja"
    assert await language.of("123") == "en"
    assert not detector.asked


async def test_what_is_not_told_is_judged_by_its_words() -> None:
    detector = Detector("de")
    language = SpokenLanguage("en-GB", detector)
    assert await language.of("guten Morgen") == "de"
    assert detector.asked == [("guten Morgen", ("en-GB", "en-GB"))]
    assert language.current == "en-GB"


async def test_without_a_detector_words_change_nothing() -> None:
    assert await SpokenLanguage("en").of("guten Morgen") == "en"


async def test_the_way_back_leads_to_the_devices_own_region() -> None:
    language = SpokenLanguage("pt-BR")
    language.settle(await language.of("what is the weather", "en"))
    assert language.current == "en"
    language.settle(await language.of("que horas são agora", "pt"))
    assert language.current == "pt-BR"


async def test_a_certain_language_is_never_left() -> None:
    language = SpokenLanguage("de", Detector("en"), certain=True)
    assert await language.of("おはよう", "ja") == "de"
    language.settle("ja")
    assert language.current == "de"
