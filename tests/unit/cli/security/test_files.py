from collections.abc import Sequence
from pathlib import Path

import pytest

from mimi_mqtt.cli.security.files import examine, secrets_in
from mimi_mqtt.cli.security.finding import Finding
from tests.unit.cli.security.installation import HOME, level, machine, one, settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder as the server makes it."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    for name in ("server.secret", "mimi.db"):
        (made / name).write_bytes(b"x")
        (made / name).chmod(0o600)
    return made


def look(folder: Path, uid: int | None = None, file: Path | None = None) -> Sequence[Finding]:
    owner = folder.stat().st_uid if uid is None and folder.exists() else uid or 0
    return examine(settings(server={"data_dir": folder}), machine(HOME, uid=owner), file)


def test_a_folder_as_the_server_makes_it_is_good(folder: Path) -> None:
    assert {finding.level for finding in look(folder)} == {"ok"}
    assert [finding.what for finding in look(folder)] == ["data folder", "database", "server's secret"]


def test_a_folder_that_is_not_there_yet_is_good(tmp_path: Path) -> None:
    assert level(look(tmp_path / "none"), "data folder") == "ok"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_an_open_folder_is_a_warning(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    finding = one(look(folder), "data folder")
    assert finding.level == "warning"
    assert finding.cure == f"chmod 700 {folder}"


def test_a_folder_of_another_user_is_a_warning(folder: Path) -> None:
    assert level(look(folder, uid=folder.stat().st_uid + 1), "data folder") == "warning"


def test_a_secret_that_others_can_read_is_a_warning(folder: Path) -> None:
    (folder / "server.secret").chmod(0o640)
    finding = one(look(folder), "server's secret")
    assert finding.level == "warning"
    assert finding.cure == f"chmod 600 {folder / 'server.secret'}"


def test_a_database_that_others_can_read_is_a_warning_where_they_reach_it(folder: Path) -> None:
    (folder / "mimi.db").chmod(0o644)
    assert level(look(folder), "database") == "advice"
    folder.chmod(0o755)
    assert level(look(folder), "database") == "warning"


SECRET = "accounts:\n  admin_password: correct-horse-battery\n"


def test_settings_with_secrets_are_for_their_owner_alone(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(SECRET)
    file.chmod(0o600)
    assert level(look(folder, file=file), "settings' file") == "ok"
    file.chmod(0o644)
    finding = one(look(folder, file=file), "settings' file")
    assert finding.level == "warning"
    assert "accounts.admin_password" in finding.seen
    assert "correct-horse" not in finding.seen


def test_the_server_can_still_read_its_settings_after_the_cure(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(SECRET)
    file.chmod(0o644)
    servers = machine(HOME, pid=812, uid=54_321)
    found = examine(settings(server={"data_dir": folder}), servers, file)
    assert one(found, "settings' file").cure.startswith(f"chown 54321 {file}")


def test_settings_without_secrets_may_be_read(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("mqtt:\n  tls_key: certs/server.key\n")
    file.chmod(0o644)
    assert level(look(folder, file=file), "settings' file") == "ok"


def test_settings_that_others_can_change_are_a_warning(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("")
    file.chmod(0o666)
    assert "chmod go-w" in one(look(folder, file=file), "settings' file").cure


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (SECRET, ("accounts.admin_password",)),
        ("providers:\n  options:\n    openai: {api_key: sk-1}\n", ("providers.options.openai.api_key",)),
        ("store:\n  url: postgresql://u:p@host/db\n", ("store.url",)),
        ("store:\n  url: postgresql://host/db\n", ()),
        ("accounts:\n  admin_password:\n", ()),
        ("mqtt: [\n", ()),
        ("- a\n", ()),
    ],
)
def test_secrets_are_found_by_their_keys(tmp_path: Path, text: str, keys: tuple[str, ...]) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(text)
    assert tuple(secrets_in(file)) == keys
