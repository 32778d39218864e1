"""Settings of agents. The default agent has every key, the others only those in which they differ."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from mimi_mqtt.config.prompt import DEFAULT_PROMPT, PromptTemplate
from mimi_mqtt.config.section import Section

DEFAULT_AGENT: Final = "default"
"""The name of the agent that the section `assistant` describes."""

LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")
"""A language such as en or zh-CN."""

SLOWEST: Final = 0.5
FASTEST: Final = 2.0
"""The range of an agent's speaking speed."""

_SPEED: Final = TypeAdapter(Annotated[float, Field(ge=SLOWEST, le=FASTEST)])

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _chain(value: object) -> object:
    return () if value is None else _listed(value)


def _listed(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError("must be a name, or a list of names")
    return value


def one_service(value: object) -> object:
    """`value` as the name of one speech-to-speech provider, or None. Raises ValueError for a list."""
    if isinstance(value, list | tuple):
        raise ValueError(
            "must be one provider's name: when it fails stt, llm and tts answer, each of which may be a list"
        )
    return None if value == "" else value


def _check_s2s(value: object) -> object:
    service = one_service(value)
    if service is None or isinstance(service, str) or service is False:
        return service
    raise ValueError("must be a provider's name, or off")


def _check_voice(value: object) -> object:
    if value is None or value == "":
        return None
    by_language = _by_language(value) if isinstance(value, dict) else {"en": value}
    for language, voice in by_language.items():
        if not isinstance(voice, str) or not voice.strip():
            raise ValueError(
                "must be a voice's name, female or male, or these by language such as {en: Ava, vi: female}"
            )
        gender = voice.strip().lower()
        by_language[language] = gender if gender in ("female", "male") else voice.strip()
    return by_language if isinstance(value, dict) else by_language["en"]


def _check_speed(value: object) -> object:
    by_language = _by_language(value) if isinstance(value, dict) else {"en": value}
    for language, speed in by_language.items():
        try:
            given = _SPEED.validate_python(speed)
        except ValidationError:
            raise ValueError(
                f"must be {SLOWEST:g} to {FASTEST:g}, or such numbers by language: {{en: 1.1, ja: 0.9}}"
            ) from None
        by_language[language] = given
    return by_language if isinstance(value, dict) else by_language["en"]


def _by_language(value: dict[object, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for language, given in value.items():
        if not isinstance(language, str) or not LANGUAGE_TAG.fullmatch(language):
            raise ValueError(f"{language!r} is not a language such as en or zh-CN")
        found[language] = given
    return found


def _for_language(by_language: Mapping[str, T], language: str) -> T | None:
    """The entry for a tag such as `zh-CN`: its own, else its primary language's."""
    wanted = language.replace("_", "-").lower()
    known = {tag.lower(): given for tag, given in by_language.items()}
    return known.get(wanted, known.get(wanted.partition("-")[0]))


AgentChain = Annotated[
    tuple[str, ...],
    BeforeValidator(_chain),
    PlainSerializer(lambda names: names[0] if len(names) == 1 else list(names) or None),
]
"""Providers in the order in which they are asked; empty: those of the section `providers`."""

ToolPattern = Annotated[str, Field(min_length=1)]


class AgentSettings(Section):
    """The default agent: its name, prompt, language, voice, providers and tools."""

    name: str = Field("MiMi", min_length=1, max_length=64)
    """Its name for itself: {{ agent.name }} in the prompt."""

    prompt: str = DEFAULT_PROMPT
    """System prompt for language models: a Jinja2 template (if, for and set), filled in for every answer.
    Variables: agent.name; device.id, .name, .board, .language, .firmware_version; user.name, .language (set
    with `mimi-mqtt devices set`), .emotion (how the last words sounded, such as angry, where speech to text
    tells: SenseVoice does); language (of the answer); time (a datetime, for
    {{ time.strftime('%H:%M') }}), date, weekday; memory (the last turns of earlier conversations with this
    device, empty when there are none); speech (whether the model speaks itself, speech to speech)."""

    language: str | None = None
    """Language heard, answered and spoken in, such as en or zh-CN. Empty: the person's, which is the
    device's."""

    voice: Annotated[str | dict[str, str] | None, BeforeValidator(_check_voice)] = None
    """Voice: a name that `mimi-mqtt voices` lists, or one of the text-to-speech provider's, or of the
    speech-to-speech service where there is one; female or male for any such voice of the local models; or
    these by language: {en: Ava, zh: male}. Empty, or a language that is not among them: the provider's
    default for the language."""

    speed: Annotated[float | dict[str, float], BeforeValidator(_check_speed)] = 1.0
    """Speaking speed, 0.5 to 2; 1 is the voice's own. Or speeds by language: {en: 1.1, ja: 0.9}."""

    greeting: str = "Hello! How can I help you?"
    """Said at the wake word when wake_word is greet: plain text, as it is kept in the speech cache. This
    one is said in the conversation's language."""

    wake_word: Literal["greet", "answer", "listen"] = "greet"
    """Effect of the wake word: greet says the greeting, answer treats it as the first question,
    listen stays silent."""

    stt: AgentChain = ()
    """Speech to text, as in providers.stt. Empty: providers.stt."""

    llm: AgentChain = ()
    """Language model, as in providers.llm. Empty: providers.llm."""

    vision: AgentChain = ()
    """Language models that are asked about photos of the device's camera, such as openai, gemini or
    anthropic. Empty: llm, as far as it sees."""

    tts: AgentChain = ()
    """Text to speech, as in providers.tts. Empty: providers.tts."""

    s2s: Annotated[str | Literal[False] | None, BeforeValidator(_check_s2s)] = None
    """Speech to speech, as in providers.s2s. Empty: providers.s2s. off: none, whatever that is."""

    tools: Annotated[tuple[ToolPattern, ...], BeforeValidator(_listed)] = ("*",)
    """Tools it may use: names or patterns such as self.audio_speaker.* or set_timer, over the names of the
    device and those that the model sees. [] for none."""

    recordings: bool = False
    """Keep the sound of turns, both sides, and photos, for files.keep_recordings_days. A device may have it
    otherwise (`mimi-mqtt devices set ID --recordings on`)."""

    end_silence_ms: int | None = Field(None, ge=200, le=5000)
    """Pause length: the silence that ends an utterance, in ms. Empty: voice.end_silence_ms."""

    @field_validator("prompt")
    @classmethod
    def _prompt_is_a_template(cls, source: str) -> str:
        PromptTemplate(source)
        return source

    @field_validator("language", mode="before")
    @classmethod
    def _language_is_a_tag(cls, language: object) -> object:
        if language == "":
            return None
        if isinstance(language, str) and not LANGUAGE_TAG.fullmatch(language):
            raise ValueError("must be a language such as en or zh-CN")
        return language

    def voice_for(self, language: str) -> str | None:
        """The voice for a tag such as `zh-CN`: its own, its primary language's, or None: the provider's
        default."""
        return _for_language(self.voice, language) if isinstance(self.voice, dict) else self.voice

    def speed_for(self, language: str) -> float:
        """The speaking speed for a tag such as `zh-CN`; 1 is the voice's own."""
        if not isinstance(self.speed, dict):
            return self.speed
        return _for_language(self.speed, language) or 1.0

    def changed_by(self, other: "AgentSettings") -> "AgentSettings":
        """This agent with every key that `other` was given, be it a null."""
        given = {key: getattr(other, key) for key in other.model_fields_set}
        return self.model_copy(update=given)


def agent_name_problem(name: str) -> str:
    """The fault in the name of an agent beside the default one; empty for none."""
    if not _NAME.fullmatch(name):
        return f"{name[:64]!r} is no agent's name: small letters, digits, - and _, at most 32"
    return f"{DEFAULT_AGENT!r} is the agent of the section assistant" if name == DEFAULT_AGENT else ""


def _check_names(agents: dict[str, AgentSettings]) -> dict[str, AgentSettings]:
    for name in agents:
        if problem := agent_name_problem(name):
            raise ValueError(problem)
    return agents


_Agent = Annotated[AgentSettings, BeforeValidator(lambda value: {} if value is None else value)]

Agents = Annotated[dict[str, _Agent], AfterValidator(_check_names)]
"""Agents by name; one without keys is the default one under another name."""
