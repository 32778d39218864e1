"""Voices and the notation of speed that Azure Speech and the Edge browser share."""

from typing import Final

from mimi_mqtt.providers.languages import normalized, primary_subtag

FALLBACK_VOICE: Final = "en-US-AvaMultilingualNeural"

# One for each locale; a language alone takes its first.
_VOICES: Final = (
    "en-US-AvaMultilingualNeural",
    "en-GB-SoniaNeural",
    "en-AU-NatashaNeural",
    "en-IN-NeerjaNeural",
    "ar-SA-ZariyahNeural",
    "bg-BG-KalinaNeural",
    "cs-CZ-VlastaNeural",
    "da-DK-ChristelNeural",
    "de-DE-KatjaNeural",
    "de-AT-IngridNeural",
    "de-CH-LeniNeural",
    "el-GR-AthinaNeural",
    "es-ES-ElviraNeural",
    "es-MX-DaliaNeural",
    "fi-FI-NooraNeural",
    "fr-FR-DeniseNeural",
    "fr-CA-SylvieNeural",
    "he-IL-HilaNeural",
    "hi-IN-SwaraNeural",
    "hu-HU-NoemiNeural",
    "id-ID-GadisNeural",
    "it-IT-ElsaNeural",
    "ja-JP-NanamiNeural",
    "ko-KR-SunHiNeural",
    "ms-MY-YasminNeural",
    "nb-NO-PernilleNeural",
    "nl-NL-ColetteNeural",
    "pl-PL-ZofiaNeural",
    "pt-BR-FranciscaNeural",
    "pt-PT-RaquelNeural",
    "ro-RO-AlinaNeural",
    "ru-RU-SvetlanaNeural",
    "sv-SE-SofieNeural",
    "th-TH-PremwadeeNeural",
    "tr-TR-EmelNeural",
    "uk-UA-PolinaNeural",
    "vi-VN-HoaiMyNeural",
    "zh-CN-XiaoxiaoNeural",
    "zh-TW-HsiaoChenNeural",
    "zh-HK-HiuMaanNeural",
)

_BY_TAG: Final[dict[str, str]] = {}
for _voice in _VOICES:
    _language, _region, _ = _voice.lower().split("-", 2)
    _BY_TAG[f"{_language}-{_region}"] = _voice
    _BY_TAG.setdefault(_language, _voice)
_BY_TAG["no"] = _BY_TAG["nb"]

LANGUAGES: Final = frozenset(tag for tag in _BY_TAG if "-" not in tag)
"""Languages with a voice of their own here, as primary subtags."""


def voice_for(language: str) -> str:
    """The voice for a tag such as `vi` or `pt_PT`; a multilingual one for a language not listed here."""
    tag = normalized(language)
    return _BY_TAG.get(tag) or _BY_TAG.get(primary_subtag(tag), FALLBACK_VOICE)


def rate_for(speed: float) -> str:
    """`speed` (1.0 is normal) as SSML's relative rate, such as `+20%`."""
    return f"{round((speed - 1) * 100):+d}%"
