"""Usage counters of each provider, and their cost by `providers.prices`.

Counted when the vendor has done it: tokens as it says, audio at its final transcript, characters at the first
sound of their speech. A request that was given up before is not counted, though some vendors bill it.
"""

from prometheus_client import Counter

from mimi_mqtt.config.voice import PriceSettings

_tokens = Counter(
    "mimi_provider_tokens",
    "Tokens that models counted, by direction; those of audio are apart (input_audio, output_audio).",
    ["name", "direction"],
)
_audio = Counter("mimi_provider_audio_seconds", "Seconds of audio that were transcribed.", ["name"])
_characters = Counter("mimi_provider_characters", "Characters that were spoken.", ["name"])
_cost = Counter(
    "mimi_provider_cost",
    "What requests cost by the price table, in its currency; providers without a price are absent.",
    ["role", "name"],
)

_MILLION = 1_000_000


def count_tokens(name: str, input_tokens: int, output_tokens: int, price: PriceSettings | None) -> None:
    """Counts an answer of the language model `name`."""
    _tokens.labels(name, "input").inc(input_tokens)
    _tokens.labels(name, "output").inc(output_tokens)
    if price is not None:
        read, written = input_tokens * price.input_per_million, output_tokens * price.output_per_million
        _cost.labels("llm", name).inc((read + written) / _MILLION)


def count_speech_tokens(
    name: str, heard: tuple[int, int], said: tuple[int, int], price: PriceSettings | None
) -> None:
    """Counts an answer of the speech-to-speech service `name`; tokens as (text, audio)."""
    for direction, (text, audio) in (("input", heard), ("output", said)):
        _tokens.labels(name, direction).inc(text)
        _tokens.labels(name, f"{direction}_audio").inc(audio)
    if price is not None:
        hearing, saying = price.audio_input_per_million, price.audio_output_per_million
        cost = heard[0] * price.input_per_million + said[0] * price.output_per_million
        cost += heard[1] * (price.input_per_million if hearing is None else hearing)
        cost += said[1] * (price.output_per_million if saying is None else saying)
        _cost.labels("s2s", name).inc(cost / _MILLION)


def count_audio(name: str, seconds: float, price: PriceSettings | None) -> None:
    """Counts an utterance that `name` has transcribed."""
    _audio.labels(name).inc(seconds)
    if price is not None:
        _cost.labels("stt", name).inc(seconds / 60 * price.per_minute)


def count_characters(name: str, characters: int, price: PriceSettings | None) -> None:
    """Counts a sentence that `name` speaks."""
    _characters.labels(name).inc(characters)
    if price is not None:
        _cost.labels("tts", name).inc(characters * price.per_million_characters / _MILLION)
