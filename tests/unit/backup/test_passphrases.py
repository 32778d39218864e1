"""Passphrases come from a file, a variable or a person."""

from pathlib import Path

import pytest

from mimi_mqtt.backup.passphrases import VARIABLE, asked, in_file
from mimi_mqtt.errors import BackupError


def test_the_first_line_of_a_file_is_the_passphrase(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("correct horse ü\nanother line\n", encoding="utf-8")
    assert in_file(tmp_path / "words") == "correct horse ü"
    assert asked(tmp_path / "words", {VARIABLE: "another"}, twice=True) == "correct horse ü"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no passphrase"),
        (b"\nword", "no passphrase"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * 5_000, "longer than"),
    ],
)
def test_a_file_without_a_passphrase_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "words").write_bytes(content)
    with pytest.raises(BackupError, match=told):
        in_file(tmp_path / "words")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="No such file"):
        in_file(tmp_path / "nowhere")


def test_a_variable_is_the_passphrase() -> None:
    assert asked(None, {VARIABLE: "correct horse"}, twice=True) == "correct horse"


class Terminal:
    """Standard input with a person, or without."""

    def __init__(self, person: bool) -> None:
        self._person = person

    def isatty(self) -> bool:
        return self._person


def test_nobody_to_ask_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(False))
    with pytest.raises(BackupError, match=f"--passphrase-file, or set {VARIABLE}"):
        asked(None, {}, twice=False)


def test_a_new_passphrase_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(True))
    typed = iter(["one thing", "another", "the same", "the same", "once"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    with pytest.raises(BackupError, match="two different passphrases"):
        asked(None, {}, twice=True)
    assert asked(None, {}, twice=True) == "the same"
    assert asked(None, {}, twice=False) == "once"
