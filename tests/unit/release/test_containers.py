"""Dockerfile and compose.yaml: locked, not root, and bounded."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimi_mqtt.config import Settings
from mimi_mqtt.session.glyphs import fonts

ROOT = Path(__file__).parents[3]


@pytest.fixture
def service() -> dict[str, Any]:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert compose.keys() == {"services", "volumes"}
    (found,) = compose["services"].values()
    assert isinstance(found, dict)
    return found


@pytest.fixture
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


def megabytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", size).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 1, "g": 1024}[unit]


def test_the_container_may_not_take_the_hosts_memory_processes_or_disk(service: dict[str, Any]) -> None:
    assert 512 <= megabytes(service["mem_limit"]) <= 4096
    assert service["memswap_limit"] == service["mem_limit"]
    assert 64 <= service["pids_limit"] <= 1024
    log = service["logging"]
    assert log["driver"] == "json-file"
    assert megabytes(log["options"]["max-size"]) * int(log["options"]["max-file"]) <= 100


def test_descriptors_suffice_for_the_connections_of_the_settings(service: dict[str, Any]) -> None:
    settings = Settings()
    limit = service["ulimits"]["nofile"]
    assert (
        limit["soft"] == limit["hard"] > settings.mqtt.max_connections + settings.http.max_connections + 256
    )


def test_the_container_is_closed(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.keys().isdisjoint({"privileged", "network_mode", "pid", "cap_add", "devices", "user"})
    assert all(re.match(r"/tmp:.*\bsize=\d+m\b", mount) for mount in service["tmpfs"])
    assert service["volumes"] == ["data:/data", "models:/models"]


def test_ports_of_the_image_are_published(service: dict[str, Any], dockerfile: str) -> None:
    exposed = set(re.search(r"EXPOSE (.*)", dockerfile)[1].split())  # type: ignore[index]
    published = {port.partition(":")[2] for port in service["ports"]}
    assert published <= exposed
    bound = {int(port) for port in re.findall(r"__BIND=0\.0\.0\.0:(\d+)", dockerfile)}
    assert {int(port.partition("/")[0]) for port in published} == bound


def test_the_image_holds_locked_versions_only(dockerfile: str) -> None:
    installs = re.findall(r"pip (?:--\S+ \S+ )?(?:install|wheel) [^&\n]*", dockerfile.replace("\\\n", " "))
    assert len(installs) == 6
    for command in installs:
        assert "--require-hashes" in command or "--no-deps" in command, command
        assert (
            "-r requirements/build.txt" in command
            or "--no-build-isolation" in command
            or "--no-index" in command
        )


def test_what_the_image_is_built_from_reaches_the_builder(dockerfile: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    for name in " ".join(copied).split():
        assert f"!{name}" in ignored
        assert (ROOT / name).exists()


def test_the_image_has_local_speech_unless_slim_is_asked_for(
    dockerfile: str, service: dict[str, Any]
) -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)$(.*?)(?=^FROM|\Z)", dockerfile, re.M | re.S))
    assert list(stages)[-1] == service["build"]["target"] == "voice"
    assert "COPY --from=build-voice /opt/mimi " in stages["voice"]
    assert "/models" in re.findall(r"^COPY .*$", stages["voice"], re.MULTILINE)[-1]
    assert "-r requirements/server.txt" in stages["build-voice"]
    assert "models install" in stages["build-voice"]
    assert re.findall(r"^COPY .*$", stages["slim"], re.MULTILINE) == ["COPY --from=build /opt/mimi /opt/mimi"]
    assert "server.txt" not in stages["build"]


def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["10001:10001"]


def test_the_base_can_be_given_by_digest(dockerfile: str) -> None:
    stages = dict(re.findall(r"^FROM (\S+) AS (\S+)$", dockerfile, re.MULTILINE)[::-1])
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == set(stages)
    assert set(stages) == {"${BASE}", "build", "runtime"}
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert f"BASE: {base}\n" in workflow
    assert "BASE=${{ env.BASE }}@${{ needs.names.outputs.base-digest }}" in workflow


def test_the_image_and_the_set_up_have_the_same_fonts(dockerfile: str) -> None:
    """They are well-known ones, so that glyphs come from them without a setting."""
    setup = (ROOT / "scripts" / "setup").read_text(encoding="utf-8")
    installed = dict(re.findall(r'"(fonts-[a-z-]+):file:(\S+)"', setup))
    assert set(re.findall(r"\bfonts-[a-z-]+", dockerfile)) == set(installed)
    known = {str(fonts.FOLDERS[0] / path) for path, _ in fonts._WELL_KNOWN}
    assert set(installed.values()) <= known
    assert re.search(r"FROM runtime AS voice\nCOPY --from=fonts /usr/share/fonts", dockerfile)
