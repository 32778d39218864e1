"""What a turn's record tells of providers, usage, cost and failure."""

import pytest

from mimi_mqtt.config.voice import PriceSettings, VoiceSettings
from mimi_mqtt.errors import ProviderTimeout, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import Usage
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.services import VoiceServices
from tests.fakes.scene import scene
from tests.fakes.voice import MemoryLog, ScriptedLlm, ScriptedStt, ToneTts, Wait, services

pytestmark = pytest.mark.virtual_time


async def record_of(made: VoiceServices) -> TurnRecord:
    """The record of one spoken question."""
    async with scene(made) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.idle()
        assert isinstance(s.services.log, MemoryLog)
        return s.services.log.records[0]


async def test_each_provider_is_told_with_what_was_used_of_it() -> None:
    llm = ScriptedLlm(["It is fine.", Usage(900, 40)])
    llm.price = PriceSettings(input_per_million=1.0, output_per_million=10.0)
    record = await record_of(services(stt=ScriptedStt("how is it"), llm=llm))
    uses = {use.role: use for use in record.uses}
    assert set(uses) == {"stt", "llm", "tts"}
    assert uses["stt"].audio_s == pytest.approx(record.heard_s, abs=0.5)
    assert (uses["llm"].input_tokens, uses["llm"].output_tokens) == (900, 40)
    assert uses["tts"].characters == len("It is fine.")
    assert record.cost == pytest.approx(0.0013)
    assert record.heard_s > 0.3
    assert record.spoken_s > 0.3
    assert (record.error, record.error_role) == ("", "")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (services(llm=ScriptedLlm([ProviderUnavailable("x", "down")])), ("unavailable", "llm")),
        (services(stt=ScriptedStt(ProviderTimeout("x", "late"))), ("timeout", "stt")),
        (services(tts=ToneTts(error=ProviderUnavailable("x", "down"))), ("unavailable", "tts")),
    ],
    ids=["llm", "stt", "tts"],
)  # fmt: skip
async def test_a_failure_is_told_with_the_role_of_who_failed(
    made: VoiceServices, told: tuple[str, str]
) -> None:
    record = await record_of(made)
    assert (record.error, record.error_role) == told
    assert record.outcome == "failed"


async def test_a_turn_that_is_given_up_says_so() -> None:
    patient = services(llm=ScriptedLlm([Wait(14.0), "late"]), voice=VoiceSettings(patience_s=8.0))
    record = await record_of(patient)
    assert (record.outcome, record.error, record.error_role) == ("failed", "too_late", "")
