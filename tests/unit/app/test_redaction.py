"""What leaves the house has no secrets, no names, and no addresses."""

import gc
import time
from collections.abc import Iterator

import pytest

from mimi_mqtt.app.redaction import Redactor

MAC = "24:6f:28:5a:10:01"


def redactor(salt: bytes = b"salt") -> Redactor:
    return Redactor(
        secrets=["hunter2hunter2", "hunter2", "short"],
        names=["ada", "Bob's kitchen", "Bob", "Phòng khách", "x"],
        ids=["7c0f6a2e-" * 14],
        codes=["402961", "003344"],
        salt=salt,
        is_device=lambda mac: mac == "246f285a1001",
    )


@pytest.fixture
def without_collections() -> Iterator[None]:
    """A test without garbage collections, whose time grows with all that the process holds."""
    gc.disable()
    yield
    gc.enable()


def seconds(text: str) -> float:
    """The least time of this thread in which the text is searched."""
    redact, times = redactor(), []
    for _ in range(3):
        began = time.thread_time()
        redact.text(text)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("part", ["a", "a.", "a@", "://", "1:", "a::", ":1 ", "7c0f6a2e-"])
def test_no_text_takes_the_square_of_its_length(part: str) -> None:
    """A stranger writes lines of the log: the archive must not hold up conversations for seconds."""
    # Thirty-two times the text: 1,024 times as long if it took the square of it.
    assert seconds(part * 32_000) / seconds(part * 1_000) < 200


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key=hunter2hunter2 and hunter2", "key=(secret) and (secret)"),
        ("mimi-mqtt devices allow 402961", "mimi-mqtt devices allow (secret)"),
        ("402961 of 4029610 and 1402961, or 003344.", "(secret) of 4029610 and 1402961, or (secret)."),
        ("402962 stays", "402962 stays"),
        ("a short word stays", "a short word stays"),
        ("signed in as Ada", "signed in as (name)"),
        ("Adam and adamant stay", "Adam and adamant stay"),
        ("bob's kitchen is on", "(name) is on"),
        ("Bob is out, x marks it", "(name) is out, x marks it"),
        ("in PHÒNG KHÁCH", "in (name)"),
        ("mail ada.l@example.org now", "mail (name) now"),
        ("postgresql://me:pw@db/mimi", "postgresql://(secret)@db/mimi"),
        ("from 192.168.1.7:4711", "from 192.168.1.7:4711"),
        ("from 8.8.8.8:53", "from (public IPv4 address):53"),
        ("from 2a00:1450:4001::200e", "from (public IPv6 address)"),
        ("device connected from 2003:e1:bf0a:1200::5:54321", "device connected from (public IPv6 address)"),
        ("from 2003:e1:bf0a:1200:1:2:3:4:4711.", "from (public IPv6 address)"),
        ("peer 2003:e1:bf0a:1200::5: refused", "peer (public IPv6 address) refused"),
        (
            "peer:2003:e1:bf0a:1200::5, source:2003:e1::5",
            "peer(public IPv6 address), sour(public IPv6 address)",
        ),
        ("x2003:e1:bf0a:1200::5x", "x(public IPv6 address)x"),
        ("from [2003:e1:bf0a:1200::5]:54321", "from [(public IPv6 address)]:54321"),
        ("from 2003:e1:bf0a:1200::/64", "from (public IPv6 address)/64"),
        ("from 2003:e1:bf0a:::54321", "from (public IPv6 address)"),
        ("no address 2003:e1:bf0a:1200:1:2:3:4:5:6", "no address (public IPv6 address)"),
        ("no address 2003::e1::5", "no address (public IPv6 address)"),
        ("from ::ffff:93.184.216.34", "from (public IPv4 address)"),
        ("from ::ffff:93.184.216.34:54321", "from (public IPv4 address)"),
        ("from ::ffff:192.168.1.7:54321", "from ::ffff:192.168.1.7:54321"),
        ("from fd00::5:54321 and fe80::1%eth0", "from fd00::5:54321 and fe80::1%eth0"),
        ("at [::]:8003, from ::1", "at [::]:8003, from ::1"),
        ("8.8.8.8:53:9.9.9.9", "(public IPv4 address):53:(public IPv4 address)"),
        ("at 12:04:31", "at 12:04:31"),
        ("at 2026-11-28T12:04:31.5+00:00", "at 2026-11-28T12:04:31.5+00:00"),
        ("std::vector, a:b and :::", "std::vector, a:b and :::"),
        ("session 0123456789abcdef0123456789abcdef", "session 0123456789abcdef0123456789abcdef"),
        ("count 123456789012", "count 123456789012"),
    ],
)
def test_text_is_redacted(text: str, left: str) -> None:
    assert redactor().text(text) == left


UUID = "7c0f6a2e-52a1-4b1d-9d0f-3c1f5b8e2a10"
LONGER = f"{UUID}-two"
ODD = "@@@GID test@@@24_6f"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"by {UUID}: refused", "by (secret): refused"),
        (f"{UUID}/{LONGER},{UUID}", "(secret)/(secret),(secret)"),
        (f"mimi_{UUID}_x", "mimi_(secret)_x"),
        (f"of {LONGER}", "of (secret)"),
        (f"of {ODD}.", "of (secret)."),
        (f"id%3D{UUID}", "id%3D(secret)"),
        (rf"Client-Id\n{UUID}", r"Client-Id\n(secret)"),
        (f"x{UUID}{UUID}9", "x(secret)(secret)9"),
        (UUID[:-1], UUID[:-1]),
        (UUID.replace("7c0f", "7c0e"), UUID.replace("7c0f", "7c0e")),
        ("GID test@@@24_6f", "GID test@@@24_6f"),
    ],
)
def test_ids_are_found_in_texts(text: str, left: str) -> None:
    made = Redactor(secrets=(), ids=[UUID, LONGER, ODD, "-" * 16], names=(), salt=b"salt")
    assert made.text(text) == left


class Searched(str):
    """A text that counts how often it is searched."""

    __slots__ = ("times",)

    def __contains__(self, part: object) -> bool:
        self.times = getattr(self, "times", 0) + 1
        return isinstance(part, str) and super().__contains__(part)


def test_a_text_is_not_searched_for_each_of_many_ids() -> None:
    """An archive of 4,000 lines and 20,000 devices took minutes of the processor."""
    made = Redactor(secrets=["hunter2"], ids=[f"{n:08d}{UUID[8:]}" for n in range(2_000)], names=(), salt=b"")
    text = Searched(f"from 00001999{UUID[8:]}")
    assert made.text(text) == "from (secret)"
    assert text.times == 1


def test_a_key_of_many_lines_is_redacted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = redactor()
    asked: list[str] = []
    whole = made.text

    def noted(text: str) -> str:
        asked.append(text)
        return whole(text)

    monkeypatch.setattr(made, "text", noted)
    assert made.value([{"ada": 1}, {"ada": 2}]) == [{"(name)": 1}, {"(name)": 2}]
    assert asked == ["ada"]


@pytest.mark.parametrize("spelling", [MAC, "24-6f-28-5a-10-01", "24:6F:28:5A:10:01", "246f285a1001"])
def test_device_has_one_number_in_every_spelling(spelling: str) -> None:
    found = redactor().text(f"device {spelling} left")
    assert found == f"device {redactor().device(MAC)} left"
    assert found.startswith("device 24-6f-28-x")
    assert "5a" not in found.removeprefix("device 24-6f-28-x")[6:]


def test_device_has_another_number_in_another_archive() -> None:
    assert redactor(b"one").device(MAC) != redactor(b"two").device(MAC)


def test_values_of_json_are_redacted_to_the_bottom() -> None:
    value = {"ada": [{"by": "Bob", "n": 3, "ok": True, "none": None}]}
    assert redactor().value(value) == {"(name)": [{"by": "(name)", "n": 3, "ok": True, "none": None}]}
