"""`mimi-mqtt doctor`: how a provider that fails is graded, by who takes its place."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mimi_mqtt.cli import doctor, main
from mimi_mqtt.cli.doctor import Finding, examine_providers
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.fallback import fall_back
from mimi_mqtt.providers.catalog.presets import PRESETS
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, OtaReport

# Nobody needs a key or a network here but openai, who has none.
OFFLINE = {"stt": "offline", "llm": "offline", "tts": "offline"}


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for preset in PRESETS.values():
        for variable in preset.environment.values():
            monkeypatch.delenv(variable, raising=False)


async def found(settings: Mapping[str, object]) -> Mapping[str, Finding]:
    whole = Settings.model_validate(settings)
    return {finding.what: finding async for finding in examine_providers(whole)}


async def test_no_conversation_is_tried_with_a_server_that_is_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def down(_: Settings) -> Finding:
        return Finding("fail", "server", "running, but down: store", "see the log")

    monkeypatch.setattr(doctor, "_running_server", down)
    settings = Settings.model_validate({"server": {"data_dir": tmp_path}, "providers": OFFLINE})
    findings = {finding.what: finding async for finding in doctor.examine(settings)}
    assert findings["server"].grade == "fail"
    assert findings["conversation"].grade == "warn"
    assert "mend that first" in findings["conversation"].cure


async def test_devices_on_fallback_are_named_and_those_that_it_did_not_help(tmp_path: Path) -> None:
    settings = Settings.model_validate({"server": {"data_dir": tmp_path}})
    store, now = Store(settings.database_url), datetime.now(UTC)
    await store.open()
    for number in range(7):
        device_id = f"aa-bb-cc-00-11-0{number}"
        async with store.write() as session:
            device = Device(
                id=device_id, client_id="", revision=0, created_at=now, updated_at=now, last_seen_at=now
            )
            await devices.save_changed(session, device, now)
        await fall_back(store, device_id, now)
    async with store.write() as session:
        session.add(OtaReport(device_id="aa-bb-cc-00-11-06", received_at=now, report={}))
    await store.aclose()
    all_of_them, lost = [finding async for finding in doctor._fallbacks(settings)]
    assert (all_of_them.grade, lost.grade) == ("warn", "warn")
    assert "aa-bb-cc-00-11-04 and 2 more" in all_of_them.detail
    assert "8884" in all_of_them.cure
    assert "aa-bb-cc-00-11-06" in lost.detail
    assert "--transport default" in lost.cure


async def test_without_fallbacks_nothing_is_said_and_without_a_database_why(tmp_path: Path) -> None:
    settings = Settings.model_validate({"server": {"data_dir": tmp_path}})
    (finding,) = [finding async for finding in doctor._fallbacks(settings)]
    assert finding.grade == "warn"
    store = Store(settings.database_url)
    await store.open()
    await store.aclose()
    assert [finding async for finding in doctor._fallbacks(settings)] == []


@pytest.mark.parametrize("grade", ["ok", "warn", "fail"])
def test_the_findings_as_json_and_as_lines_have_the_same_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], grade: doctor.Grade
) -> None:
    async def examine(_: Settings) -> AsyncIterator[Finding]:
        yield Finding(grade, "libopus", "as it is", "")

    monkeypatch.setattr(doctor, "examine", examine)
    file = tmp_path / "broker.yaml"
    file.write_text("")
    code = main(["doctor", "--config", str(file)])
    assert "libopus: as it is" in capsys.readouterr().out
    assert main(["doctor", "--config", str(file), "--json"]) == code == (grade == "fail")
    (told,) = json.loads(capsys.readouterr().out)["findings"]
    assert told == {"grade": grade, "what": "libopus", "detail": "as it is", "cure": ""}


async def test_each_provider_of_each_role_is_tried() -> None:
    findings = await found({"providers": OFFLINE})
    assert [*findings] == ["vad silero", "stt offline", "llm offline", "tts offline"]
    assert {finding.grade for finding in findings.values()} == {"ok"}


async def test_who_fails_is_a_warning_with_its_cure_while_another_takes_its_place() -> None:
    findings = await found({"providers": {**OFFLINE, "llm": ["openai", "offline"]}})
    broken = findings["llm openai"]
    assert broken.grade == "warn"
    assert "OPENAI_API_KEY" in broken.detail
    assert "offline takes its place" in broken.detail
    assert "providers test openai" in broken.cure
    assert findings["llm offline"].grade == "ok"


@pytest.mark.parametrize("llm", ["openai", ["openai", "openai:house"]])
async def test_it_is_a_failure_when_nobody_takes_its_place(llm: object) -> None:
    findings = await found({"providers": {**OFFLINE, "llm": llm}})
    assert {finding.grade for what, finding in findings.items() if what.startswith("llm")} == {"fail"}


async def test_it_is_a_failure_when_one_agent_has_nobody_else() -> None:
    chef = {"llm": "openai"}
    findings = await found({"providers": {**OFFLINE, "llm": ["openai", "offline"]}, "agents": {"chef": chef}})
    assert findings["llm openai"].grade == "fail"


async def test_whom_only_other_agents_ask_is_shown_with_their_names() -> None:
    chef = {"llm": ["openai", "offline"]}
    findings = await found({"providers": OFFLINE, "agents": {"chef": chef}})
    assert findings["llm openai of chef"].grade == "warn"


async def test_the_pipeline_takes_the_place_of_speech_to_speech() -> None:
    findings = await found({"providers": {**OFFLINE, "s2s": "openai_realtime"}})
    assert findings["s2s openai_realtime"].grade == "warn"
    findings = await found({"providers": {**OFFLINE, "tts": "openai", "s2s": "openai_realtime"}})
    assert findings["s2s openai_realtime"].grade == "fail"


def test_providers_that_the_server_asks_later_are_told_with_the_cure() -> None:
    metrics = """
# TYPE mimi_provider_demoted gauge
mimi_provider_demoted{name="openai",role="llm"} 1.0
mimi_provider_demoted{name="groq",role="llm"} 0.0
# TYPE mimi_provider_resting gauge
mimi_provider_resting{name="edge",role="tts"} 1.0
"""
    demoted, resting = doctor.told_of_providers(metrics)
    assert (demoted.grade, demoted.what) == ("warn", "llm openai")
    assert "providers.llm" in demoted.cure
    assert (resting.what, resting.detail) == ("tts edge", "rested for its failures")
    assert list(doctor.told_of_providers("<html>")) == []


async def test_models_that_would_be_better_are_told_with_their_command(tmp_path: Path) -> None:
    providers = OFFLINE | {"stt": "auto", "models_dir": tmp_path}
    finding = (await found({"providers": providers}))["local models"]
    assert finding.grade == "warn"
    assert finding.cure.startswith("mimi-mqtt models install --language en")
    assert "local models" not in await found({"providers": OFFLINE})
