"""Versions are compared as devices compare them, and none that could abort one is registered."""

import pytest

from mimi_mqtt.errors import Invalid
from mimi_mqtt.fleet.firmware import versions


@pytest.mark.parametrize("version", ["1", "2.3.1", "0.0.0", "999999999.1", "1.2.3.4.5.6.7.8"])
def test_dotted_numbers_are_registered(version: str) -> None:
    assert versions.check(version) == version


@pytest.mark.parametrize(
    "version",
    [
        "", "v1.2", "1.2.3-beta", "1.2.3-4-gabc", "999999999999", "1.9999999999", "1..2", ".1", "1.", " 1",
        "1\n",
        "1.2.3.4.5.6.7.8.9", "-1", "+1", "1.x", "\u0661.2", "1.2 ", "latest",
    ],
)  # fmt: skip
def test_versions_that_could_abort_or_mislead_a_device_are_refused(version: str) -> None:
    assert not versions.is_plain(version)
    with pytest.raises(Invalid, match="PROJECT_VER"):
        versions.check(version)


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("2.3.1", "2.3.0", True), ("2.10.0", "2.9.9", True), ("2.3", "2.3.0", False), ("2.3.0", "2.3", True),
        ("2.3.1", "2.3.1", False), ("2.3.1", "2.3.1-beta", False), ("2.3.2", "2.3.1-beta", True),
        ("2.3.1", "abc", False), ("2.3.1", "", False), ("2.3.1", "99999999999", False),
    ],
)  # fmt: skip
def test_the_first_number_that_differs_decides(version: str, than: str, newer: bool) -> None:
    assert versions.is_newer(version, than) is newer


def test_a_suffix_makes_no_difference_to_a_device() -> None:
    assert versions.is_same("2.3.1", "2.3.1-beta")
    assert not versions.is_same("2.3.1", "")
