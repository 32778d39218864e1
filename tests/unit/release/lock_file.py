"""Reads pip's requirements files with hashes, and holds them against pyproject.toml."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ENVIRONMENTS = tuple(
    {
        **{key: str(value) for key, value in default_environment().items()},
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }
    for machine in ("x86_64", "aarch64")
    for python in ("3.11", "3.12", "3.13")
)
"""Where the project is supported, as environments of PEP 508."""

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry: a name with exactly one version, where it applies, and the hashes of its files."""

    requirement: Requirement
    hashes: int

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version:
        (specifier,) = self.requirement.specifier
        return Version(specifier.version)

    def applies(self, environment: Mapping[str, str]) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate(dict(environment))


def read(text: str) -> Iterator[Pin]:
    """The entries of a lock file. Raises ValueError where one is neither a pin nor a comment."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not entry.strip():
            continue
        words, hashes = _HASH.sub("", entry).strip(), len(_HASH.findall(entry))
        requirement = Requirement(words)
        if [specifier.operator for specifier in requirement.specifier] != ["=="] or requirement.url:
            raise ValueError(f"not pinned to one version: {words}")
        yield Pin(requirement, hashes)


def problems(pins: Sequence[Pin], wanted: Sequence[Requirement]) -> list[str]:
    """What keeps `pins` from being a lock of `wanted`; nothing when all is well."""
    found = [f"{pin.requirement}: no hash" for pin in pins if not pin.hashes]
    for environment in ENVIRONMENTS:
        place = f"Python {environment['python_version']} on {environment['platform_machine']}"
        there: dict[str, Version] = {}
        for pin in pins:
            if pin.applies(environment):
                if pin.name in there:
                    found.append(f"{pin.name}: locked twice for {place}")
                there[pin.name] = pin.version
        for requirement in wanted:
            if requirement.marker is not None and not requirement.marker.evaluate(dict(environment)):
                continue
            version = there.get(canonicalize_name(requirement.name))
            if version is None:
                found.append(f"{requirement}: not locked for {place}")
            elif not requirement.specifier.contains(version, prereleases=True):
                found.append(f"{requirement}: {version} is locked for {place}")
    return found


def in_file(path: Path) -> list[Requirement]:
    """The ranges of a requirements/*.in file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
