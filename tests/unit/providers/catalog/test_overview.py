"""The list of providers agrees with the providers themselves: with nothing set, and without a package."""

import sys

import numpy as np
import pytest

from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.errors import ProviderNotConfigured, ProviderTimeout
from mimi_mqtt.providers.catalog import overview, registry
from mimi_mqtt.providers.catalog.overview import ROLES, Listing, attempt, listings
from mimi_mqtt.providers.contract.chat import TextDelta
from mimi_mqtt.providers.contract.provider import Role
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.unit.providers.fakes import HANG, FakeLlm, FakeStt

EVERY = [(role, name) for role in ROLES for name in registry.known(role)]
WITH_PACKAGES = [(role, name) for role, name in EVERY if registry.load(role, name).packages]
# Those that load it in a child process or as a library, or look for their model first.
ELSEWHERE = ("offline", "local", "silero", "piper", "faster_whisper")
# The values of no real service, for options that must have one.
DUMMIES = {"base_url": "http://127.0.0.1:9", "stt_model": "/nowhere", "tts_model": "/nowhere.onnx"}


def only(role: Role, name: str, options: dict[str, dict[str, object]] | None = None) -> ProviderSettings:
    return ProviderSettings.model_validate(
        {role: name if role in ("vad", "s2s") else [name], "options": options or {}}
    )


def find(found: list[Listing], role: Role, name: str) -> Listing:
    return next(listing for listing in found if (listing.role, listing.name) == (role, name))


@pytest.mark.parametrize(("role", "name"), EVERY)
async def test_a_provider_starts_without_settings_when_it_lacks_nothing(role: Role, name: str) -> None:
    settings = only(role, name)
    listing = find(listings(Settings(providers=settings), {}), role, name)
    provider = registry.build(role, settings, {})
    try:
        if listing.configured:
            await provider.start()
        else:
            with pytest.raises(ProviderNotConfigured):
                await provider.start()
    finally:
        await provider.aclose()
    assert listing.place == 1


@pytest.mark.parametrize(("role", "address"), [("stt", "stt_url"), ("tts", "tts_url")])
def test_a_region_is_not_missed_where_an_address_is_given(role: Role, address: str) -> None:
    options: dict[str, object] = {"speech_key": "k", address: "http://localhost/speech"}
    listing = find(listings(Settings(providers=only(role, "azure", {"azure": options})), {}), role, "azure")
    assert listing.configured


@pytest.mark.parametrize(("role", "name"), WITH_PACKAGES)
def test_a_missing_package_is_told_with_the_extra_that_has_it(
    role: Role, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = registry.load(role, name)
    for package in provider.packages:
        monkeypatch.setitem(sys.modules, package, None)
    lacking = find(listings(Settings(), {}), role, name).lacking
    assert f"pip install 'mimi-mqtt[{provider.extra}]'" in lacking[0]


@pytest.mark.parametrize(
    ("role", "name"),
    [(role, name) for role, name in WITH_PACKAGES if name not in ELSEWHERE],
)
async def test_the_package_that_is_declared_is_the_one_that_is_loaded(
    role: Role, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = registry.load(role, name)
    for module in [known for known in sys.modules if known.partition(".")[0] in kind.packages]:
        monkeypatch.setitem(sys.modules, module, None)
    for package in kind.packages:
        monkeypatch.setitem(sys.modules, package, None)
    found = find(listings(Settings(), {}), role, name)
    given: dict[str, object] = {
        option.option: DUMMIES.get(option.option, "dummy") for option in found.options
    }
    provider = registry.build(role, only(role, name, {name: given}), {})
    with pytest.raises(ProviderNotConfigured) as caught:
        await provider.start()
    assert f"mimi-mqtt[{kind.extra}]" in str(caught.value)
    await provider.aclose()


def test_what_is_set_makes_a_provider_ready_and_auto_chooses_it() -> None:
    found = listings(Settings(), {"OPENAI_API_KEY": "sk-test"})
    openai, offline = find(found, "llm", "openai"), find(found, "llm", "offline")
    assert (openai.configured, openai.place, offline.place) == (True, 1, 3)
    assert openai.options[0].variables == ("OPENAI_API_KEY",)
    assert not find(found, "llm", "groq").configured


def test_labelled_providers_are_listed_with_their_own_options() -> None:
    settings = ProviderSettings(options={"openai:house": {"base_url": "http://localhost:1/v1"}})
    found = listings(Settings(providers=settings), {})
    assert find(found, "llm", "openai:house").configured
    assert not find(found, "llm", "openai").configured


def test_a_wrong_option_is_told_in_the_list() -> None:
    settings = ProviderSettings(options={"openai": {"base_url": "localhost"}})
    assert any("providers.options.openai.base_url" in cure for cure in find(
        listings(Settings(providers=settings), {}), "llm", "openai"
    ).lacking)  # fmt: skip


async def test_an_attempt_starts_asks_times_and_closes() -> None:
    llm = FakeLlm([TextDelta("pong")])
    trial = await attempt(llm, 5)
    assert "pong" in trial.said
    assert trial.first_result_s is not None
    assert 0 <= trial.first_result_s <= trial.answer_s
    assert (llm.started, llm.closed) == (1, 1)


async def test_an_attempt_times_what_runs_in_a_task_too() -> None:
    trial = await attempt(FakeStt([Transcript("", final=True)]), 5)
    assert trial.first_result_s is not None


@pytest.mark.virtual_time
async def test_an_attempt_is_bounded_and_closes_in_any_case() -> None:
    llm = FakeLlm([HANG], limits=Limits(timeout_s=1000))
    with pytest.raises(ProviderTimeout):
        await attempt(llm, 5)
    assert llm.closed == 1


def test_agents_of_their_own_mind_show_whom_they_ask() -> None:
    agents = {"chef": {"llm": ["ollama", "offline"]}, "guest": {"name": "Guest"}}
    found = listings(Settings.model_validate({"providers": {"llm": "offline"}, "agents": agents}), {})
    offline, ollama = find(found, "llm", "offline"), find(found, "llm", "ollama")
    assert (offline.place, offline.agents) == (1, {"chef": 2})
    assert (ollama.place, ollama.agents) == (None, {"chef": 1})
    assert find(found, "tts", "offline").agents == {}


async def test_speech_to_text_is_tried_with_a_word_of_real_speech() -> None:
    """A tone is no speech: Whisper's servers search for words in it for a minute."""
    stt = FakeStt([Transcript("Hello.", final=True)])
    trial = await overview.attempt(stt, 30)
    assert trial.said == "understood 'Hello.'"
    word = await overview.spoken_word()
    assert word is not None
    heard = np.concatenate(stt.heard[0])
    assert heard.size == pytest.approx(word.size, abs=2_000)
    # Speech has pauses between its sounds, and a tone has none.
    loudness = np.abs(heard[: heard.size // 320 * 320].astype(np.int32)).reshape(-1, 320).max(axis=1)
    assert loudness.max() > 8 * max(int(loudness.min()), 1)


async def test_speech_to_text_is_tried_with_a_tone_where_nothing_can_speak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing() -> None:
        return None

    monkeypatch.setattr(overview, "spoken_word", nothing)
    trial = await overview.attempt(FakeStt([Transcript("", final=True)]), 30)
    assert trial.said == "half a second of audio understood"
