"""Runs the server until it is interrupted (Ctrl-C, SIGTERM): then sentences end and sessions say goodbye.

SIGHUP, which `mimi-mqtt reload` sends, has it read its settings again.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mimi_mqtt import __version__
from mimi_mqtt.cli.reloading import Reloading
from mimi_mqtt.cli.server_process import DataFolderLock
from mimi_mqtt.config import load_settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import StoreError
from mimi_mqtt.log import setup_logging, tell_left_out
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.providers.catalog.advice import better_model, better_speech
from mimi_mqtt.supervision import SupervisedLoop

if TYPE_CHECKING:
    from mimi_mqtt.app import App
    from mimi_mqtt.providers.catalog.selection import Selection

LOG_COUNTS_EVERY_S: Final = 15.0
"""Seconds between two looks for log lines that were folded in a minute that is over."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --config and --say."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.add_argument(
        "--say", action="append", default=[], metavar="TEXT",
        help="once it runs, have a simulated device say this to it; given again: the next turn. "
        "The server goes on afterwards",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves; returns 0 after an orderly stop. A second signal stops at once."""
    began = time.monotonic()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be obeyed; by default it kills
    settings = load_settings(args.config, os.environ)
    recent = RecentLines()
    setup_logging(
        settings.log.level, settings.log.format,
        max_kb_per_minute=settings.log.max_kb_per_minute, recent=recent,
    )  # fmt: skip
    # Until `spare_collections`: what the imports make stays, and to walk over it is a tenth of the start.
    gc.disable()
    # Imported after the settings were found to be right: a mistake in them is told without delay.
    from mimi_mqtt.app import App

    async def serve() -> None:
        # Whatever reads the settings again, in another process, reads the same ones.
        environ = os.environ if args.config is None else {**os.environ, "MIMI_CONFIG": str(args.config)}
        app = App(settings, environ, recent)
        stop = asyncio.Event()
        _stop_on_signals(stop)
        reloading = Reloading(app, args.config, os.environ)
        await app.start()
        spare_collections()
        try:
            async with attended(app, reloading):
                print(_welcome(app, time.monotonic() - began), flush=True)
                await _tell_setup_link(app)
                if args.say:
                    await _talk(_local_ota(app), args, stop)
                await stop.wait()
        finally:
            await app.stop()

    try:
        with DataFolderLock.claim(settings.server.data_dir):
            asyncio.run(serve())
    finally:
        gc.enable()
    return 0


@asynccontextmanager
async def attended(app: "App", reloading: Reloading) -> AsyncIterator[None]:
    """Runs the loops of the process beside a started `app`, whose health shows them."""
    collections = FullCollections()
    counts = SupervisedLoop("counts of log lines", tell_log_counts, every_s=LOG_COUNTS_EVERY_S)
    app.watch("full garbage collection", lambda: collections.healthy)
    app.watch("counts of log lines", lambda: counts.healthy)
    app.watch("reload", lambda: reloading.healthy)
    collections.start()
    counts.start()
    reloading.start()
    app.reloading = reloading
    try:
        yield
    finally:
        app.reloading = None
        await reloading.aclose()
        await counts.aclose()
        await collections.aclose()


async def tell_log_counts() -> None:
    """Logs how many lines were folded or left out in the last minute."""
    tell_left_out()


async def _talk(ota: str, args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Has a simulated device say the texts of --say to the server at `ota`, in another process with the same
    configuration; ends it at `stop`."""
    # With "=", as a text may begin with a minus sign.
    said = [f"--say={text}" for text in args.say]
    environ = os.environ if args.config is None else {**os.environ, "MIMI_CONFIG": str(args.config)}
    device = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mimi_mqtt", "device", "--ota", ota, *said),
        env=environ, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    ended, stopped = asyncio.ensure_future(device.wait()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not ended.done():
            device.kill()
        await ended


def _local_ota(app: "App") -> str:
    """The OTA address for this machine."""
    return f"http://{app.local_host}:{app.http_port}/xiaozhi/ota/"


def _welcome(app: "App", seconds: float) -> str:
    """The text of a completed start: addresses, ports, providers, and the command that talks to it."""
    command = Path(sys.argv[0])
    shown = os.path.relpath(command) if command.name == "mimi-mqtt" and command.exists() else "mimi-mqtt"
    tls = f", TLS {app.mqtt_tls_port}" if app.mqtt_tls_port else ", TLS off"
    return "\n".join(
        (
            f"mimi_mqtt {__version__} is ready ({seconds:.1f} s)",
            *addresses(app),
            f"  MQTT             {app.mqtt_port}{tls}; versions 3.1.1 and 5",
            f"  UDP              {app.udp_port}",
            *_voices(app.providers),
            *_model(app.answering),
            *_advice(app),
            f'  Talk to it       {shown} device --ota {_local_ota(app)} --say "what time is it"',
        )
    )


def addresses(app: "App") -> Iterator[str]:
    """Lines with the addresses of the HTTP port: the plain ones, and those over TLS where it is served."""
    plain, secure = (
        f"http://{app.device_host}:{app.http_port}/",
        f"https://{app.certified_host}:{app.http_port}/",
    )
    if app.certified_host is None:
        yield f"  OTA for devices  {plain}xiaozhi/ota/"
    elif app.settings.http.plain:
        yield f"  OTA for devices  {plain}xiaozhi/ota/"
        yield f"  OTA over TLS     {secure}xiaozhi/ota/  for devices that trust its certificate"
    else:
        yield f"  OTA for devices  {secure}xiaozhi/ota/"
    yield f"  Web              {web_address(app)}"


def web_address(app: "App") -> str:
    """The address of the web pages, with a slash at its end."""
    if app.settings.http.public_url is not None:
        return f"{app.settings.http.public_url}/"
    if app.settings.http.plain or app.certified_host is None:
        return f"http://{app.device_host}:{app.http_port}/"
    return f"https://{app.certified_host}:{app.http_port}/"


async def _tell_setup_link(app: "App") -> None:
    """Prints the link that makes the first administrator, as long as there is no administrator."""
    try:
        token = await app.setup_token()
    except StoreError as error:
        print(f"  First user       no link could be made: {error}", flush=True)
    else:
        if token is not None:
            print("\n".join(setup_link(app, token)), flush=True)


def setup_link(app: "App", token: str) -> Iterator[str]:
    """Lines with the link that makes the first administrator."""
    yield f"  First user       {web_address(app)}setup#token={token}"
    yield "                   makes the administrator: open it once, within 24 hours"


def _voices(providers: "Mapping[str, Selection]") -> Iterator[str]:
    """A line with the default agent's providers, and one for each other agent with those that differ."""
    default = providers[DEFAULT_AGENT]
    yield f"  Voice            {_told({role: names for role, names in default.items() if names})}"
    for agent, asked in providers.items():
        if agent != DEFAULT_AGENT:
            own = {role: names for role, names in asked.items() if names != default[role]}
            yield f"  Agent            {agent}: {_told(own) or 'the same'}"


def _model(answering: str) -> Iterator[str]:
    """A line with what answers, where that is not told by its name; else the commands that give a model."""
    if commands := better_model(answering):
        yield f"  No model yet     {commands[0]}  &&  {commands[1]}"
        yield "                   or a key: export OPENAI_API_KEY=…, and see `mimi-mqtt providers`"
    elif " " in answering:
        yield f"  Model            {answering}"


def _advice(app: "App") -> Iterator[str]:
    if advice := better_speech(app.settings, app.providers):
        yield f"  Better speech    {advice}"


def _told(asked: "Selection") -> str:
    return ", ".join(f"{role} {'+'.join(names) or 'off'}" for role, names in asked.items())


def spare_collections() -> None:
    """Has the garbage collector leave alone what was made until now, and look more rarely at the rest.

    What the imports made stays for ever, and one walk over it takes a tenth of the start; the many small
    ones are a fifth of what a connect costs. So it is never walked over: the garbage among it, 2,400 of
    160,000 objects, stays too. 10,000 new objects are walked in a few ms, which spoken frames can wait. What
    refers to itself is rare: all else goes away without the collector. The walks over everything are made by
    `FullCollections`: by the thresholds alone, one comes after ten million new objects.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 100)
    gc.enable()


class FullCollections:
    """A full garbage collection every 20 s, or more rarely where it takes long; then free memory is returned.

    Measured on one core: 2 ms with 500 idle sessions, 12 ms with 500 that listen, 96 ms with 2,000 that
    listen. Frames are sent 180 ms ahead, so none is late; and no more than 0.5 % of a core is spent.
    Without the return, the memory of a flood of requests of 120 KB each stays with the process for good.
    """

    EVERY_S: Final = 20.0
    SHARE: Final = 0.005

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._loop = SupervisedLoop("full garbage collection", self._round)
        self.pause_s = self.EVERY_S
        """Seconds until the next one."""

    def start(self) -> None:
        """Starts collecting on the running loop."""
        self._loop.start()

    @property
    def healthy(self) -> bool:
        """True while garbage is being collected."""
        return self._loop.healthy

    async def aclose(self) -> None:
        """Collects no more."""
        await self._loop.aclose()

    async def _round(self) -> None:
        await asyncio.sleep(self.pause_s)
        began = self._clock()
        gc.collect()
        _return_free_memory()
        self.pause_s = max(self.EVERY_S, (self._clock() - began) / self.SHARE)


def _return_free_memory() -> None:
    """Has the C library return pages that hold nothing to the system; glibc alone keeps them, and can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
