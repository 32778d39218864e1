"""The lock files: they fulfil pyproject.toml, agree with each other, and name no place of packages."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.unit.release.lock_file import ENVIRONMENTS, Pin, in_file, problems, read

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "requirements").glob("*.txt"))
NEVER_LOCKED = {"mic"}
"""Extras that nothing installs but a person: sounddevice needs PortAudio."""

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


ENGINES = {"faster-whisper", "hibari", "sherpa-onnx"}
"""Extras that run local models, left out by `scripts/serve --minimal`."""

APART = {"fuzz"}
"""Extras with a lock file of their own, which scripts/setup does not install."""


def pins(name: str) -> list[Pin]:
    return list(read((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")))


def ranges(*without: str) -> list[Requirement]:
    """The ranges in pyproject.toml of the project and of its extras but `without`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    kept = [line for name, lines in extras.items() if name not in without for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *kept]]


def test_tests_are_locked_as_pyproject_says() -> None:
    assert problems(pins("test"), ranges(*NEVER_LOCKED, *APART)) == [], "run: scripts/lock"


def test_the_server_is_locked_as_pyproject_says() -> None:
    beside = {"dev", "piper", *NEVER_LOCKED, *APART}
    assert problems([*pins("server"), *pins("aec")], ranges(*beside)) == [], "run: scripts/lock"


def test_the_server_without_local_models_is_locked_as_pyproject_says() -> None:
    beside = {"dev", "piper", *ENGINES, *NEVER_LOCKED, *APART}
    assert problems([*pins("minimal"), *pins("aec")], ranges(*beside)) == [], "run: scripts/lock"
    assert {pin.name for pin in pins("minimal")} < {pin.name for pin in pins("server")}


def test_the_fuzzer_is_locked_as_pyproject_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["optional-dependencies"]["fuzz"]]
    assert problems(pins("fuzz"), wanted) == [], "run: scripts/lock"


def test_the_s3_server_of_the_tests_is_locked_as_its_ranges_say() -> None:
    wanted = in_file(ROOT / "requirements" / "s3.in")
    assert problems(pins("s3"), wanted) == [], "run: scripts/lock"


def test_what_builds_is_locked_as_its_ranges_say() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *in_file(ROOT / "requirements" / "build.in"),
        *map(Requirement, project["build-system"]["requires"]),
    ]
    assert problems(pins("build"), wanted) == [], "run: scripts/lock"
    assert problems(pins("lock"), in_file(ROOT / "requirements" / "lock.in")) == [], "run: scripts/lock"


@pytest.mark.parametrize("name", ["server", "minimal", "aec", "build", "fuzz"])
def test_tests_run_with_the_versions_that_are_served(name: str) -> None:
    """Both are installed into one environment: none may change the other's packages."""
    for environment in ENVIRONMENTS:
        tested = {pin.name: pin.version for pin in pins("test") if pin.applies(environment)}
        for pin in pins(name):
            if pin.applies(environment) and (name in ("server", "minimal", "aec") or pin.name in tested):
                assert tested[pin.name] == pin.version, pin.name


@each_file
def test_it_does_not_say_where_packages_come_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"://|^--.*|(?i:index|pypi|mirror|find-links).*", text, re.MULTILINE) == []


HASH = " --hash=sha256:" + 64 * "a"


def test_a_range_beyond_its_pin_is_found() -> None:
    (found, *_) = problems(list(read("one==1.0" + HASH)), [Requirement("one>=1.1")])
    assert found == "one>=1.1: 1.0 is locked for Python 3.11 on x86_64"


def test_a_requirement_without_a_pin_is_found_where_it_applies() -> None:
    found = problems([], [Requirement("one>=1; python_version == '3.12'")])
    assert len(found) == 2
    assert all("not locked for Python 3.12" in line for line in found)


def test_a_pin_for_some_environments_only_is_found() -> None:
    locked = list(read("one==1.0 ; platform_machine == 'x86_64'" + HASH))
    assert len(problems(locked, [Requirement("one")])) == 3


def test_two_pins_for_one_environment_are_found() -> None:
    assert "one: locked twice" in problems(list(read(f"one==1.0{HASH}\none==2.0{HASH}")), [])[0]


def test_a_pin_without_a_hash_is_found() -> None:
    assert problems(list(read("one==1.0")), []) == ["one==1.0: no hash"]


@pytest.mark.parametrize("line", ["one>=1.0", "one", "one @ file:///tmp/one.whl"])
def test_what_is_not_pinned_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not pinned"):
        list(read(line + HASH))
