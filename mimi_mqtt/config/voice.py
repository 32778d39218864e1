"""Settings of hearing, turn-taking and of the providers of speech and language."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
)

from mimi_mqtt.config.agents import one_service
from mimi_mqtt.config.section import Section


class VoiceSettings(Section):
    """Hearing and turn-taking."""

    speech_threshold: float = Field(0.5, gt=0, lt=1)
    """Voice probability from which a frame counts as speech."""

    min_speech_ms: int = Field(180, ge=20)
    """Speech needed before an utterance has begun, in ms."""

    preroll_ms: int = Field(300, ge=0, le=2000)
    """Audio before the detected beginning that is kept, in ms."""

    endpointing: Literal["auto", "adaptive", "fixed", "transcript", "vendor"] = "auto"
    """Rule for the end of an utterance in auto and realtime mode: auto weighs the words against the speaker's
    own pauses, and is adaptive where no words are known in time; adaptive follows the speaker's own pauses,
    fixed is always end_silence_ms, transcript waits longer after an unfinished clause and less after a
    complete one (needs speech to text with interim results, or preemptive replies), vendor believes the
    speech-to-text provider where it judges (deepgram), else it is adaptive."""

    end_silence_ms: int = Field(700, ge=200, le=5000)
    """Silence that ends an utterance in auto and realtime mode, in ms; adapts between half and one and a half
    times this to the speaker's own pauses."""

    preemptive_silence_ms: int = Field(180, ge=0, le=5000)
    """Preemptive replies: after so much silence, in ms, the answer is begun, without being spoken and without
    tools. It is dropped when the speaker goes on, which costs a request to speech to text and one to the
    language model; set 0 to spare them."""

    barge_in_ms: int = Field(120, ge=0, le=5000)
    """Speech during the reply, in ms, that interrupts it in realtime mode. 0: only the wake word or a button
    does. When it was noise the reply goes on from where it stopped."""

    max_utterance_s: float = Field(30.0, ge=2, le=300)
    """An utterance longer than this is cut and answered, in seconds."""

    no_speech_timeout_s: float = Field(15.0, ge=2)
    """A listening turn without speech for so long ends without a word, in seconds."""

    jitter_ms: int = Field(120, ge=0, le=1000)
    """Longest wait for a missing packet before it counts as lost, in ms."""

    s2s_idle_s: float = Field(60.0, ge=5)
    """Speech to speech: after so long without speech the connection to the service, which may cost money, is
    closed, in seconds. The next one begins with what was said before."""

    opus_bitrate: int = Field(24_000, ge=6_000, le=128_000)
    """Downlink Opus bit rate, in bits per second."""

    opus_complexity: int = Field(5, ge=0, le=10)
    """Downlink Opus encoder effort."""

    downlink_sample_rate: Literal[16_000, 24_000] = 24_000
    """Sample rate of the speech sent to devices, in Hz."""

    audio_threads: int = Field(2, ge=1, le=64)
    """Threads for Opus and voice activity detection, shared by all sessions."""

    max_reply_chars: int = Field(4_000, ge=100)
    """A reply longer than this is cut at a sentence."""

    filler_s: float = Field(5.0, ge=0, le=60)
    """The wait for an answer after which "one moment, please" is said, in seconds; again after three times as
    long, and so on. 0: never."""

    patience_s: float = Field(30.0, ge=1, le=600)
    """Longest wait for the first sound of an answer, from the end of the speech, in seconds: then an apology
    is said instead."""

    max_tool_rounds: int = Field(5, ge=0, le=50)
    """Most rounds of tool calls in one reply."""

    history_turns: int = Field(20, ge=0)
    """Turns of the conversation the language model is shown."""


Chain = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    PlainSerializer(lambda names: names[0] if len(names) == 1 else list(names)),
    Field(min_length=1),
]


class PriceSettings(Section):
    """Prices of one provider, in the currency of the whole table."""

    input_per_million: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A million tokens that a language model reads."""

    output_per_million: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A million tokens that a language model writes."""

    audio_input_per_million: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of audio that speech to speech hears. Empty: as other tokens."""

    audio_output_per_million: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of audio that speech to speech says. Empty: as other tokens."""

    per_minute: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A minute of audio that is transcribed."""

    per_million_characters: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A million characters that are spoken."""


class ProviderSettings(Section):
    """Providers of speech and language. `auto` chooses by the API keys in the environment, else offline."""

    vad: str = "silero"
    """Voice activity detection."""

    stt: Chain = ("auto",)
    """Speech to text: a name, or a list tried in order."""

    llm: Chain = ("auto",)
    """Language model: a name, or a list tried in order."""

    tts: Chain = ("auto",)
    """Text to speech: a name, or a list tried in order."""

    s2s: Annotated[str | None, BeforeValidator(one_service)] = None
    """Speech to speech: one service that hears, thinks and speaks in place of the three above, which answer
    when it fails. Never chosen by auto. Empty: none."""

    timeout_s: float = Field(15.0, gt=0)
    """Longest wait for a provider's first result, and between two parts of it, in seconds."""

    retries: int = Field(1, ge=0, le=5)
    """Further tries at a provider before the next one in the list is asked; none after a time-out."""

    hedge_ms: int = Field(0, ge=0, le=60_000)
    """Hedging: when the first provider of a list has not begun to answer after so much time, in ms, the
    second is asked too, the first to begin is heard, and the other is stopped. Costs a second request when it
    happens. Counts from the end of the audio for speech to text. Providers that act themselves, such as
    home_assistant, are never hedged; offline is the second only for text to speech, as its words are worth
    less than some patience. 0: off."""

    prices: dict[str, PriceSettings] = Field(default_factory=dict)
    """Prices by provider, as name or name:label, for mimi_provider_cost_total in /metrics, in any one
    currency: {openai: {input_per_million: 0.4, output_per_million: 1.6}}. Also per_minute of audio for speech
    to text, per_million_characters for text to speech, and audio_input_per_million and
    audio_output_per_million for speech to speech."""

    cache_mb: int = Field(64, ge=0, le=100_000)
    """Disk space for short phrases that are said often, in MB, under data_dir/cache: they cost no request and
    no wait. 0: none are kept."""

    find_llm: bool = True
    """Makes auto look for a language model on this machine: Ollama (at OLLAMA_HOST, if that is set) or LM
    Studio, with a model that can call tools."""

    models_dir: Path | None = None
    """Folder of local models that `mimi-mqtt models` installs; several servers may share it. Empty:
    mimi-mqtt/models under $XDG_DATA_HOME, which is ~/.local/share."""

    unload_idle_min: int = Field(10, ge=0, le=100_000)
    """Local models that nobody has used for so long, in minutes, are unloaded while memory is short (less
    than a tenth of it is available), and loaded again when they are needed. 0: never."""

    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of each provider under its name, such as
    {openai: {base_url: "http://localhost:1234/v1"}}."""
