"""Round trips of the server through its own addresses, as devices reach them: name, OTA, MQTT, UDP, clock.

`mimi-mqtt doctor` does the same with a simulated device; these run inside the server, one at a time, and
change nothing. They show what the server's own machine can show: a firewall between it and a device is seen
when a device's audio is missing (`fleet.fallback`).
"""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import aiomqtt
import httpx

from mimi_mqtt.app.diagnosis import EARLIEST
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.credentials import SELF_CHECK_USER, Credentials
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.http.health import CheckResult
from mimi_mqtt.managed.trials import OneAtATime
from mimi_mqtt.transports.udp import UdpServer

CHECK_TIMEOUT_S: Final = 5.0
"""Longest time of one check, in seconds."""
MAX_CLOCK_DIFFERENCE_S: Final = 60.0
"""Difference between the server's clock and the caller's above which it is told, in seconds."""


class ServerChecks:
    """Checks of the running server at `host`, which the settings and this machine tell: the checks show a
    password, and go nowhere that a caller names. Wherever that leads, the password opens no more than a
    client's own topics, for a minute."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        endpoints: Endpoints,
        credentials: Credentials,
        udp: UdpServer,
        host: Callable[[], str],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._credentials = credentials
        self._udp = udp
        self._host = host
        self._now = now
        self._turn = OneAtATime("check of the server")

    async def run(self, browser_time: datetime | None) -> Sequence[CheckResult]:
        """All checks, in the order in which a device needs them. Raises LimitReached."""
        with self._turn:
            return [result async for result in self._run(self._host(), browser_time)]

    async def _run(self, host: str, browser_time: datetime | None) -> AsyncIterator[CheckResult]:
        named = await _bounded("name", self._name(host))
        yield named
        for moved in self._moved():
            yield moved
        reached = named.grade != "fail"
        for check, work in (("ota", self._ota), ("mqtt", self._mqtt), ("udp", self._round_trip)):
            if reached:
                yield await _bounded(check, work(host))
            else:
                yield CheckResult(
                    check, "warn", f"not tried, as {host} leads nowhere", None, "mend the name first"
                )
        yield self._clock(browser_time)

    async def _name(self, host: str) -> CheckResult:
        began = time.perf_counter()
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, family=socket.AF_INET)
        except OSError as error:
            return CheckResult(
                "name", "fail", f"{host} is not known on this machine: {error.strerror or error}", None,
                "set server.public_host to this machine's IPv4 address, or add the name to the network's DNS",
            )  # fmt: skip
        addresses = sorted({str(each[4][0]) for each in found})
        told = f"{host} is {', '.join(addresses)}" if addresses != [host] else f"{host} is an IPv4 address"
        if all(address.startswith("127.") for address in addresses):
            return CheckResult(
                "name", "warn", f"{told}: only this machine can reach it", _ms(began),
                "open this page by the server's address in your network, or set server.public_host",
            )  # fmt: skip
        return CheckResult("name", "ok", told, _ms(began))

    def _moved(self) -> Sequence[CheckResult]:
        settings, endpoints = self._settings(), self._endpoints
        wanted = (
            ("mqtt.bind", settings.mqtt.bind.port, endpoints.mqtt_port),
            ("udp.bind", settings.udp.bind.port, self._udp.port),
        )
        return [
            CheckResult(
                "ports", "warn", f"port {port} was taken at the start ({key}): the server uses {bound}", None,
                f"stop what has the port, or set {key} to {bound}, which firewalls must let through",
            )
            for key, port, bound in wanted
            if port not in (0, bound)
        ]  # fmt: skip

    async def _ota(self, host: str) -> CheckResult:
        http = self._settings().http
        scheme = "https" if http.tls_certificate is not None and not http.plain else "http"
        url = f"{scheme}://{host}:{self._endpoints.http_port}/api/v1/server"
        began = time.perf_counter()
        try:
            # The certificate may be for another name: what is looked for is the way.
            async with httpx.AsyncClient(timeout=CHECK_TIMEOUT_S, trust_env=False, verify=False) as client:  # noqa: S501
                answer = await client.get(url)
                there = answer.json()["name"] == "mimi_mqtt"
        except (ValueError, KeyError, TypeError):
            there = False
        except httpx.HTTPError as error:
            return CheckResult(
                "ota", "fail", f"{url} can't be reached: {str(error) or type(error).__name__}", None,
                "let the HTTP port (TCP) through this machine's firewall, or map it in the container",
            )  # fmt: skip
        if not there:
            return CheckResult(
                "ota", "fail", f"another program answers at {url}", None,
                "set server.public_host to this machine's address, or stop the other program",
            )  # fmt: skip
        return CheckResult(
            "ota", "ok", f"this server answers at {host}:{self._endpoints.http_port}", _ms(began)
        )

    async def _mqtt(self, host: str) -> CheckResult:
        """A message to itself through the broker."""
        port = self._endpoints.mqtt_port
        topic, mark = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(16)
        began = time.perf_counter()
        try:
            async with aiomqtt.Client(
                host, port, username=SELF_CHECK_USER, timeout=CHECK_TIMEOUT_S,
                password=self._credentials.self_check_password(time.time()),
            ) as client:  # fmt: skip
                await client.subscribe(topic)
                began = time.perf_counter()
                await client.publish(topic, mark)
                async for message in client.messages:
                    if message.payload == mark:
                        break
        except aiomqtt.MqttError as error:
            return CheckResult(
                "mqtt", "fail", f"{host}:{port} passes no message on: {error}", None,
                "let the MQTT port (TCP) through this machine's firewall, or map it in the container",
            )  # fmt: skip
        return CheckResult("mqtt", "ok", f"a message went through {host}:{port} and back", _ms(began))

    async def _round_trip(self, host: str) -> CheckResult:
        """A datagram to the advertised address, which comes back through the socket of the audio."""
        port = self._udp.advertised_port
        began = time.perf_counter()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S / 2):
                await self._udp.probe(host, port)
        except TimeoutError:
            return CheckResult(
                "udp", "fail", f"no datagram came through {host}:{port}", None,
                "let the UDP port through this machine's firewall, or map it in the container as /udp",
            )  # fmt: skip
        except OSError as error:
            return CheckResult(
                "udp", "fail", f"{host}:{port}: {error.strerror or error}", None, "see udp.bind"
            )
        return CheckResult("udp", "ok", f"a datagram went through {host}:{port}", _ms(began))

    def _clock(self, browser_time: datetime | None) -> CheckResult:
        now = self._now()
        cure = "set this machine's clock, or have it set by NTP: `timedatectl set-ntp true`"
        if now < EARLIEST:
            return CheckResult("clock", "fail", f"this machine's clock shows {now:%Y-%m-%d}", None, cure)
        if browser_time is not None:
            apart = abs((now - browser_time).total_seconds())
            if apart > MAX_CLOCK_DIFFERENCE_S:
                told = f"the server's clock and your browser's are {apart:.0f} s apart"
                return CheckResult("clock", "warn", told, None, cure
                )  # fmt: skip
        return CheckResult("clock", "ok", f"the server's clock shows {now:%Y-%m-%d %H:%M} UTC")


async def _bounded(check: str, work: Awaitable[CheckResult]) -> CheckResult:
    try:
        async with asyncio.timeout(2 * CHECK_TIMEOUT_S):
            return await work
    except TimeoutError:
        return CheckResult(
            check, "fail", f"no answer within {2 * CHECK_TIMEOUT_S:g} s", None,
            "let its port through this machine's firewall",
        )  # fmt: skip


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
