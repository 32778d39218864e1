"""Settings and machines for the checks of `doctor --security`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address

from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.config import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LOOPBACK = ("127.0.0.1", "::1")
HOME = "192.168.1.5"
PUBLIC = "8.8.4.4"


def settings(**sections: object) -> Settings:
    return Settings.model_validate(sections)


def machine(*addresses: str, **state: object) -> Machine:
    """A machine with the loopback and `addresses`."""
    interfaces = {
        "lo": tuple(map(ip_address, LOOPBACK)),
        "eth0": tuple(map(ip_address, addresses)),
    }
    return Machine(now=NOW, interfaces=interfaces, **state)  # type: ignore[arg-type]


def one(findings: Sequence[Finding], what: str) -> Finding:
    """The finding about `what`; a cure stands where something is to be done, and only there."""
    (finding,) = [each for each in findings if each.what == what]
    assert bool(finding.cure) == (finding.level != "ok")
    return finding


def level(findings: Sequence[Finding], what: str) -> str:
    return one(findings, what).level
