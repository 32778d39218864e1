"""All security checks of this installation, and their report as text or JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mimi_mqtt.cli.security import accounts, exposure, files, limits, services, tls
from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.config import Settings


def examine(
    settings: Settings, machine: Machine, settings_file: Path | None, environ: Mapping[str, str]
) -> list[Finding]:
    """All findings, in the order a person would look: who gets in, as whom, and what holds."""
    return [
        *exposure.examine(settings, machine),
        *accounts.examine(settings, machine, environ),
        *tls.examine(settings, machine),
        *files.examine(settings, machine, settings_file),
        *services.examine(settings, environ),
        *limits.examine(settings, machine),
    ]


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, its cure below it, and the sum."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:8}{finding.what}: {finding.seen}")
        if finding.cure:
            lines.append(f"        -> {finding.cure}")
    warnings = count(findings, "warning")
    advice = count(findings, "advice")
    told = f"{warnings} warning{'' if warnings == 1 else 's'}, {advice} piece{'' if advice == 1 else 's'}"
    lines.append(f"{told} of advice. What is promised: docs/security.md")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """`{"warnings": n, "advice": n, "findings": [{"level", "what", "seen", "cure"}]}`."""
    told = {
        "warnings": count(findings, "warning"),
        "advice": count(findings, "advice"),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(told, ensure_ascii=False, indent=2)


def count(findings: Sequence[Finding], level: str) -> int:
    """The number of findings of one level."""
    return sum(finding.level == level for finding in findings)
