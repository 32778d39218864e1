"""The whole server in this process, and simulated devices that have turns with it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mimi_mqtt.app import App
from mimi_mqtt.audio.opus import OpusDecoder
from mimi_mqtt.cli.device.actions import ChannelClosed, Heard, Play, Sentence, SpeakingBegan, SpeakingEnded
from mimi_mqtt.cli.device.booting import MqttAccess, boot_over_mqtt
from mimi_mqtt.cli.device.client import DeviceOptions, Summary, Told, converse
from mimi_mqtt.config import Settings
from tests.databases import new_database
from tests.integration.network import voice

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
mqtt_ports: dict[str, int] = {}
"""Proxies' ports by the MAC addresses of their devices; empty at the start of a test."""
_RATE = 24_000


@asynccontextmanager
async def served(folder: Path, host: str = "127.0.0.1", **sections: dict[str, Any]) -> AsyncIterator[App]:
    """A server on free ports of `host`, with the voice of tones; `sections` go over its configuration."""
    anywhere = {"bind": f"{host}:0"}
    given: dict[str, dict[str, Any]] = {
        "server": {"data_dir": folder},
        "http": anywhere,
        "mqtt": anywhere,
        "udp": anywhere,
        "assistant": {"language": "en"},
        "voice": {"end_silence_ms": 300},
        "providers": dict.fromkeys(("vad", "stt", "llm", "tts"), "tones"),
    }
    for name, values in sections.items():
        given[name] = given.get(name, {}) | values
    new_database(folder)
    app = App(Settings.model_validate(given), {})
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


def ota_of(app: App, host: str = "127.0.0.1") -> str:
    """The OTA address of a running server."""
    return f"http://{host}:{app.http_port}/xiaozhi/ota/"


@dataclass
class Talk:
    """All that a device was told and played."""

    summary: Summary = field(default_factory=lambda: Summary(False))
    heard: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    began: int = 0
    ended: int = 0
    played: list[bytes] = field(default_factory=list)

    def observe(self, told: Told) -> None:
        """Takes in what the device does."""
        match told:
            case Heard(text):
                self.heard.append(text)
            case Sentence(text):
                self.sentences.append(text.replace(".", ""))
            case SpeakingBegan():
                self.began += 1
            case SpeakingEnded():
                self.ended += 1
            case Play(opus):
                self.played.append(opus)
            case ChannelClosed(reason):
                self.closed.append(reason)

    @property
    def melody(self) -> str:
        """The notes that sounded."""
        decoder = OpusDecoder(_RATE)
        frames = [decoder.decode(opus) for opus in self.played]
        return voice.notes(np.concatenate(frames), _RATE) if frames else ""

    def assert_whole(self, *tunes: str, times: int = 1) -> None:
        """Each tune was heard and answered, `times` over in a row; no frame of an answer was clipped, dropped
        or lost, none was played twice or out of order."""
        assert self.summary.ok, self.summary.error
        assert self.heard == list(tunes)
        assert self.melody == " ".join(" ".join([tune] * times) for tune in tunes)
        assert self.began == self.ended == len(tunes)
        for turn in self.summary.turns:
            assert (turn.clipped_start_ms, turn.clipped_end_ms, turn.overflowed, turn.lost) == (0, 0, 0, 0)


async def talk(
    ota: str,
    *tunes: str,
    mqtt_port: int | None = None,
    react: Callable[[Told, Talk], None] | None = None,
    **changes: Any,
) -> Talk:
    """A device says `tunes`, one a turn. It connects to `mqtt_port`, a proxy's, in place of OTA's port.

    `react` is given what the device does as it happens, after it was taken in.
    """
    talked = Talk()

    def tell(told: Told) -> None:
        talked.observe(told)
        if react is not None:
            react(told, talked)

    given: dict[str, Any] = {"mac": MACS[0], "timeout_s": 20.0} | changes
    options = DeviceOptions(ota=ota, say=tunes, **given)
    if mqtt_port is not None:
        mqtt_ports[given["mac"]] = mqtt_port
    talked.summary = await converse(options, tell)
    return talked


async def boot_for_proxy(ota_url: str, mac: str, *rest: Any) -> MqttAccess:
    """Boots a device, in place of `client.boot`, and has it connect to its proxy if it has one."""
    access = await boot_over_mqtt(ota_url, mac, *rest)
    return replace(access, port=mqtt_ports.get(mac, access.port))
