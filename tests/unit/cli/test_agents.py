"""`mimi-mqtt agents`, `export` and `import`, on the database of a server that is off."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from mimi_mqtt.cli import main
from mimi_mqtt.cli.managing import managed_resources
from mimi_mqtt.managed.resources import Change
from mimi_mqtt.store.audit import COMMAND_LINE
from tests.databases import sqlite_store

PROMPT = "You are {{ agent.name }}.\n\n  Be kind: “always”, # and brief.\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a server was started once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    make(tmp_path)
    return tmp_path


def make(folder: Path) -> None:
    async def opened() -> None:
        store = sqlite_store(folder / "data")
        await store.open()
        await store.aclose()

    asyncio.run(opened())


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) in (1, 2)
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


def test_an_agent_is_made_changed_compared_restored_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "prompt.txt").write_text(PROMPT)
    shown(capsys, "agents", "set", "chef", "name=12", "tools=[set_timer]", "prompt=@prompt.txt", "speed=1.5")
    shown(capsys, "agents", "set", "chef", "name=Cook", "speed=")
    assert json.loads(shown(capsys, "agents", "show", "chef", "--json")) == {
        "name": "Cook", "tools": ["set_timer"], "prompt": PROMPT
    }  # fmt: skip
    assert yaml.safe_load(shown(capsys, "agents", "show", "chef"))["prompt"] == PROMPT
    assert "-12\n+Cook" in shown(capsys, "agents", "diff", "chef", "1", "2")
    assert "they are equal" in shown(capsys, "agents", "diff", "chef", "2", "2")
    shown(capsys, "agents", "restore", "chef", "1")
    assert [each["action"] for each in json.loads(shown(capsys, "agents", "history", "chef", "--json"))] == [
        "restore", "change", "create"
    ]  # fmt: skip
    rows = {row["key"]: row for row in json.loads(shown(capsys, "agents", "list", "--json"))}
    assert rows.keys() == {"default", "chef"}
    assert (rows["chef"]["source"], rows["chef"]["settings"]["name"]) == ("managed", "12")
    assert "restore chef 3" in shown(capsys, "agents", "remove", "chef")
    assert "chef" not in shown(capsys, "agents")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["speed=9"], "speed: must be 0.5 to 2"),
        (["name"], "'name' is not KEY=VALUE"),
        (["name=a", "name=b"], "name is given twice"),
        (["nam=a"], "did you mean name?"),
        (["tools=[a"], "tools: is not valid YAML"),
        (["prompt=@none.txt"], "none.txt can't be read"),
    ],
)
def test_a_wrong_value_is_told_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], values: list[str], told: str
) -> None:
    assert told in refused(capsys, "agents", "set", "chef", *values)
    assert "chef" not in shown(capsys, "agents")


def test_an_agent_of_broker_yaml_is_changed_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broker.yaml").write_text("agents:\n  chef:\n    name: Chef\n")
    assert "broker.yaml has the agent chef" in refused(capsys, "agents", "set", "chef", "name=Cook")
    assert "take it out there" in refused(capsys, "agents", "remove", "chef")


def test_a_device_can_be_given_a_managed_agent(capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, "agents", "set", "chef", "name=Chef")
    told = refused(capsys, "devices", "set", "aa:bb:cc:00:11:22", "--agent", "maid")
    assert "there are: default, chef" in told
    assert "there is no device" in refused(capsys, "devices", "set", "aa:bb:cc:00:11:22", "--agent", "chef")


def fill() -> None:
    async def write() -> None:
        async with managed_resources(None) as (_, resources):
            for change in (
                Change("agent", "chef", {"name": "Chef", "prompt": PROMPT, "voice": {"vi": "female"}}),
                Change("agent", "default", {"language": "no", "greeting": "Hé: 12:30"}),
                Change("provider", "openai:house", {"base_url": "http://192.0.2.9/v1"}, {"api_key": "sk-1"}),
                Change("price", "openai", {"input_per_million": 0.4}),
            ):
                await resources.put(change, COMMAND_LINE)

    asyncio.run(write())


def test_an_export_is_imported_as_it_was_without_keys(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    shown(capsys, "export", "all.yaml")
    text = (folder / "all.yaml").read_text()
    assert (folder / "all.yaml").stat().st_mode & 0o777 == 0o600
    assert "sk-1" not in text
    assert "set again where it is imported: openai:house.api_key" in text
    assert shown(capsys, "export") == text
    assert shown(capsys, "import", "all.yaml") == ""  # all as before

    other = folder / "other"
    other.mkdir()
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(other / "data"))
    make(other)
    dry = shown(capsys, "import", "all.yaml", "--dry-run")
    assert "agent chef: new" in dry
    assert "+  Be kind: “always”, # and brief." in dry
    assert "agents: {}" in shown(capsys, "export")
    shown(capsys, "import", "all.yaml")
    assert shown(capsys, "export") == "".join(
        line for line in text.splitlines(keepends=True) if "set again" not in line
    )


HEAD = "mimi_mqtt: {export: 1}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not an export of mimi_mqtt"),
        ("- a\n", "is not an export of mimi_mqtt"),
        ("agents: {}\n", "it has no `mimi_mqtt"),
        ("mimi_mqtt: {export: 2}\n", "was written by a newer mimi-mqtt"),
        (HEAD + "agents: [\n", "not valid YAML"),
        (HEAD + "agents: 5\n", "line 2: agents: must be a section"),
        (HEAD + "agents:\n  chef: 5\n", "line 3: agents.chef: must be a name with keys"),
        (HEAD + "agents:\n  chef: {name: a}\n  chef: {name: b}\n", "line 4: agents.chef is set twice"),
        (HEAD + "server: {}\n", "line 2: server: can't be imported"),
        (HEAD + "providers:\n  llm: openai\n", "line 3: providers.llm: can't be imported"),
        (HEAD + "agents:\n  good: {name: A}\n  chef: {speed: 9}\n", "agent chef: speed: must be 0.5 to 2"),
        (HEAD + "agents:\n  good: {name: A}\n  Chef: {name: A}\n", "is no agent's name"),
        (HEAD + "providers:\n  options:\n    openai: {api_key: sk-1}\n", "api_key: is secret"),
        (HEAD + "agents: !!python/object/apply:os.system [id]\n", "not valid YAML"),
    ],
)
def test_a_wrong_file_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    fill()
    before = shown(capsys, "export")
    (folder / "wrong.yaml").write_text(text)
    assert told in refused(capsys, "import", "wrong.yaml")
    assert told in refused(capsys, "import", "wrong.yaml", "--dry-run")
    assert shown(capsys, "export") == before


def test_all_that_is_wrong_in_a_file_is_told_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.yaml").write_text(HEAD + "agents:\n  a: {speed: 9}\n  b: {llm: nobody}\n")
    told = refused(capsys, "import", "wrong.yaml")
    assert "agent a: speed" in told
    assert "agent b: llm" in told


def test_providers_are_listed_with_what_people_set(capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    listed = json.loads(shown(capsys, "providers", "--json"))
    (house,) = [each for each in listed if (each["role"], each["name"]) == ("llm", "openai:house")]
    assert (house["configured"], house["lacking"]) == (True, [])


def test_a_file_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "can't be read" in refused(capsys, "import", "none.yaml")
