"""Usage counters of each provider, and their cost by `providers.prices`; and the usage of one turn.

Counted when the vendor has done it: tokens as it says, audio at its final transcript, characters at the first
sound of their speech. A request that was given up before is not counted, though some vendors bill it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from prometheus_client import Counter

from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.store.turn_record import ProviderUse

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


class UsageMeter:
    """Adds up what a turn uses of providers, while it is `metering`; failed requests count nothing."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str], ProviderUse] = {}

    @property
    def uses(self) -> tuple[ProviderUse, ...]:
        """Each provider that answered, with what was used of it, in the order of their first answers."""
        return tuple(self._uses.values())

    def add(self, use: ProviderUse) -> None:
        """Adds `use` to what its provider did before."""
        key = use.role, use.name
        before = self._uses.get(key)
        self._uses[key] = use if before is None else _sum(before, use)

    def take(self, other: "UsageMeter") -> None:
        """Adds all that `other` has counted."""
        for use in other.uses:
            self.add(use)


_meter: ContextVar[UsageMeter | None] = ContextVar("usage meter", default=None)


def current_meter() -> UsageMeter | None:
    """The meter that the running task counts on; None where nobody asked."""
    return _meter.get()


@contextmanager
def metering(meter: UsageMeter | None) -> Iterator[None]:
    """Has requests made inside, also by tasks begun there, counted on `meter`."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


def count_answer(role: str, name: str) -> None:
    """Notes that `name` has begun to answer a request, whether or not its usage is ever known."""
    if (meter := _meter.get()) is not None:
        meter.add(ProviderUse(role, name))


def count_tokens(name: str, input_tokens: int, output_tokens: int, price: PriceSettings | None) -> None:
    """Counts an answer of the language model `name`."""
    _tokens.labels(name, "input").inc(input_tokens)
    _tokens.labels(name, "output").inc(output_tokens)
    cost = None
    if price is not None:
        read, written = input_tokens * price.input_per_million, output_tokens * price.output_per_million
        cost = (read + written) / _MILLION
    _used(ProviderUse("llm", name, input_tokens=input_tokens, output_tokens=output_tokens, cost=cost))


def count_speech_tokens(
    name: str, heard: tuple[int, int], said: tuple[int, int], price: PriceSettings | None
) -> None:
    """Counts an answer of the speech-to-speech service `name`; tokens as (text, audio)."""
    for direction, (text, audio) in (("input", heard), ("output", said)):
        _tokens.labels(name, direction).inc(text)
        _tokens.labels(name, f"{direction}_audio").inc(audio)
    cost = None
    if price is not None:
        hearing, saying = price.audio_input_per_million, price.audio_output_per_million
        cost = heard[0] * price.input_per_million + said[0] * price.output_per_million
        cost += heard[1] * (price.input_per_million if hearing is None else hearing)
        cost += said[1] * (price.output_per_million if saying is None else saying)
        cost /= _MILLION
    _used(
        ProviderUse(
            "s2s", name, input_tokens=heard[0], output_tokens=said[0],
            input_audio_tokens=heard[1], output_audio_tokens=said[1], cost=cost,
        )
    )  # fmt: skip


def count_audio(name: str, seconds: float, price: PriceSettings | None) -> None:
    """Counts an utterance that `name` has transcribed."""
    _audio.labels(name).inc(seconds)
    cost = None if price is None else seconds / 60 * price.per_minute
    _used(ProviderUse("stt", name, audio_s=seconds, cost=cost))


def count_characters(name: str, characters: int, price: PriceSettings | None) -> None:
    """Counts a sentence that `name` speaks."""
    _characters.labels(name).inc(characters)
    cost = None if price is None else characters * price.per_million_characters / _MILLION
    _used(ProviderUse("tts", name, characters=characters, cost=cost))


def _used(use: ProviderUse) -> None:
    if use.cost is not None:
        _cost.labels(use.role, use.name).inc(use.cost)
    if (meter := _meter.get()) is not None:
        meter.add(use)


def _sum(before: ProviderUse, use: ProviderUse) -> ProviderUse:
    costs = [cost for cost in (before.cost, use.cost) if cost is not None]
    return replace(
        before,
        input_tokens=before.input_tokens + use.input_tokens,
        output_tokens=before.output_tokens + use.output_tokens,
        input_audio_tokens=before.input_audio_tokens + use.input_audio_tokens,
        output_audio_tokens=before.output_audio_tokens + use.output_audio_tokens,
        audio_s=before.audio_s + use.audio_s,
        characters=before.characters + use.characters,
        cost=sum(costs) if costs else None,
    )
