"""Checks this machine, the network and the providers; each line says what is wrong and how to mend it.

Works with the server running (then it really talks to it, as a device would) or stopped. With --security it
looks at how this installation is protected instead: open to whom, passwords, TLS, files, limits.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families

from mimi_mqtt.cli import doctor_glyphs, doctor_mqtt, doctor_tls
from mimi_mqtt.cli.doctor_tls import ota_address
from mimi_mqtt.cli.finding import Finding as Finding
from mimi_mqtt.cli.finding import Grade as Grade
from mimi_mqtt.config import BindAddress, Settings, load_settings, settings_file
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import MimiError, ProviderError, ProviderTimeout, StartupError, StoreError
from mimi_mqtt.log import setup_logging
from mimi_mqtt.transports.listening import open_tcp, open_udp, outward_address

if TYPE_CHECKING:
    from mimi_mqtt.fleet.fallback import Fallback
    from mimi_mqtt.providers.contract.provider import Role

_PROVIDER_TIMEOUT_S = 30.0
_TALK_TIMEOUT_S = 15.0
_DISK_WARNING_BYTES = 200 * 1024 * 1024
_NAMED = 5

# A locally administered MAC of its own: the doctor never takes a real device's place.
_DOCTOR_MAC = "02:d0:c7:0a:00:01"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (default as for serve)")
    parser.add_argument("--security", action="store_true", help="check how this installation is protected")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; 1 when one of them is a failure, or a warning about security."""
    settings = load_settings(args.config, os.environ)
    setup_logging("error", "text")
    if args.security:
        return _report_security(settings, settings_file(args.config, os.environ), as_json=args.json)
    return asyncio.run(_report_json(settings) if args.json else _report(settings))


def _report_security(settings: Settings, file: Path | None, *, as_json: bool) -> int:
    from mimi_mqtt.cli.security import report
    from mimi_mqtt.cli.security.machine import look

    findings = report.examine(settings, look(settings.server.data_dir), file, os.environ)
    print(report.as_json(findings) if as_json else report.as_text(findings))
    return 1 if report.count(findings, "warning") else 0


async def _report_json(settings: Settings) -> int:
    findings = [finding async for finding in examine(settings)]
    print(json.dumps({"findings": list(map(asdict, findings))}, ensure_ascii=False, indent=2))
    return 1 if any(finding.grade == "fail" for finding in findings) else 0


async def _report(settings: Settings) -> int:
    failed = False
    async for finding in examine(settings):
        mark = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}[finding.grade]
        print(f"{mark}  {finding.what}: {finding.detail}", flush=True)
        if finding.cure:
            print(f"      -> {finding.cure}", flush=True)
        failed |= finding.grade == "fail"
    return 1 if failed else 0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """All findings, in the order a person would look."""
    yield _libopus()
    yield _data_dir(settings.server.data_dir)
    for finding in doctor_tls.certificates(settings):
        yield finding
    for finding in await asyncio.to_thread(doctor_glyphs.fonts, settings.display.fonts):
        yield finding
    health = await _running_server(settings)
    if health is None:
        for finding in _ports(settings):
            yield finding
    else:
        yield health
        secure = await doctor_tls.https(settings, _reachable_host(settings, "127.0.0.1"))
        if secure is not None:
            yield secure
        for finding in told_of_providers(await _metrics(settings)):
            yield finding
    address = settings.server.public_host or _reachable_host(settings)
    yield _address(settings, address)
    if health is None:
        yield Finding("warn", "conversation", "not tried, as no server is running here",
                      "start ./scripts/serve and run this again to prove MQTT and UDP")  # fmt: skip
    elif health.grade == "fail":
        yield Finding("warn", "conversation", "not tried, as the server is down", "mend that first")
    else:
        async for finding in _fallbacks(settings):
            yield finding
        yield await _conversation(settings, address)
        yield await _over_websocket(settings, address)
        yield await _mqtt_clients(settings)
    async for finding in examine_providers(settings):
        yield finding


def _libopus() -> Finding:
    from mimi_mqtt.audio.opus import libopus_version

    try:
        return Finding("ok", "libopus", libopus_version())
    except StartupError as error:
        return Finding("fail", "libopus", str(error), "apt-get install libopus0")


def _data_dir(folder: Path) -> Finding:
    shown = str(folder)
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("fail", "data folder", f"{shown} can't be written by this user",
                       "set server.data_dir, or give the folder to this user")  # fmt: skip
    free = shutil.disk_usage(existing).free
    if free < _DISK_WARNING_BYTES:
        return Finding("warn", "data folder", f"{shown}: only {free // 2**20} MiB free", "free some space")
    secrets = [path for path in folder.glob("*") if path.is_file() and "secret" in path.name]
    for path in secrets:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            return Finding(
                "fail", "data folder", f"{path} is readable by others ({mode:04o})", f"chmod 600 {path}"
            )
    return Finding("ok", "data folder", f"{shown} ({free // 2**20} MiB free)")


def _ports(settings: Settings) -> list[Finding]:
    Open = Callable[[BindAddress, str], socket.socket]
    wanted: list[tuple[str, Open, BindAddress, str, bool]] = [
        ("HTTP port", open_tcp, settings.http.bind, "http.bind", False),
        (
            "MQTT port",
            open_tcp,
            settings.mqtt.bind,
            "mqtt.bind",
            "bind" not in settings.mqtt.model_fields_set,
        ),
        ("UDP port", open_udp, settings.udp.bind, "udp.bind", "bind" not in settings.udp.model_fields_set),
    ]
    if settings.mqtt.tls_certificate is not None:
        movable = "tls_bind" not in settings.mqtt.model_fields_set
        wanted.append(("MQTT TLS port", open_tcp, settings.mqtt.tls_bind, "mqtt.tls_bind", movable))
    findings = []
    for what, open_socket, bind, key, movable in wanted:
        try:
            open_socket(bind, key).close()
            findings.append(Finding("ok", what, f"{bind} is free"))
        except StartupError as error:
            grade: Grade = "warn" if movable else "fail"
            cure = "the server will take the next free one" if movable else f"set {key} to another one"
            findings.append(Finding(grade, what, str(error).partition(": set ")[0], cure))
    return findings


def _reachable_host(settings: Settings, of_all: str | None = None) -> str:
    """The address of http.bind; when that is every address, `of_all` or the one of the default route."""
    host = settings.http.bind.host
    return (of_all or outward_address()) if host in ("0.0.0.0", "::") else host


async def _running_server(settings: Settings) -> Finding | None:
    url = f"http://{_reachable_host(settings, '127.0.0.1')}:{settings.http.bind.port}/healthz"
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(url)
            parts = answer.json()["parts"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    down = [name for name, part in parts.items() if not part["ok"]]
    if down:
        return Finding("fail", "server", f"running, but down: {', '.join(down)}", f"see {url} and the log")
    return Finding("ok", "server", f"running at {url.removesuffix('/healthz')}, all {len(parts)} parts up")


async def _metrics(settings: Settings) -> str:
    """The running server's metrics; empty where they are not shown to this machine."""
    url = f"http://{_reachable_host(settings, '127.0.0.1')}:{settings.http.bind.port}/metrics"
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(url)
    except httpx.HTTPError:
        return ""
    return answer.text if answer.status_code == 200 else ""


def told_of_providers(metrics: str) -> Iterator[Finding]:
    """A finding for each provider that the running server asks later than it is set to."""
    told = {
        "mimi_provider_resting": ("rested for its failures", "see the log for what failed"),
        "mimi_provider_demoted": (
            "asked later, as the next one keeps being faster", "put the faster one first in providers.{role}",
        ),
    }  # fmt: skip
    try:
        families = list(text_string_to_metric_families(metrics))
    except ValueError:
        return
    for sample in (sample for family in families for sample in family.samples):
        if sample.name in told and sample.value == 1:
            state, cure = told[sample.name]
            role, name = sample.labels.get("role", ""), sample.labels.get("name", "")
            yield Finding("warn", f"{role} {name}", state, cure.format(role=role))


def _address(settings: Settings, address: str) -> Finding:
    ota = ota_address(settings, address)
    certificate = settings.http.tls_certificate
    if certificate is not None:
        secure = ota_address(settings, doctor_tls.certified_host(certificate, address), tls=True)
        ota = f"{ota} and {secure}" if settings.http.plain else secure
    if settings.http.bind.host.startswith("127."):
        detail = f"http.bind is {settings.http.bind}: only this machine can ask for {ota}"
        return Finding("warn", "address for devices", detail, "set http.bind to 0.0.0.0:8003")
    if address.startswith("127."):
        return Finding("warn", "address for devices", f"{ota} works on this machine only",
                       "connect this machine to a network, or set server.public_host")  # fmt: skip
    return Finding("ok", "address for devices", ota)


async def _conversation(settings: Settings, address: str) -> Finding:
    """A real hello, a wake word and a spoken answer, through the address that devices use."""
    from mimi_mqtt.cli.device.client import DeviceOptions, converse

    ota = ota_address(settings, address)
    options = DeviceOptions(
        ota=ota, mac=_DOCTOR_MAC, text="hello", timeout_s=_TALK_TIMEOUT_S, tls_insecure=True
    )
    summary = await converse(options)
    if not summary.ok:
        return Finding("fail", "conversation", f"a simulated device at {ota} got no answer: {summary.error}",
                       "let MQTT (TCP) and the audio port (UDP) through this machine's firewall")  # fmt: skip
    detail = f"OTA, MQTT and UDP work through {address}: {summary.audio_ms} ms of speech, {summary.lost} lost"
    return Finding("ok", "conversation", detail)


async def _fallbacks(settings: Settings) -> AsyncIterator[Finding]:
    """Devices that the server itself gave a WebSocket, and those among them that it did not help."""
    from mimi_mqtt.cli.opening import database
    from mimi_mqtt.fleet.fallback import fallbacks

    store = database(settings)
    try:
        await store.open(create=False)
        found = await fallbacks(store)
    except StoreError as error:
        yield Finding("warn", "fallback", f"the database can't be read: {error}")
        return
    finally:
        await store.aclose()
    port = settings.udp.bind.port
    back = "then `mimi-mqtt devices set ID --transport default`"
    if found:
        detail = f"no audio comes over UDP from {_named(found)}: a WebSocket is used"
        yield Finding("warn", "fallback", detail, f"let UDP port {port} through to this server, {back}")
    if lost := [each for each in found if each.silent_since is not None]:
        detail = f"not connected since they were told the WebSocket: {_named(lost)}"
        cure = (
            f"wake them; without an answer, let WebSockets through the proxy, or UDP to this server, {back}"
        )
        yield Finding("warn", "fallback", detail, cure)


def _named(found: "Sequence[Fallback]") -> str:
    """The ids of the first few devices, and how many more there are."""
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(each.device_id for each in found[:_NAMED]) + more


async def _over_websocket(settings: Settings, address: str) -> Finding:
    """The same over a WebSocket, which devices behind tunnels without UDP use."""
    from mimi_mqtt.cli.device.client import DeviceOptions, converse

    tls = settings.http.tls_certificate is not None
    summary = await converse(
        DeviceOptions(
            ota=ota_address(settings, address, tls=tls), mac=_DOCTOR_MAC, text="hello",
            timeout_s=_TALK_TIMEOUT_S, transport="websocket", tls_insecure=True,
        )
    )  # fmt: skip
    if not summary.ok:
        return Finding("warn", "WebSocket", f"a simulated device got no answer: {summary.error}",
                       "let WebSockets through the reverse proxy, if there is one")  # fmt: skip
    scheme = "wss" if tls else "ws"
    detail = f"a device on {scheme}://{address} is answered: {summary.audio_ms} ms of speech"
    return Finding("ok", "WebSocket", detail)


async def _mqtt_clients(settings: Settings) -> Finding:
    """Sends messages through the broker, as Home Assistant, MQTTX and other clients do."""
    from mimi_mqtt.cli.asking import self_check_password
    from mimi_mqtt.fleet.credentials import SELF_CHECK_USER

    try:
        password = self_check_password(settings)
    except MimiError as error:
        return Finding("warn", doctor_mqtt.WHAT, f"not tried: {error}")
    address = f"ws://{_reachable_host(settings, '127.0.0.1')}:{settings.http.bind.port}/mqtt"
    return await doctor_mqtt.round_trip(address, SELF_CHECK_USER, password)


async def examine_providers(settings: Settings) -> AsyncIterator[Finding]:
    """Tries each provider of the agents once. One that fails is a warning while others take its place."""
    from mimi_mqtt.cli.managing import in_force
    from mimi_mqtt.providers.catalog.advice import better_speech, missing_voices
    from mimi_mqtt.providers.catalog.overview import ROLES
    from mimi_mqtt.providers.catalog.registry import build
    from mimi_mqtt.providers.catalog.selection import different, select_providers, with_providers

    settings = await in_force(settings)
    asked = select_providers(settings, os.environ)
    pipeline_works = True
    for role in ROLES:
        agents_of = different(asked, role)
        names = dict.fromkeys(name for chain in agents_of for name in chain)
        found = {name: await _provider(settings, role, name) for name in names}
        working = {name for name, finding in found.items() if finding.grade == "ok"}
        for name, finding in found.items():
            agents = {agent for chain, those in agents_of.items() if name in chain for agent in those}
            of_agents = "" if DEFAULT_AGENT in agents else f" of {', '.join(sorted(agents))}"
            finding = replace(finding, what=finding.what + of_agents)
            if finding.grade == "fail":
                stand_ins = [working.intersection(chain) for chain in agents_of if name in chain]
                if role == "s2s" and pipeline_works:
                    finding = _mild(finding, "stt, llm and tts answer")
                elif all(stand_ins):
                    others = [other for other in names if any(other in some for some in stand_ins)]
                    finding = _mild(finding, f"{' or '.join(others)} takes its place")
                else:
                    pipeline_works = False
            yield finding
    for agent, own in settings.every_agent.items():
        if asked[agent]["s2s"]:
            continue
        tts = build("tts", with_providers(settings.providers, "tts", asked[agent]["tts"]), os.environ)
        for missing in missing_voices(own, own.language or settings.server.language, tts):
            yield Finding("warn", f"voice of {agent}", missing)
    if advice := better_speech(settings, asked):
        yield Finding("warn", "local models", "none that is better for the language is installed", advice)


def _mild(finding: Finding, instead: str) -> Finding:
    return replace(finding, grade="warn", detail=f"{finding.detail}; until then {instead}")


async def _provider(settings: Settings, role: "Role", name: str) -> Finding:
    """Starts the provider `name` of `role` and really asks for something small."""
    from mimi_mqtt.cli.providers import timings
    from mimi_mqtt.providers.catalog.overview import attempt
    from mimi_mqtt.providers.catalog.registry import build
    from mimi_mqtt.providers.catalog.selection import with_providers

    what = f"{role} {name}"
    try:
        alone = with_providers(settings.providers, role, [name])
        trial = await attempt(build(role, alone, os.environ), _PROVIDER_TIMEOUT_S)
        return Finding("ok", what, f"{trial.said}; {timings(trial)}")
    except ProviderTimeout as error:
        return Finding("fail", what, str(error), "is its server running and reachable?")
    except ProviderError as error:
        cure = f"see {role} of providers and agents in broker.yaml, and `mimi-mqtt providers test {name}`"
        return Finding("fail", what, str(error), cure)
    except MimiError as error:
        return Finding("fail", what, str(error))
