"""What a loaded voice is asked for, of each kind; the library is played by what records its requests."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import espeakng_loader
import numpy as np
import pytest

from mimi_mqtt.models.catalog import ModelVoice
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.providers.vendors.offline.espeak_engine import shared_engine
from mimi_mqtt.providers.vendors.sherpa.speaking import SherpaSpeaker, for_kokoro
from mimi_mqtt.providers.vendors.sherpa.voices import VoiceModel

_VOICES = (
    ModelVoice(name="af_heart", language="en-US", gender="female", speaker="3"),
    ModelVoice(name="am_fenrir", language="en-US", gender="male", speaker="14"),
    ModelVoice(name="bf_emma", language="en-GB", gender="female", speaker="21"),
    ModelVoice(name="zf_xiaoxiao", language="zh-CN", gender="female", speaker="47"),
)


@dataclass
class Library:
    """Answers each request with one part of sound; `says_all_at_once`: without telling its parts."""

    num_speakers: int = 53
    sample_rate: int = 24_000
    lang: str = "en-us"
    says_all_at_once: bool = False
    level: float = 0.5
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def generate(self, text: str, config: Any, callback: Callable[[Any, float], int]) -> Any:
        self.asked.append((text, config))
        made = np.full(240, self.level, np.float32)
        if not self.says_all_at_once:
            assert callback(made, 1.0) == 1
        return SimpleNamespace(samples=made.tolist())


def speaker(
    library: Library,
    kind: str,
    lexicons: Sequence[str] = (),
    usual: int | None = None,
    voices: Sequence[ModelVoice] = _VOICES,
) -> SherpaSpeaker:
    package = cast(ModuleType, SimpleNamespace(GenerationConfig=SimpleNamespace))
    model = VoiceModel(kind, {}, lexicons)
    return SherpaSpeaker(package, library, model, shared_engine(espeakng_loader), voices, usual, steps=7)


def said(library: Library, kind: str, text: str, voice: VoiceOptions, **more: Any) -> list[Any]:
    """What the library was asked for when `text` was said."""
    for piece in speaker(library, kind, **more).pieces(text, voice):
        piece()
    return [(given, config) for given, config in library.asked]


def sounds(config: Any) -> str:
    """The phonemes that were asked for, without stress, which depends on what the library said before."""
    return re.sub("[ˈˌ]", "", "".join(map(chr, config.phoneme_codepoints[0])))


def test_each_sentence_is_a_piece_with_its_punctuation() -> None:
    asked = said(Library(), "vits", "Hello, you there! How are you?", VoiceOptions("en"))
    assert [text for text, _ in asked] == ["", ""]
    assert [sounds(config) for _, config in asked] == ["həloʊ, juː ðɛɹ!", "haʊ ɑːɹ juː?"]


@pytest.mark.parametrize(("kind", "written"), [("vits", True), ("kokoro", True), ("supertonic", False)])
def test_times_and_sums_are_words_where_the_model_does_not_write_them_out(kind: str, written: bool) -> None:
    short, long = (
        said(Library(), kind, text, VoiceOptions("en"))
        for text in ("It costs $5 at 7:30.", "It costs 5 dollars at 7 30.")
    )
    if written:
        assert sounds(short[0][1]) == sounds(long[0][1])
    else:
        assert short[0][0] == "It costs $5 at 7:30."


def test_the_models_own_language_decides_how_a_text_is_read() -> None:
    ((_, config),) = said(Library(lang="ru"), "vits", "Привет", VoiceOptions("en"))
    assert sounds(config) == "prʲivʲet"


def test_accents_are_letters_of_their_own() -> None:
    ((_, config),) = said(Library(lang="fr-fr"), "vits", "bon", VoiceOptions("fr"))
    assert "\u0303" in sounds(config)


def test_kokoro_gets_its_own_letters() -> None:
    ((_, config),) = said(Library(), "kokoro", "Joe may go.", VoiceOptions("en"))
    assert sounds(config) == "ʤO mA ɡO."


@pytest.mark.parametrize(("voice", "went"), [("af_heart", "ɡO"), ("bf_emma", "ɡQ")])
def test_a_british_voice_speaks_british(voice: str, went: str) -> None:
    ((_, config),) = said(Library(), "kokoro", "Go!", VoiceOptions("en", voice))
    assert sounds(config) == f"{went}!"


def test_chinese_is_read_by_the_lexicon() -> None:
    asked = said(Library(), "kokoro", "你好。", VoiceOptions("zh"), lexicons=("lexicon-zh.txt",))
    ((text, config),) = asked
    assert (text, config.sid) == ("你好。", 47)
    assert not hasattr(config, "phoneme_codepoints")


def test_supertonic_is_told_language_and_steps() -> None:
    ((text, config),) = said(Library(num_speakers=10), "supertonic", "Hallo Welt", VoiceOptions("de-AT"))
    assert (text, config.extra, config.num_steps) == ("Hallo Welt", {"lang": "de"}, 7)


@pytest.mark.parametrize(
    ("wish", "number"),
    [
        (VoiceOptions("en"), 3),
        (VoiceOptions("en", "am_fenrir"), 14),
        (VoiceOptions("en", "nobody"), 3),
        (VoiceOptions("en", gender="male"), 14),
        (VoiceOptions("en-GB"), 21),
        (VoiceOptions("en-GB", gender="male"), 14),
        (VoiceOptions("zh-CN", "af_heart"), 47),
        (VoiceOptions("en", "17"), 3),
        (VoiceOptions("en", "99"), 3),
        (VoiceOptions("fr"), 0),
    ],
)
def test_the_speaker_is_the_one_that_is_named_or_fits(wish: VoiceOptions, number: int) -> None:
    ((_, config),) = said(Library(), "kokoro", "one", wish)
    assert config.sid == number


@pytest.mark.parametrize(("wish", "number"), [("17", 17), ("99", 0), ("nobody", 0)])
def test_speakers_without_names_have_numbers(wish: str, number: int) -> None:
    ((_, config),) = said(Library(), "vits", "one", VoiceOptions("en", wish), voices=())
    assert config.sid == number


@pytest.mark.parametrize(
    ("wish", "number"),
    [(VoiceOptions("en"), 5), (VoiceOptions("en", "am_fenrir"), 14), (VoiceOptions("en", gender="male"), 14)],
)
def test_the_usual_speaker_is_asked_where_no_other_is(wish: VoiceOptions, number: int) -> None:
    ((_, config),) = said(Library(), "kokoro", "one", wish, usual=5)
    assert config.sid == number


@pytest.mark.parametrize(("speed", "asked"), [(1.25, 1.25), (0.1, 0.5), (9.0, 2.0)])
def test_speed_is_bounded(speed: float, asked: float) -> None:
    ((_, config),) = said(Library(), "vits", "one", VoiceOptions("en", speed=speed))
    assert config.speed == asked


@pytest.mark.parametrize("at_once", [False, True])
def test_sound_is_16_bit(at_once: bool) -> None:
    (piece,) = speaker(Library(says_all_at_once=at_once), "kitten").pieces("one", VoiceOptions())
    pcm = piece()
    assert pcm.dtype == np.int16
    assert pcm.tolist() == [16384] * 240


def test_sound_that_is_no_number_is_none() -> None:
    (piece,) = speaker(Library(level=float("nan")), "kokoro").pieces("one", VoiceOptions())
    assert piece().size == 0


@pytest.mark.parametrize("text", ["", "😀", "**", "…"])
def test_what_can_not_be_said_is_no_piece(text: str) -> None:
    assert not speaker(Library(), "vits").pieces(text, VoiceOptions())


def test_a_long_text_is_bounded_pieces() -> None:
    asked = said(Library(), "vits", "word " * 1_000, VoiceOptions())
    assert len(asked) > 10
    assert all(len(sounds(config)) < 600 for _, config in asked)


def test_other_languages_than_english_keep_their_sounds() -> None:
    assert for_kokoro("t^ʃˈiko ˈre", english=False) == "ʧˈiko ˈre"
    assert for_kokoro("ʁu-ʒ", english=False) == "ʁuʒ"
