"""Endpointing: the begin and the end of an utterance, from heard frames and `now`.

`endpointer` follows one utterance; how much silence ends it is a strategy of its own file: `fixed`,
`adaptive` (this speaker's own pauses), `transcript` (what the words promise), `vendor` (the recogniser's own
judgement) or `likelihood` (pauses and words, weighed). Imports `audio` and `config`; `voice` and the bench
import it.
"""

from collections.abc import Callable

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.utterance.endpointing.adaptive import AdaptiveSilence, Pauses
from mimi_mqtt.voice.utterance.endpointing.endpointer import End as End
from mimi_mqtt.voice.utterance.endpointing.endpointer import Endpointer as Endpointer
from mimi_mqtt.voice.utterance.endpointing.endpointer import EndpointEvent as EndpointEvent
from mimi_mqtt.voice.utterance.endpointing.endpointer import EndpointSettings as EndpointSettings
from mimi_mqtt.voice.utterance.endpointing.endpointer import SpeechBegan as SpeechBegan
from mimi_mqtt.voice.utterance.endpointing.endpointer import SpeechPaused as SpeechPaused
from mimi_mqtt.voice.utterance.endpointing.endpointer import SpeechWent as SpeechWent
from mimi_mqtt.voice.utterance.endpointing.endpointer import SpeechWentOn as SpeechWentOn
from mimi_mqtt.voice.utterance.endpointing.endpointer import UtteranceEnded as UtteranceEnded
from mimi_mqtt.voice.utterance.endpointing.fixed import FixedSilence
from mimi_mqtt.voice.utterance.endpointing.likelihood import LikelyEnd
from mimi_mqtt.voice.utterance.endpointing.strategy import Endpointing as Endpointing
from mimi_mqtt.voice.utterance.endpointing.strategy import Spoken as Spoken
from mimi_mqtt.voice.utterance.endpointing.transcript import TranscriptSilence
from mimi_mqtt.voice.utterance.endpointing.vendor import VendorEndpoint

_STRATEGIES: dict[str, Callable[[VoiceSettings, Callable[[], str]], Endpointing]] = {
    "auto": lambda voice, language: LikelyEnd(voice.end_silence_ms, language),
    "fixed": lambda voice, language: FixedSilence(voice.end_silence_ms),
    "adaptive": lambda voice, language: AdaptiveSilence(Pauses(voice.end_silence_ms)),
    "transcript": lambda voice, language: TranscriptSilence(Pauses(voice.end_silence_ms), language),
    "vendor": lambda voice, language: VendorEndpoint(Pauses(voice.end_silence_ms)),
}


def endpointing(voice: VoiceSettings, language: Callable[[], str]) -> Endpointing:
    """One speaker's strategy, as `voice.endpointing` names it; it learns for as long as it is kept.

    `language` tells the one that is spoken now.
    """
    return _STRATEGIES[voice.endpointing](voice, language)
