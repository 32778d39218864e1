"""`mimi-mqtt firmware` on a data folder, with no server running."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from tests.databases import new_database
from tests.firmware import images

BOARD, DEVICE = "bread-compact-wifi", "aa-bb-cc-00-11-22"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one device, and images of two versions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    (tmp_path / "broker.yaml").write_text(f"server: {{data_dir: {tmp_path / 'data'}}}\n")
    new_database(tmp_path / "data")
    asyncio.run(_fill(f"sqlite:///{tmp_path / 'data' / 'mimi.db'}"))
    for version in ("2.2.1", "2.3.1"):
        (tmp_path / f"{version}.bin").write_bytes(images.image(version=version))
    return tmp_path


async def _fill(url: str) -> None:
    store, now = Store(url), datetime.now(UTC)
    await store.open()
    async with store.write() as session:
        device = Device(
            id=DEVICE,
            client_id="one",
            board=BOARD,
            revision=0,
            created_at=now,
            updated_at=now,
            last_seen_at=now,
        )
        await devices.save_changed(session, device, now)
    await store.aclose()


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What an action prints with --json."""
    capsys.readouterr()
    assert main(["firmware", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_an_image_is_added_rolled_out_paused_and_taken_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("2.2.1", "2.3.1"):
        image = done(capsys, "add", f"{version}.bin", "--board", BOARD, "--notes", "Better.")
    assert (image["id"], image["version"], image["chip"], image["uploaded_by"]) == (
        2,
        "2.3.1",
        "esp32s3",
        "command line",
    )
    made = done(
        capsys, "roll-out", "2", "--percent", "10", "--device", "AA:BB:CC:00:11:22", "--halt-after", "1"
    )
    assert (made["state"], made["percent"], made["devices"], made["halt_after"]) == (
        "running",
        10,
        [DEVICE],
        1,
    )
    assert main(["firmware", "pause", "1"]) == 0
    assert done(capsys, "show", "1")["state"] == "paused"
    assert main(["firmware", "resume", "1"]) == 0
    back = done(capsys, "roll-back", "1")
    assert (back["kind"], back["takes_back"], back["version"]) == ("roll-back", 1, "2.2.1")
    assert [each["id"] for each in done(capsys, "list")["rollouts"]] == [2]
    assert [each["state"] for each in done(capsys, "list", "--all")["rollouts"]] == ["running", "rolled back"]
    assert main(["firmware"]) == 0
    told = capsys.readouterr().out
    assert "image 2  bread-compact-wifi  2.3.1  stable  esp32s3" in told
    assert "roll-out 2  running  image 1" in told
    assert main(["firmware", "end", "2"]) == 0
    assert main(["firmware", "channel", DEVICE, "beta"]) == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["add", "merged.bin", "--board", BOARD], "this is a merged image"),
        (["add", "nowhere.bin", "--board", BOARD], "nowhere.bin can't be read: No such file"),
        (["add", "large.bin", "--board", BOARD], "larger than 16,777,216 bytes"),
        (["roll-out", "9"], "there is no firmware image 9"),
        (["pause", "9"], "there is no roll-out 9"),
        (["channel", "aa:bb:cc:00:11:33", "beta"], "there is no device aa-bb-cc-00-11-33"),
    ],
)
def test_what_can_not_be_done_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    (folder / "merged.bin").write_bytes(images.merged())
    (folder / "large.bin").write_bytes(images.image() + b"\xff" * (17 << 20))
    assert main(["firmware", *arguments]) == 1
    assert word in capsys.readouterr().err
    assert done(capsys, "list") == {"images": [], "rollouts": []}


@pytest.mark.parametrize("arguments", [["roll-out", "x"], ["roll-out", "1", "--percent", "101"], ["pause"]])
def test_wrong_arguments_are_told(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["firmware", *arguments])
    assert ended.value.code == 2
