"""Checks of who can reach the server, and what a stranger finds there."""

from ipaddress import IPv4Network, IPv6Network
from typing import Final

from mimi_mqtt.cli.security.finding import Finding, Level
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.cli.security.reach import WORDS, Reach, of_bind, of_name
from mimi_mqtt.config import BindAddress, Settings

_WIDEST_PROXY_NETWORK: Final = {4: 16, 6: 48}
"""Shortest prefix of http.trusted_proxies, by IP version, that is one's own network and no one else's."""
_SHOWN_ADDRESSES: Final = 4


def farthest(settings: Settings, machine: Machine) -> Reach:
    """The farthest place from where any part of the server can be reached, or is meant to be."""
    binds = [settings.mqtt.bind, settings.http.bind, settings.udp.bind]
    if settings.mqtt.tls_certificate is not None:
        binds.append(settings.mqtt.tls_bind)
    meant = Reach.MACHINE if settings.server.public_host is None else of_name(settings.server.public_host)
    return max(meant, *(of_bind(bind.host, machine)[0] for bind in binds))


def examine(settings: Settings, machine: Machine) -> list[Finding]:
    """Findings about listening sockets, new devices, and what HTTP shows and believes."""
    http = _http(settings, machine)
    plain = _listener("MQTT without TLS", "mqtt.bind", settings.mqtt.bind, machine, "TLS (mqtt.tls_bind)")
    return [
        http,
        plain,
        *_open_by_design(settings, machine),
        _new_devices(settings, machine),
        _metrics(settings, machine),
        _hosts(settings),
        _proxies(settings),
        _user(machine),
    ]


def _where(bind: BindAddress, machine: Machine) -> tuple[Reach, str]:
    reach, addresses = of_bind(bind.host, machine)
    outside = sorted(
        (each for each in addresses if not each.is_loopback),
        key=lambda each: (not each.is_global, each.version),
    )
    shown = ", ".join(map(str, outside[:_SHOWN_ADDRESSES]))
    more = ", …" if len(outside) > _SHOWN_ADDRESSES else ""
    return reach, f"{bind}: open to {WORDS[reach]}" + (f" ({shown}{more})" if shown else "")


def _listener(what: str, key: str, bind: BindAddress, machine: Machine, instead: str) -> Finding:
    reach, seen = _where(bind, machine)
    if reach is Reach.INTERNET:
        cure = f"set {key} to this machine's address in the local network, or close port {bind.port} in the "
        return Finding("warning", what, f"{seen}, in clear", f"{cure}firewall, and let others use {instead}")
    return Finding("ok", what, seen)


def _http(settings: Settings, machine: Machine) -> Finding:
    bind = settings.http.bind
    if not settings.http.plain:
        return Finding("ok", "HTTP", f"{_where(bind, machine)[1]}, over TLS alone")
    if settings.http.tls_certificate is None:
        return _listener("HTTP", "http.bind", bind, machine, "a proxy with TLS in front of it")
    reach, seen = _where(bind, machine)
    if reach is Reach.INTERNET:
        cure = "set http.plain: false, once the OTA address in every device begins with https://"
        return Finding("warning", "HTTP", f"{seen}, in clear beside TLS", cure)
    return Finding("ok", "HTTP", seen)


def _open_by_design(settings: Settings, machine: Machine) -> list[Finding]:
    """The sockets that are made for the internet; a router may lead to them without being seen from here."""
    findings = [Finding("ok", "audio (UDP)", f"{_where(settings.udp.bind, machine)[1]}, encrypted")]
    if settings.mqtt.tls_certificate is not None:
        findings.append(Finding("ok", "MQTT with TLS", _where(settings.mqtt.tls_bind, machine)[1]))
    host = settings.server.public_host
    if host is not None:
        public = of_name(host) is Reach.INTERNET
        level: Level = "warning" if public and settings.mqtt.tls_certificate is None else "ok"
        cure = "set mqtt.tls_certificate and mqtt.tls_key" if level == "warning" else ""
        seen = f"devices are told to connect to {host}" + (", without TLS" if cure else "")
        findings.append(Finding(level, "server.public_host", seen, cure))
    return findings


def _new_devices(settings: Settings, machine: Machine) -> Finding:
    what, reach = "new devices", farthest(settings, machine)
    if settings.ota.new_devices == "activate":
        return Finding("ok", what, "are let in by a person (ota.new_devices: activate)")
    seen = f"anyone on {WORDS[reach]} gets a device's credentials (ota.new_devices: allow)"
    if reach is Reach.MACHINE:
        return Finding("ok", what, "only this machine can register any")
    cure = "set ota.new_devices: activate, and let each in by `mimi-mqtt devices allow CODE`"
    return Finding("warning" if reach is Reach.INTERNET else "advice", what, seen, cure)


def _metrics(settings: Settings, machine: Machine) -> Finding:
    if settings.http.metrics != "open":
        return Finding("ok", "/metrics", f"http.metrics: {settings.http.metrics}")
    reach = of_bind(settings.http.bind.host, machine)[0]
    if reach is Reach.MACHINE:
        return Finding("ok", "/metrics", "is open to this machine only")
    level: Level = "warning" if reach is Reach.INTERNET else "advice"
    return Finding(
        level, "/metrics", f"is open to {WORDS[reach]} (http.metrics: open)", "set http.metrics: local"
    )


def _hosts(settings: Settings) -> Finding:
    if any(map(_is_any, settings.http.allowed_hosts)):
        cure = "name the hosts in http.allowed_hosts"
        seen = "every Host is served: a web page whose name is rebound to this machine can read it"
        return Finding("warning", "http.allowed_hosts", seen, cure)
    return Finding("ok", "http.allowed_hosts", "only this machine's own addresses and named hosts are served")


def _is_any(pattern: str) -> bool:
    """True for a pattern that other people's names fit: `*.` and a public top-level domain alone."""
    above = pattern.removeprefix("*.")
    return above != pattern and "." not in above and of_name(f"x.{above}") is Reach.INTERNET


def _proxies(settings: Settings) -> Finding:
    what = "http.trusted_proxies"
    trusted = settings.http.trusted_proxies
    wide = [network for network in trusted if _too_wide(network)]
    if wide:
        named = ", ".join(map(str, wide))
        seen = f"whoever connects from {named} may claim any address, and escape the shares by it"
        return Finding("warning", what, seen, "name the proxies' own addresses, such as 127.0.0.1")
    return Finding("ok", what, f"trusts {', '.join(map(str, trusted))}" if trusted else "trusts none")


def _too_wide(network: IPv4Network | IPv6Network) -> bool:
    return not network.is_loopback and network.prefixlen < _WIDEST_PROXY_NETWORK[network.version]


def _user(machine: Machine) -> Finding:
    running = machine.pid is not None
    whose = f"the server (pid {machine.pid})" if running else "no server runs here; this command"
    if machine.uid == 0:
        cure = "run the server as a user of its own, who owns server.data_dir: see examples/ and compose.yaml"
        return Finding("warning" if running else "advice", "user", f"{whose} runs as root", cure)
    return Finding("ok", "user", f"{whose} runs as user id {machine.uid}")
