"""`mimi-mqtt database`: where the schema is, and the way forward and back."""

import json
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrating import revisions
from mimi_mqtt.store.migrations import HEAD

OLDER = revisions()[-2].name


@pytest.fixture
async def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    store = Store("sqlite:///data/mimi.db")
    await store.open()
    await store.aclose()


pytestmark = pytest.mark.usefixtures("_there")


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert main(["database", "status", "--json"]) == 0
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


def test_the_schema_goes_back_and_forward_with_a_copy_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(capsys)["revision"] == HEAD
    assert main(["database", "downgrade", OLDER]) == 0
    assert f"the schema is {OLDER}, it was {HEAD}" in capsys.readouterr().out
    assert status(capsys)["revision"] == OLDER
    assert main(["database", "upgrade"]) == 0
    now = status(capsys)
    assert now["revision"] == HEAD
    assert isinstance(now["copies"], list)
    assert {copy["revision"] for copy in now["copies"]} == {OLDER, HEAD}
    assert main(["database"]) == 0
    assert f"> {HEAD}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["downgrade", "7777"], "there is no schema '7777'"),
        (["upgrade", OLDER], "it is `mimi-mqtt database downgrade`"),
    ],
)
def test_a_way_that_is_none_is_refused(
    command: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["database", *command]) == 1
    assert told in capsys.readouterr().err
    assert status(capsys)["revision"] == HEAD


@pytest.mark.parametrize(
    "command",
    [["devices", "list"], ["agents", "list"], ["users", "list"], ["firmware", "list"], ["reminders"]],
)
def test_every_command_makes_as_many_copies_as_the_settings_want(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMI_STORE__KEEP_COPIES", "0")
    assert main(["database", "downgrade", OLDER]) == 0
    assert main(command) == 0
    now = status(capsys)
    assert (now["revision"], now["copies"]) == (HEAD, [])
