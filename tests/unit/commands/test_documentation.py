"""`docs/mqtt.md` is held to the code: its examples are valid, and it names everything there is."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mimi_mqtt import events
from mimi_mqtt.commands.model import COMMANDS, Command, Refusal
from mimi_mqtt.commands.request import parse
from tests.unit.commands.fake_control import DEVICE

_TEXT = (Path(__file__).parents[3] / "docs" / "mqtt.md").read_text(encoding="utf-8")
_REQUESTS = re.findall(r"-m '(\{.*?\})'\n", _TEXT)


def test_every_example_is_a_request_and_every_command_has_one() -> None:
    named = {parse(DEVICE, request.encode()).command.name for request in _REQUESTS}
    assert named == set(COMMANDS)


@pytest.mark.parametrize("kind", COMMANDS.values())
def test_every_field_of_a_command_is_documented(kind: type[Command]) -> None:
    for name in kind.model_fields:
        assert name == "device_id" or name in kind.only_in_code or f"`{name}`" in _TEXT


def test_every_refusal_is_documented() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", _TEXT.split("| `reason` |")[1].split("\n\n")[0], re.MULTILINE)
    assert set(documented) == {refusal.value for refusal in Refusal}


def test_every_event_of_a_device_is_documented_with_its_fields() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", _TEXT.split("| `event` |")[1].split("\n\n")[0], re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", row)) for name, row in rows}
    kinds = [
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.DeviceEvent) and kind is not events.DeviceEvent
        if not kind.on_request  # which MQTT is not told of
    ]
    assert documented == {
        re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): {
            field.name for field in fields(kind) if field.name not in ("at", "device_id")
        }
        for kind in kinds
    }


def test_the_json_of_replies_and_state_is_json() -> None:
    for block in re.findall(r"```json\n(.*?)```", _TEXT, re.DOTALL):
        for line in block.strip().splitlines():
            assert isinstance(json.loads(line), dict)
