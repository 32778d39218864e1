"""An open Home beside talking devices, for minutes or hours: does the tab or the server grow?

    python -m tests.e2e.web.home_soak --minutes 120 --devices 100

Samples, after a forced collection of garbage, the heap of the page, its nodes and listeners, and the server's
resident memory, and prints them as JSON. The growth is from the median of the second quarter of samples to
that of the last one: the first quarter warms up.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
from playwright.async_api import CDPSession

from mimi_mqtt.cli.bench._load_process import load_process
from mimi_mqtt.cli.bench._soak_load import Order
from tests.e2e.vendor_process import VendorProcess
from tests.e2e.web.conftest import Site, Tab, serving
from tests.e2e.web.house import fill

_SETTINGS = {
    "MIMI_SHARES__HTTP_REQUESTS_PER_MINUTE": "1000000",
    "MIMI_SHARES__HTTP_CPU_PERCENT": "100",
    "MIMI_SHARES__CONNECTS_PER_MINUTE": "100000",
    "MIMI_OTA__NEW_DEVICES_PER_HOUR": "100000",
    "MIMI_PROVIDERS__STT": "openai",
    "MIMI_PROVIDERS__LLM": "openai",
    "MIMI_PROVIDERS__TTS": "openai",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the page and the server; sizes in bytes."""

    at_s: float
    heap: int
    nodes: int
    listeners: int
    server: int
    live: int
    turns: int


async def heap_of(page: CDPSession) -> tuple[int, int, int]:
    """The heap, nodes and event listeners of the page after its garbage was collected."""
    for _ in range(2):
        await page.send("HeapProfiler.collectGarbage")
    used = int((await page.send("Runtime.getHeapUsage"))["usedSize"])
    counted = await page.send("Memory.getDOMCounters")
    return used, int(counted["nodes"]), int(counted["jsEventListeners"])


async def sample(tab: Tab, page: CDPSession, began: float) -> Sample:
    """One sample."""
    heap, nodes, listeners = await heap_of(page)
    process = tab.site.server.process
    assert process is not None
    async with tab.site.program() as api:
        told = (await api.get("/overview")).json()
    server = psutil.Process(process.pid).memory_info().rss
    return Sample(
        round(time.monotonic() - began), heap, nodes, listeners, server, told["live"]["total"],
        told["today"]["turns"],
    )  # fmt: skip


async def passwords(site: Site, number: int) -> list[tuple[str, str]]:
    """Devices that register by themselves."""
    found = []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        for each in range(number):
            mac = f"02:00:00:01:{each >> 8:02x}:{each & 0xFF:02x}"
            reply = await http.post(site.server.ota, headers={"Device-Id": mac, "Client-Id": f"soak-{each}"})
            access = reply.json()["mqtt"]
            found.append((str(access["username"]), str(access["password"])))
    return found


@asynccontextmanager
async def devices(site: Site, number: int, minutes: float) -> AsyncIterator[None]:
    """Devices that talk, interrupt, lose their connections and come again, in a process of their own."""
    if not number:
        yield
        return
    mqtt = re.search(r"MQTT\s+(?:\S+:)?(\d+)", site.server.welcome)
    assert mqtt
    speech = site.server.folder / "question.wav"
    said = await asyncio.create_subprocess_exec("flite", "-t", "What time is it?", "-o", str(speech))
    assert await said.wait() == 0
    order = Order(
        int(mqtt[1]), await passwords(site, number), round(minutes * 60) + 15, 1, None, speech=str(speech)
    )
    async with load_process("_soak_load", order) as answer:
        running = asyncio.create_task(answer(minutes * 60 + 300))
        try:
            yield
        finally:
            tally = json.loads(await running)
            print(json.dumps({name: tally[name] for name in ("hellos", "turns", "aborts")}), file=sys.stderr)


def growth(samples: Sequence[Sample], name: str) -> float:
    """The growth of a number from the second quarter of the samples to the last, as a share."""
    values = [getattr(each, name) for each in samples]
    quarter = max(1, len(values) // 4)
    early, late = values[quarter : 2 * quarter] or values[:1], values[-quarter:]
    return float(statistics.median(late) / statistics.median(early) - 1)


async def soak(minutes: float, number: int, every_s: float) -> dict[str, object]:
    """Runs it."""
    with tempfile.TemporaryDirectory(prefix="mimi-soak-") as folder:
        await fill(Path(folder))
        vendor = VendorProcess()
        await vendor.start()
        where = {"OPENAI_BASE_URL": vendor.options["base_url"], "OPENAI_API_KEY": vendor.options["api_key"]}
        async with serving(Path(folder), **_SETTINGS, **where) as site:
            await site.first_admin()
            tab = await site.tab()
            await tab.goto("/")
            page = await tab.page.context.new_cdp_session(tab.page)
            samples: list[Sample] = []
            began = time.monotonic()
            async with devices(site, number, minutes):
                while time.monotonic() - began < minutes * 60:
                    await asyncio.sleep(every_s)
                    samples.append(await sample(tab, page, began))
                    print(json.dumps(asdict(samples[-1])), file=sys.stderr, flush=True)
            told = {
                name: round(growth(samples, name), 4) for name in ("heap", "nodes", "listeners", "server")
            }
            errors = await site.close_tabs()
            await vendor.kill()
            return {
                "minutes": minutes, "devices": number, "growth": told, "errors": errors,
                "first": asdict(samples[0]), "last": asdict(samples[-1]), "samples": len(samples),
            }  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--every", type=float, default=30, help="seconds between two samples")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(soak(given.minutes, given.devices, given.every)), indent=1))


if __name__ == "__main__":
    main()
