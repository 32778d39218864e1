"""What a changed configuration changes in a running server, and what needs a restart."""

from collections.abc import Mapping

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes, compare

SECRET = "sk-very-secret"


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> Changes:
    return compare(Settings.model_validate(before), Settings.model_validate(after))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, ()),
        ({}, {"voice": {"end_silence_ms": 900}}, ("voice.end_silence_ms: 700 -> 900",)),
        ({"session": {"watchdog_s": 30}}, {}, ("session.watchdog_s: 30.0 -> 60.0",)),
        ({}, {"log": {"level": "debug"}}, ("log.level: info -> debug",)),
        ({}, {"server": {"language": "de"}}, ("server.language: en -> de",)),
        ({}, {"providers": {"llm": ["ollama", "offline"]}}, ("providers.llm: auto -> ollama+offline",)),
        ({}, {"providers": {"s2s": "gemini_live"}}, ("providers.s2s: empty -> gemini_live",)),
        ({}, {"assistant": {"language": "vi"}}, ("assistant.language: empty -> vi",)),
        ({}, {"assistant": {"voice": {"en": "Ava"}}}, ("assistant.voice: empty -> {'en': 'Ava'}",)),
        ({}, {"assistant": {"tools": []}}, ("assistant.tools: * -> empty",)),
        ({}, {"agents": {"chef": {"name": "Chef"}}}, ("agents.chef: added",)),
        ({"agents": {"chef": None}}, {}, ("agents.chef: removed",)),
        (
            {"agents": {"chef": {"speed": 1.5}}},
            {"agents": {"chef": {"speed": 0.8}}},
            ("agents.chef.speed: 1.5 -> 0.8",),
        ),
    ],
)
def test_what_takes_effect_is_told_by_its_key(
    before: Mapping[str, object], after: Mapping[str, object], told: tuple[str, ...]
) -> None:
    found = changes(before, after)
    assert found.effective == told
    assert found.restart == ()
    assert found.settings == Settings.model_validate(after)


def test_a_prompt_is_not_repeated() -> None:
    found = changes({}, {"assistant": {"prompt": "Be brief.", "greeting": "Yo!"}})
    assert found.effective == ("assistant.prompt: changed", "assistant.greeting: changed")


def test_a_key_that_an_agent_does_not_have_of_its_own_any_more_is_told() -> None:
    found = changes({"agents": {"chef": {"speed": 1.0}}}, {"agents": {"chef": None}})
    assert found.effective == ("agents.chef.speed: changed",)


def test_what_keys_are_changed_to_is_not_told_as_it_may_be_secret() -> None:
    before = {"providers": {"options": {"openai": {"api_key": "sk-old"}, "gemini": {}}}}
    found = changes(before, {"providers": {"options": {"openai": {"api_key": SECRET}, "grok": {}}}})
    assert found.effective == (
        "providers.options.openai: changed",
        "providers.options.gemini: removed",
        "providers.options.grok: added",
    )


@pytest.mark.parametrize(
    ("after", "key"),
    [
        ({"http": {"bind": "127.0.0.1:8080"}}, "http.bind"),
        ({"mqtt": {"keepalive_s": 60}}, "mqtt.keepalive_s"),
        ({"server": {"data_dir": "elsewhere"}}, "server.data_dir"),
        ({"accounts": {"admin_password": SECRET}}, "accounts.admin_password"),
        ({"store": {"url": f"postgresql://{SECRET}@host/db"}}, "store.url"),
        ({"voice": {"opus_bitrate": 32_000}}, "voice.opus_bitrate"),
        ({"session": {"reattach_s": 15}}, "session.reattach_s"),
        ({"providers": {"cache_mb": 1}}, "providers.cache_mb"),
        ({"providers": {"options": {"silero": {"model": "x"}}}}, "providers.options.silero"),
    ],
)
def test_what_needs_a_restart_stays_as_it_was_and_is_told_each_time(
    after: Mapping[str, object], key: str
) -> None:
    first = changes({}, after)
    assert (first.effective, first.restart) == ((), (key,))
    assert first.settings == Settings()
    assert compare(first.settings, Settings.model_validate(after)).restart == (key,)
    assert compare(first.settings, Settings()).restart == ()


def test_what_needs_a_restart_does_not_keep_the_rest_from_taking_effect() -> None:
    found = changes(
        {"providers": {"options": {"silero": {}}}},
        {
            "providers": {"options": {"silero": {"model": "x"}, "grok": {}}},
            "voice": {"opus_bitrate": 6_000, "jitter_ms": 0},
        },
    )
    assert found.effective == ("voice.jitter_ms: 120 -> 0", "providers.options.grok: added")
    assert found.restart == ("voice.opus_bitrate", "providers.options.silero")
    assert found.settings.providers.options == {"silero": {}, "grok": {}}
    assert found.settings.voice.opus_bitrate == Settings().voice.opus_bitrate
    assert found.settings.voice.jitter_ms == 0
