"""The voice pool: providers shared by equal chains, built on demand, replaced and closed while it runs."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.errors import ConfigError, ProviderNotConfigured
from mimi_mqtt.providers.contract.chat import TextDelta
from mimi_mqtt.providers.contract.provider import Provider, ProviderOptions, Role
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache
from mimi_mqtt.voice import pool
from mimi_mqtt.voice.pool import LAST_TURN_S, REPLACED_S, UNUSED_S, Lease, VoicePool
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.phrases import apologies
from tests.fakes.speech_service import FakeService
from tests.fakes.voice import MemoryLog
from tests.unit.providers.fakes import FakeLlm, FakeStt, FakeTts, Startable, chunk

QUIET = {"cache_mb": 0}
"""Settings of providers without a speech cache, whose thread does not keep virtual time."""


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
    """Whose first start fails."""
    cures: dict[str, list[str]] = field(default_factory=dict)
    """What providers lack, by name."""

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
                names, provider = settings.llm, FakeLlm([TextDelta("yes")])
            case "s2s":
                names, provider = (str(settings.s2s),), StartableService()
            case "tts":
                names, provider = settings.tts, FakeTts([chunk(1)])
        if self.broken in names:
            provider.start_errors = [ProviderNotConfigured(self.broken, "no key")]
        self.providers.append((role, names, provider))
        return provider

    def provider(self, role: Role, *names: str) -> Any:
        """The first provider that was built with this chain."""
        return next(
            provider
            for made_role, made_names, provider in self.providers
            if (made_role, made_names) == (role, names)
        )

    def of_role(self, role: Role) -> list[Any]:
        return [provider for made_role, _, provider in self.providers if made_role == role]

    def names(self, role: Role) -> list[tuple[str, ...]]:
        return [names for made_role, names, _ in self.providers if made_role == role]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(pool, "build", made.build)
    monkeypatch.setattr(pool, "lacking", lambda role, name, settings, environ: made.cures.get(name, []))
    return made


@dataclass
class Playing:
    """A running pool, the settings it was started with, and the leases taken of it."""

    pool: VoicePool
    folder: Path
    leases: dict[str, Lease] = field(default_factory=dict)

    def __getitem__(self, key: str) -> VoiceServices:
        """The services of one conversation with the agent, the same one each time."""
        if key not in self.leases:
            self.leases[key] = self.pool.lease(key)
        return self.leases[key].current()

    async def replace(self, **sections: object) -> None:
        await self.pool.replace(settings_in(self.folder, sections))


def settings_in(folder: Path, sections: Mapping[str, object]) -> Settings:
    given = sections.get("providers")
    providers = {"find_llm": False, **(given if isinstance(given, dict) else {})}
    return Settings.model_validate({"server": {"data_dir": folder}, **sections, "providers": providers})


@asynccontextmanager
async def playing(tmp_path: Path, **sections: object) -> AsyncIterator[Playing]:
    together = VoicePool(settings_in(tmp_path, sections), {}, MemoryLog(), NoMemory())
    try:
        await together.start()
        yield Playing(together, tmp_path)
    finally:
        await together.aclose()


async def started(*services: VoiceServices) -> None:
    """Returns when the spoken apologies are made, for which text to speech has started."""
    for each in services:
        assert each.spoken_apologies is not None
        await each.spoken_apologies.prepared()


async def test_agents_that_ask_the_same_share_it(made: Made, tmp_path: Path) -> None:
    agents = {
        "chef": {"llm": ["ollama", "offline"], "voice": "eva"},
        "guest": {"llm": ["ollama", "offline"]},
        "other": {"llm": ["offline", "ollama"]},
    }
    async with playing(tmp_path, agents=agents) as services:
        chef, guest, other, default = (services[key] for key in ("chef", "guest", "other", "default"))
        assert chef.llm is guest.llm
        assert len({id(each.llm) for each in (default, chef, other)}) == 3
        assert chef.stt is default.stt
        assert chef.tts is default.tts
        assert chef.hearing is default.hearing
        assert made.names("llm") == [("offline",), ("ollama", "offline"), ("offline", "ollama")]
        assert made.names("tts") == [("hibari", "offline")]
        await started(default)
    assert {provider.started for _, _, provider in made.providers} == {1}
    assert all(provider.closed == 1 for _, _, provider in made.providers)


@pytest.mark.virtual_time
async def test_the_start_waits_for_the_default_agent_alone(made: Made, tmp_path: Path) -> None:
    async with playing(tmp_path, agents={"chef": {"llm": "ollama"}}, providers=QUIET) as services:
        assert made.names("llm") == [("offline",)]
        assert made.provider("llm", "offline").started == 1
        llm = services["chef"].llm
        assert made.names("llm") == [("offline",), ("ollama",)]
        assert made.provider("llm", "ollama").started == 0
        assert [event async for event in llm.chat([])] == [TextDelta("yes")]
        assert made.provider("llm", "ollama").started == 1
        await asyncio.sleep(1)
        assert services["chef"].llm is made.provider("llm", "ollama")


async def test_two_that_need_the_same_at_once_start_it_once(made: Made, tmp_path: Path) -> None:
    async with playing(tmp_path, agents={"chef": {"llm": "ollama"}, "guest": {"llm": "ollama"}}) as services:
        models = (services["chef"].llm, services["guest"].llm)
        await asyncio.gather(*(anext(model.chat([]), None) for model in models))
        assert made.provider("llm", "ollama").started == 1


async def test_one_that_can_not_start_on_demand_fails_its_requests_and_is_tried_again(
    made: Made, tmp_path: Path
) -> None:
    made.broken = "ollama"
    async with playing(tmp_path, agents={"chef": {"llm": "ollama"}}) as services:
        with pytest.raises(ProviderNotConfigured, match="no key"):
            await anext(services["chef"].llm.chat([]))
        assert [event async for event in services["chef"].llm.chat([])] == [TextDelta("yes")]


async def test_each_agent_speaks_with_its_own_settings(made: Made, tmp_path: Path) -> None:
    chef = {"name": "Chef", "prompt": "I am {{ agent.name }}", "end_silence_ms": 1200, "voice": "eva"}
    async with playing(tmp_path, agents={"chef": chef}, voice={"end_silence_ms": 800}) as services:
        assert services["chef"].agent.name == "Chef"
        assert services["chef"].prompt is not services["default"].prompt
        assert services["chef"].voice.end_silence_ms == 1200
        assert services["default"].voice.end_silence_ms == 800


async def test_apologies_are_made_in_each_agents_voice_and_language(made: Made, tmp_path: Path) -> None:
    agents = {"chef": {"voice": {"vi": "linh"}, "language": "vi", "speed": 0.8}, "guest": {"name": "Guest"}}
    server = {"data_dir": tmp_path, "language": "de"}
    async with playing(tmp_path, agents=agents, server=server) as services:
        assert services["guest"].spoken_apologies is services["default"].spoken_apologies
        await started(*(services[key] for key in ("default", "guest", "chef")))
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
        assert services["default"].manner("en").voice is None
        assert services["typist"].manner("en").voice == "eva"
        await started(services["default"], services["typist"])
        (tts,) = [provider for _, _, provider in made.providers if isinstance(provider, FakeTts)]
        assert {voice.voice for _, voice in tts.asked} == {None, "eva"}


async def test_the_offline_voice_is_the_spare_of_all_that_lack_it(made: Made, tmp_path: Path) -> None:
    agents = {"chef": {"tts": "edge"}, "guest": {"tts": "piper"}}
    async with playing(tmp_path, agents=agents) as services:
        assert services["chef"].tts is not services["guest"].tts
        assert made.names("tts") == [("hibari", "offline"), ("edge",), ("offline",), ("piper",)]


async def test_one_that_can_not_start_ends_the_start_and_closes_the_others(
    made: Made, tmp_path: Path
) -> None:
    made.broken = "ollama"
    with pytest.raises(ProviderNotConfigured, match="no key"):
        async with playing(tmp_path, assistant={"llm": "ollama"}):
            pass
    assert all(provider.closed for _, _, provider in made.providers)


async def test_an_agents_unknown_provider_ends_the_start(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agents\.chef\.tts"):
        async with playing(tmp_path, agents={"chef": {"tts": "nobody"}}):
            pass
    assert made.providers == []


async def test_an_agent_all_of_whose_providers_lack_something_ends_the_start(
    made: Made, tmp_path: Path
) -> None:
    made.cures["gemini"] = ["set GEMINI_API_KEY"]
    async with playing(tmp_path, agents={"chef": {"llm": ["gemini", "offline"]}}):
        pass
    with pytest.raises(ProviderNotConfigured, match=r"set GEMINI_API_KEY \(asked by agent chef\)"):
        async with playing(tmp_path, agents={"chef": {"llm": "gemini"}}):
            pass


# ── replaced while it runs ───────────────────────────────────────────────────────────────────────────


@pytest.mark.virtual_time
async def test_a_chain_of_two_agents_is_closed_once_after_the_last_conversation(
    made: Made, tmp_path: Path
) -> None:
    agents = {"chef": {"llm": "ollama"}, "guest": {"llm": "ollama"}}
    async with playing(tmp_path, agents=agents, providers=QUIET) as services:
        assert services["chef"].llm is services["guest"].llm
        await started(services["chef"])
        ollama = made.provider("llm", "ollama")
        services.leases["chef"].release()
        await asyncio.sleep(UNUSED_S + 1)
        assert not ollama.closed
        services.leases["guest"].release()
        await asyncio.sleep(UNUSED_S - 1)
        assert not ollama.closed
        await asyncio.sleep(2)
        assert ollama.closed == 1
        assert not made.provider("llm", "offline").closed
        del services.leases["chef"]
        assert services["chef"].llm is not ollama
        assert made.names("llm") == [("offline",), ("ollama",), ("ollama",)]
    assert ollama.closed == 1


@pytest.mark.virtual_time
async def test_a_conversation_that_comes_back_in_time_finds_the_providers_it_had(
    made: Made, tmp_path: Path
) -> None:
    async with playing(tmp_path, agents={"chef": {"llm": "ollama"}}, providers=QUIET) as services:
        await started(services["chef"])
        for _ in range(5):
            services.leases.pop("chef").release()
            await asyncio.sleep(UNUSED_S / 2)
            assert services["chef"].agent.name
        assert made.names("llm") == [("offline",), ("ollama",)]


@pytest.mark.virtual_time
async def test_a_change_leaves_what_it_does_not_concern(made: Made, tmp_path: Path) -> None:
    agents = {"chef": {"llm": "ollama"}}
    async with playing(tmp_path, agents=agents, providers=QUIET) as services:
        default, chef = services["default"], services["chef"]
        await asyncio.sleep(1)
        chef = services["chef"]
        told = watch(services, "default", "chef")
        await services.replace(agents={"chef": {"llm": "ollama", "voice": "eva"}}, providers=QUIET)
        assert told == ["chef"]
        assert services["default"] is default
        assert services["chef"].agent.voice == "eva"
        assert services["chef"].llm is chef.llm
        assert made.names("llm") == [("offline",), ("ollama",)]
        await asyncio.sleep(REPLACED_S)
        assert not made.provider("llm", "ollama").closed


@pytest.mark.virtual_time
async def test_other_options_of_a_provider_make_another_one_and_close_the_old_after_its_last_turn(
    made: Made, tmp_path: Path
) -> None:
    async with playing(tmp_path, assistant={"llm": "ollama"}, providers=QUIET) as services:
        before: object = services["default"].llm
        lease = services.leases["default"]
        options = {"ollama": {"base_url": "http://192.0.2.1/v1"}}
        await services.replace(assistant={"llm": "ollama"}, providers={**QUIET, "options": options})
        old, new = made.of_role("llm")
        assert new.started == 1
        await asyncio.sleep(LAST_TURN_S + 1)
        assert not old.closed  # its turn is still running
        assert lease.current().llm == new != before
        await asyncio.sleep(LAST_TURN_S - 1)
        assert not old.closed
        await asyncio.sleep(2)
        assert (old.closed, new.closed) == (1, 0)


@pytest.mark.virtual_time
async def test_a_conversation_that_never_ends_keeps_what_was_replaced_for_a_bounded_time(
    made: Made, tmp_path: Path
) -> None:
    async with playing(tmp_path, assistant={"llm": "ollama"}, providers=QUIET) as services:
        assert services["default"].agent.name
        await services.replace(assistant={"llm": "offline"}, providers=QUIET)
        await asyncio.sleep(REPLACED_S - 1)
        assert not made.provider("llm", "ollama").closed
        await asyncio.sleep(2)
        assert made.provider("llm", "ollama").closed == 1
        assert services["default"].llm is made.provider("llm", "offline")


async def test_a_change_that_can_not_start_leaves_all_as_it_was(made: Made, tmp_path: Path) -> None:
    async with playing(tmp_path, agents={"chef": {}}) as services:
        default, chef = services["default"], services["chef"]
        told = watch(services, "default", "chef")
        made.broken = "ollama"
        with pytest.raises(ProviderNotConfigured, match="no key"):
            await services.replace(agents={"chef": {"llm": "ollama"}}, assistant={"voice": "eva"})
        with pytest.raises(ConfigError, match=r"agents\.chef\.stt"):
            await services.replace(agents={"chef": {"stt": "nobody"}})
        assert told == []
        assert (services["default"], services["chef"]) == (default, chef)
        await services.pool.aclose()
        assert [provider.closed for _, _, provider in made.providers] == [1] * len(made.providers)


@pytest.mark.virtual_time
async def test_a_change_whose_providers_never_start_is_given_up(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(tmp_path, providers=QUIET) as services:
        default = services["default"]

        async def never(provider: FakeLlm) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(FakeLlm, "start", never)
        with pytest.raises(ProviderNotConfigured, match="not started within"):
            await services.replace(assistant={"llm": "ollama"}, providers=QUIET)
        assert services["default"] is default


async def test_the_agent_of_a_conversation_that_is_removed_is_followed_by_the_default_one(
    made: Made, tmp_path: Path
) -> None:
    async with playing(tmp_path, agents={"chef": {"name": "Chef"}}) as services:
        assert services["chef"].agent.name == "Chef"
        await services.replace()
        assert services["chef"] is services["default"]


async def test_an_agent_that_is_added_is_there_at_once(made: Made, tmp_path: Path) -> None:
    async with playing(tmp_path) as services:
        await services.replace(agents={"chef": {"name": "Chef"}})
        assert services["chef"].agent.name == "Chef"


def watch(services: Playing, *keys: str) -> list[str]:
    """The agents of whose conversations one was told of newer services, as they come."""
    told: list[str] = []
    for key in keys:
        assert services[key].agent.name
        services.leases[key].on_change = partial(told.append, key)
    return told


async def test_an_agent_in_the_background_keeps_no_server_from_starting(tmp_path: Path, made: Made) -> None:
    made.broken = "ollama"
    together = VoicePool(
        settings_in(tmp_path, {"assistant": {"llm": "ollama"}, "providers": QUIET}),
        {},
        MemoryLog(),
        NoMemory(),
    )
    try:
        await together.start(in_background={"default"})
        assert together.lease("default").current().llm is not None
    finally:
        await together.aclose()


async def test_providers_that_start_in_the_background_may_fail(tmp_path: Path, made: Made) -> None:
    async with playing(tmp_path, assistant={"llm": "groq"}, providers=QUIET) as it:
        before = it["default"]
        made.broken = "ollama"
        wanted = settings_in(tmp_path, {"assistant": {"llm": "ollama"}, "providers": QUIET})
        with pytest.raises(ProviderNotConfigured):
            await it.pool.replace(wanted)
        assert it["default"] is before
        await it.pool.replace(wanted, in_background={"default"})
        assert it["default"] is not before
