"""Everybody who hears, thinks and speaks: shared where agents ask the same, their own where they don't."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.errors import ConfigError, ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import Provider, ProviderOptions, Role
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache
from mimi_mqtt.voice import pool
from mimi_mqtt.voice.pool import Ensemble
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.phrases import apologies
from tests.fakes.speech_service import FakeService
from tests.fakes.voice import MemoryLog
from tests.unit.providers.fakes import FakeLlm, FakeStt, FakeTts, Startable, chunk


class FakeVad(Startable, VoiceActivityDetector):
    """Hears nothing."""

    def open(self) -> VadStream:
        return VadStream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        return [0.0 for _ in batch]


class StartableService(Startable, FakeService):
    """One of speech to speech."""


class NoMemory:
    """Remembers nothing."""

    async def recall(self, device_id: str, session_id: str) -> str:
        return ""


@dataclass
class Made:
    """The providers that were built, by role and names."""

    providers: list[tuple[Role, tuple[str, ...], Startable]] = field(default_factory=list)
    broken: str = ""

    def build(
        self,
        role: Role,
        settings: ProviderSettings,
        environ: Mapping[str, str],
        cache: SpeechCache | None = None,
    ) -> Provider:
        provider: Startable
        names: tuple[str, ...]
        match role:
            case "vad":
                names, provider = (settings.vad,), FakeVad("vad", ProviderOptions(), Limits())
            case "stt":
                names, provider = settings.stt, FakeStt([])
            case "llm":
                names, provider = settings.llm, FakeLlm([])
            case "s2s":
                names, provider = (str(settings.s2s),), StartableService()
            case "tts":
                names, provider = settings.tts, FakeTts([chunk(1)])
        if self.broken in names:
            provider.start_errors = [ProviderNotConfigured(self.broken, "no key")]
        self.providers.append((role, names, provider))
        return provider

    def names(self, role: Role) -> list[tuple[str, ...]]:
        return [names for made_role, names, _ in self.providers if made_role == role]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(pool, "build", made.build)
    return made


@asynccontextmanager
async def playing(tmp_path: Path, **sections: object) -> AsyncIterator[Mapping[str, VoiceServices]]:
    settings = Settings.model_validate({"server": {"data_dir": tmp_path}, **sections})
    together = Ensemble(settings, {}, MemoryLog(), NoMemory())
    try:
        yield await together.start()
    finally:
        await together.aclose()


async def test_agents_that_ask_the_same_share_it(made: Made, tmp_path: Path) -> None:
    agents = {
        "chef": {"llm": ["ollama", "offline"], "voice": "eva"},
        "guest": {"llm": ["ollama", "offline"]},
        "other": {"llm": ["offline", "ollama"]},
    }
    async with playing(tmp_path, agents=agents) as services:
        assert list(services) == ["default", "chef", "guest", "other"]
        chef, guest, other, default = (services[key] for key in ("chef", "guest", "other", "default"))
        assert chef.llm is guest.llm
        assert len({id(each.llm) for each in (default, chef, other)}) == 3
        assert chef.stt is default.stt
        assert chef.tts is default.tts
        assert chef.hearing is default.hearing
        assert made.names("llm") == [("offline",), ("ollama", "offline"), ("offline", "ollama")]
        assert made.names("tts") == [("offline",)]
        assert {provider.started for _, _, provider in made.providers} == {1}
    assert all(provider.closed for _, _, provider in made.providers)


async def test_each_agent_speaks_with_its_own_settings(made: Made, tmp_path: Path) -> None:
    chef = {"name": "Chef", "prompt": "I am {{ agent.name }}", "end_silence_ms": 1200, "voice": "eva"}
    async with playing(tmp_path, agents={"chef": chef}, voice={"end_silence_ms": 800}) as services:
        assert services["chef"].agent.name == "Chef"
        assert services["chef"].prompt is not services["default"].prompt
        assert services["chef"].voice.end_silence_ms == 1200
        assert services["default"].voice.end_silence_ms == 800


async def test_apologies_are_made_in_each_agents_voice_and_language(made: Made, tmp_path: Path) -> None:
    agents = {"chef": {"voice": {"vi": "linh"}, "language": "vi", "speed": 0.8}, "guest": {"name": "Guest"}}
    async with playing(tmp_path, agents=agents, server={"data_dir": tmp_path, "language": "de"}) as services:
        assert services["guest"].spoken_apologies is services["default"].spoken_apologies
        for each in services.values():
            assert each.spoken_apologies is not None
            await each.spoken_apologies.prepared()
        (tts,) = [provider for _, _, provider in made.providers if isinstance(provider, FakeTts)]
        assert {(voice.language, voice.voice, voice.speed) for _, voice in tts.asked} == {
            ("de", None, 1.0),
            ("vi", "linh", 0.8),
        }
        texts = [text for text, _ in tts.asked]
        assert {apologies("de").failed, apologies("vi").failed} <= {*texts}
        assert len(texts) == len({*texts})


async def test_speech_to_speech_is_each_agents_own_choice(made: Made, tmp_path: Path) -> None:
    agents = {"chef": {"s2s": "openai_realtime:chef"}, "guest": {}, "quiet": {"s2s": False}}
    providers = {"s2s": "gemini_live"}
    async with playing(tmp_path, agents=agents, providers=providers) as services:
        assert services["guest"].s2s is services["default"].s2s is not None
        assert services["chef"].s2s not in (None, services["default"].s2s)
        assert services["quiet"].s2s is None
        assert made.names("s2s") == [("gemini_live",), ("openai_realtime:chef",)]


async def test_a_voice_that_is_named_for_speech_to_speech_is_not_asked_of_text_to_speech(
    made: Made, tmp_path: Path
) -> None:
    assistant, agents = {"voice": "marin"}, {"typist": {"s2s": False, "voice": "eva"}}
    providers = {"s2s": "openai_realtime"}
    async with playing(tmp_path, assistant=assistant, agents=agents, providers=providers) as services:
        assert services["default"].tts_voice("en") is None
        assert services["typist"].tts_voice("en") == "eva"
        for each in services.values():
            assert each.spoken_apologies is not None
            await each.spoken_apologies.prepared()
        (tts,) = [provider for _, _, provider in made.providers if isinstance(provider, FakeTts)]
        assert {voice.voice for _, voice in tts.asked} == {None, "eva"}


async def test_the_offline_voice_is_the_spare_of_all_that_lack_it(made: Made, tmp_path: Path) -> None:
    agents = {"chef": {"tts": "edge"}, "guest": {"tts": "piper"}}
    async with playing(tmp_path, agents=agents):
        assert made.names("tts") == [("offline",), ("edge",), ("piper",), ("offline",)]


async def test_one_that_can_not_start_ends_the_start_and_closes_the_others(
    made: Made, tmp_path: Path
) -> None:
    made.broken = "ollama"
    with pytest.raises(ProviderNotConfigured, match="no key"):
        async with playing(tmp_path, agents={"chef": {"llm": "ollama"}}):
            pass
    assert all(provider.closed for _, _, provider in made.providers)


async def test_an_agents_unknown_provider_ends_the_start(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agents\.chef\.tts"):
        async with playing(tmp_path, agents={"chef": {"tts": "nobody"}}):
            pass
    assert made.providers == []
