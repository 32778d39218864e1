"""A vendor of speech dies: the person at the device hears an apology, never silence."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
import yaml

from tests.e2e.conftest import MakeServer, Server
from tests.servers.http_speech import ELEVENLABS_KEY, ElevenLabsServer

pytestmark = pytest.mark.timeout(300)

APOLOGY_MS = 1_500


@pytest.fixture
async def vendor() -> AsyncIterator[ElevenLabsServer]:
    running = ElevenLabsServer()
    seconds = np.arange(24 * APOLOGY_MS) / 24_000
    running.speech = [(8_000 * np.sin(2 * np.pi * 300 * seconds)).astype("<i2").tobytes()]
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
def server_of(make_server: MakeServer, vendor: ElevenLabsServer) -> Server:
    """A server that speaks by `vendor` alone, not started."""
    made = make_server()
    options = {"elevenlabs": {"base_url": vendor.url, "api_key": ELEVENLABS_KEY}}
    providers = {"tts": "elevenlabs", "timeout_s": 5, "retries": 0, "options": options}
    (made.folder / "broker.yaml").write_text(yaml.safe_dump({"providers": providers}))
    return made


async def audio_heard(server: Server) -> int:
    """How much of a reply reaches the device, in ms."""
    done = await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json")
    heard = done.summary["audio_ms"]
    assert isinstance(heard, int | float), done.out + done.err + server.log
    return round(heard)


async def test_a_dead_vendor_is_heard_as_an_apology_even_after_a_restart(
    server_of: Server, vendor: ElevenLabsServer
) -> None:
    vendor.dies_after = 1  # the apology, made at the start
    await server_of.start()
    assert APOLOGY_MS <= await audio_heard(server_of) <= APOLOGY_MS + 200
    assert len(vendor.asked) > 1
    await server_of.restart()
    assert APOLOGY_MS <= await audio_heard(server_of) <= APOLOGY_MS + 200
    assert vendor.asked[-1].fields["text"] != vendor.asked[0].fields["text"]


async def test_a_vendor_that_never_worked_is_apologised_for_by_the_offline_voice(
    server_of: Server, vendor: ElevenLabsServer
) -> None:
    vendor.dies_after = 0
    await server_of.start()
    assert await audio_heard(server_of) > 500
