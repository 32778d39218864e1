from collections.abc import Mapping

import pytest

from mimi_mqtt.cli.security.services import examine
from tests.unit.cli.security.installation import one, settings

WHAT = "providers' addresses"
OFFLINE = {"stt": "offline", "llm": "offline", "tts": "offline"}


@pytest.mark.parametrize(
    ("providers", "environ", "expected"),
    [
        ({}, {}, "ok"),
        ({"llm": "openai", "options": {"openai": {"base_url": "https://api.example.com/v1"}}}, {}, "ok"),
        ({"llm": "openai", "options": {"openai": {"base_url": "http://localhost:1234/v1"}}}, {}, "ok"),
        ({"llm": "openai", "options": {"openai": {"base_url": "http://gpu.lan:1234/v1"}}}, {}, "ok"),
        (
            {"llm": "openai", "options": {"openai": {"base_url": "http://u:p@api.example.com/v1"}}},
            {},
            "warning",
        ),
        ({"stt": "funasr", "options": {"funasr": {"url": "ws://8.8.4.4:10095"}}}, {}, "warning"),
        ({"llm": "dify"}, {"DIFY_BASE_URL": "http://dify.example.com/v1"}, "warning"),
        ({"options": {"openai": {"base_url": "http://api.example.com/v1"}}}, {}, "ok"),
    ],
)
def test_a_provider_in_use_at_a_public_address_needs_tls(
    providers: Mapping[str, object], environ: Mapping[str, str], expected: str
) -> None:
    finding = one(examine(settings(providers={**OFFLINE, **providers}), environ), WHAT)
    assert finding.level == expected
    assert "u:p" not in finding.seen


def test_an_agents_own_provider_counts_too() -> None:
    options = {"openai": {"base_url": "http://api.example.com/v1"}}
    made = settings(providers={**OFFLINE, "options": options}, agents={"chef": {"llm": "openai"}})
    finding = one(examine(made, {}), WHAT)
    assert finding.level == "warning"
    assert "providers.options.openai.base_url is http://api.example.com/v1" in finding.seen


def test_a_provider_that_can_not_be_made_is_no_end_of_the_report() -> None:
    made = settings(providers={**OFFLINE, "llm": "openai", "options": {"openai": {"nonsense": 1}}})
    assert one(examine(made, {}), WHAT).level == "advice"
