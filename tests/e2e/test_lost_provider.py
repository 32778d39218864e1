"""A service dies, or falls silent, in the middle of a turn: what the person at the device hears of it.

It is a process of its own that is killed at an exact point of its answer. With another provider in the list
nothing is heard of it; with none an apology is, and the next turn works as soon as the service is back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import yaml
from websockets.http11 import Response

from mimi_mqtt.voice.speech.phrases import apologies
from tests.e2e.conftest import Command, MakeServer, Server
from tests.e2e.vendor_process import ANSWER, FIRST, REST, SECOND, SPEECH_MS, VendorProcess
from tests.servers.deepgram import KEY, DeepgramServer
from tests.servers.vendor import Asked

pytestmark = pytest.mark.timeout(300)

SORRY, MOMENT = apologies("en").failed, apologies("en").moment
MakeVendor = Callable[..., VendorProcess]


@pytest.fixture
async def make_vendor() -> AsyncIterator[MakeVendor]:
    """Makes services that are not started yet; all are ended with the test."""
    made: list[VendorProcess] = []

    def make(answer: tuple[str, ...] = ANSWER) -> VendorProcess:
        made.append(VendorProcess(answer))
        return made[-1]

    yield make
    for vendor in made:
        await vendor.kill()


@pytest.fixture
async def vendor(make_vendor: MakeVendor) -> VendorProcess:
    running = make_vendor()
    await running.start()
    return running


def serve(make_server: MakeServer, vendors: dict[str, VendorProcess], **sections: dict[str, Any]) -> Server:
    """A server, not started, that knows `vendors` as openai:NAME and asks nobody on a guess."""
    made = make_server()
    options = {f"openai:{name}": vendor.options for name, vendor in vendors.items()}
    voice = {"preemptive_silence_ms": 0, **sections.pop("voice", {})}
    providers = {"retries": 0, "options": options, **sections.pop("providers")}
    (made.folder / "broker.yaml").write_text(yaml.safe_dump({"providers": providers, "voice": voice}))
    return made


async def ask(server: Server) -> Command:
    return await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json")


async def ask_and_kill(server: Server, vendor: VendorProcess, after: int | None) -> Command:
    """A turn, in the middle of which `vendor` is killed: before its answer, or after so many pieces of it."""
    await vendor.arm(after)
    task = asyncio.create_task(ask(server))
    await vendor.silent()
    await vendor.kill()
    return await task


def heard(done: Command, server: Server) -> tuple[str, float]:
    """The words and the length of an audible answer, in ms."""
    assert done.code == 0, done.out + done.err + server.log
    return done.summary["reply"], done.summary["audio_ms"]


def alerted(done: Command) -> bool:
    return "alert     " in done.err


async def test_lost_ears_are_apologised_for_until_they_are_back(
    make_server: MakeServer, vendor: VendorProcess
) -> None:
    server = serve(make_server, {"ears": vendor}, providers={"stt": "openai:ears"})
    await server.start()
    done = await ask_and_kill(server, vendor, None)
    assert heard(done, server)[0] == SORRY
    assert alerted(done)
    await vendor.start()
    done = await ask(server)
    assert "It is" in heard(done, server)[0]
    assert not alerted(done)


async def test_of_lost_ears_nothing_is_heard_where_there_are_others(
    make_server: MakeServer, vendor: VendorProcess
) -> None:
    server = serve(make_server, {"ears": vendor}, providers={"stt": ["openai:ears", "offline"]})
    await server.start()
    done = await ask_and_kill(server, vendor, None)
    assert done.summary["heard"] == "what time is it"
    assert "It is" in heard(done, server)[0]
    assert not alerted(done)


class Ears(DeepgramServer):
    """Tells when somebody begins to speak."""

    def __init__(self) -> None:
        super().__init__()
        self.called = asyncio.Event()

    def refusal(self, asked: Asked) -> Response | None:
        self.called.set()
        return super().refusal(asked)


async def test_ears_that_are_lost_while_somebody_speaks_have_missed_nothing(make_server: MakeServer) -> None:
    ears = Ears()
    await ears.start()
    options = {"deepgram": {"base_url": ears.url, "api_key": KEY}}
    server = serve(make_server, {}, providers={"stt": ["deepgram", "offline"], "options": options})
    await server.start()
    task = asyncio.create_task(ask(server))
    await ears.called.wait()
    await ears.aclose()
    done = await task
    assert done.summary["heard"] == "what time is it"
    assert "It is" in heard(done, server)[0]
    assert not alerted(done)


async def test_a_lost_mind_is_apologised_for_until_it_is_back(
    make_server: MakeServer, vendor: VendorProcess
) -> None:
    server = serve(make_server, {"mind": vendor}, providers={"llm": "openai:mind"})
    await server.start()
    before = await ask_and_kill(server, vendor, None)
    assert heard(before, server)[0] == SORRY
    assert alerted(before)
    await vendor.start()
    halfway = await ask_and_kill(server, vendor, 2)
    assert heard(halfway, server)[0] == f"{FIRST} {SORRY}"
    assert alerted(halfway)
    await vendor.start()
    done = await ask(server)
    assert heard(done, server)[0] == f"{FIRST} {SECOND}"
    assert not alerted(done)


async def test_of_a_lost_mind_nothing_is_heard_where_there_is_another(
    make_server: MakeServer, make_vendor: MakeVendor, vendor: VendorProcess
) -> None:
    spare = make_vendor(REST)
    await spare.start()
    minds = {"mind": vendor, "spare": spare}
    server = serve(make_server, minds, providers={"llm": ["openai:mind", "openai:spare", "offline"]})
    await server.start()
    halfway = await ask_and_kill(server, vendor, 2)
    assert heard(halfway, server)[0] == f"{FIRST} {SECOND}"
    assert not alerted(halfway)
    await spare.kill()
    await vendor.start()
    before = await ask_and_kill(server, vendor, None)
    assert "It is" in heard(before, server)[0]
    assert not alerted(before)


async def test_a_lost_voice_is_apologised_for_until_it_is_back(
    make_server: MakeServer, vendor: VendorProcess
) -> None:
    server = serve(make_server, {"voice": vendor}, providers={"tts": "openai:voice"})
    await server.start()
    whole, whole_ms = heard(await ask(server), server)
    done = await ask_and_kill(server, vendor, 2)
    words, audio_ms = heard(done, server)
    assert words.endswith(SORRY)
    assert audio_ms > SPEECH_MS  # a part of the sentence, and the apology
    assert alerted(done)
    await vendor.start()
    done = await ask(server)
    assert heard(done, server)[1] == pytest.approx(whole_ms, abs=120)
    assert SORRY not in whole + done.summary["reply"]
    assert not alerted(done)


async def test_of_a_lost_voice_only_the_change_is_heard_where_there_is_another(
    make_server: MakeServer, vendor: VendorProcess
) -> None:
    server = serve(make_server, {"voice": vendor}, providers={"tts": ["openai:voice", "offline"]})
    await server.start()
    done = await ask_and_kill(server, vendor, 2)
    words, audio_ms = heard(done, server)
    assert "It is" in words
    assert SORRY not in words
    assert audio_ms > SPEECH_MS
    assert not alerted(done)


async def test_whoever_falls_silent_is_excused_apologised_for_and_then_passed_over(
    make_server: MakeServer, vendor: VendorProcess
) -> None:
    patience = {"filler_s": 1, "patience_s": 4}
    server = serve(make_server, {"mind": vendor}, providers={"llm": "openai:mind"}, voice=patience)
    await server.start()
    await vendor.arm(None)
    done = await ask(server)
    words, _ = heard(done, server)
    assert words.startswith(MOMENT)
    assert words.endswith(SORRY)
    assert alerted(done)
    # On a busy machine even a good answer may take longer than the filler's second.
    assert heard(await ask(server), server)[0].removeprefix(f"{MOMENT} ") == f"{FIRST} {SECOND}"
