"""`mimi-mqtt providers`: the list for people and programs, and a real call with its exit code."""

import json
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.providers.catalog.overview import ROLES
from mimi_mqtt.providers.catalog.presets import PRESETS


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    for preset in PRESETS.values():
        for variable in preset.environment.values():
            monkeypatch.delenv(variable, raising=False)


def test_the_list_shows_what_is_needed_and_who_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert main(["providers"]) == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == [*ROLES]
    openai = next(line for line in shown.splitlines() if line.split()[:1] == ["openai"])
    assert "ready" in openai
    assert "asked 1st" in openai
    assert "GROQ_API_KEY" in shown
    assert "secret" not in shown


def test_the_list_ends_with_the_command_for_better_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["providers"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("better speech: mimi-mqtt models install --language en")


def test_the_list_for_programs_has_a_row_for_each_role_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["providers", "--json"]) == 0
    rows = {(row["role"], row["name"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["llm", "offline"]["configured"] is True
    assert rows["llm", "offline"]["place"] == 2
    anthropic = rows["llm", "anthropic"]
    assert (anthropic["configured"], anthropic["place"], anthropic["extra"]) == (False, None, "anthropic")
    assert anthropic["options"] == [{"option": "api_key", "variables": ["ANTHROPIC_API_KEY"]}]
    assert anthropic["lacking"]


def test_the_list_shows_whom_an_agent_asks_instead(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broker.yaml").write_text("agents: {chef: {llm: [ollama, offline]}}\n")
    assert main(["providers"]) == 0
    shown = capsys.readouterr().out
    assert "asked 1st by chef" in shown
    assert "asked 2nd, 2nd by chef" in shown


def test_an_agents_unknown_provider_is_told_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broker.yaml").write_text("agents: {chef: {llm: nobody}}\n")
    assert main(["providers"]) == 2
    assert "agents.chef.llm" in capsys.readouterr().err


def test_a_test_really_calls_the_provider_and_tells_its_timings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["providers", "test", "offline", "--role", "llm", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["role"], result["ok"]) == ("llm", True)
    assert 0 <= result["first_result_s"] <= result["answer_s"]
    assert main(["providers", "test", "offline", "--role", "llm"]) == 0
    assert "first result after" in capsys.readouterr().out


def test_a_test_that_fails_says_how_to_mend_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["providers", "test", "openai"]) == 1
    shown = capsys.readouterr().out
    assert [line.split()[:3] for line in shown.splitlines()] == [
        ["FAIL", role, "openai:"] for role in ("stt", "llm", "tts")
    ]
    assert "OPENAI_API_KEY" in shown
    assert main(["providers", "--json", "test", "openai", "--role", "tts"]) == 1
    assert "OPENAI_API_KEY" in json.loads(capsys.readouterr().out)[0]["error"]


@pytest.mark.parametrize("arguments", [["opanai"], ["silero", "--role", "stt"], ["ollama", "--role", "tts"]])
def test_a_name_that_does_not_exist_is_a_wrong_argument(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["providers", "test", *arguments]) == 2
    assert "mimi-mqtt providers" in capsys.readouterr().err


def test_the_settings_file_is_the_given_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("providers: {llm: [ollama, offline]}\n")
    for arguments in (["--config", str(file), "--json"], ["--json", "--config", str(file)]):
        assert main(["providers", *arguments]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert next(row["place"] for row in rows if (row["role"], row["name"]) == ("llm", "ollama")) == 1
    assert main(["providers", "test", "offline", "--role", "llm", "--config", str(file)]) == 0
