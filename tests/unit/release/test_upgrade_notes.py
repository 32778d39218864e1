"""What an update asks of whoever runs a server: docs/upgrading.md names changed settings and tables."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from alembic.config import Config
from alembic.script import ScriptDirectory

from mimi_mqtt.config import load_settings, render_default_yaml
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.store import migrations
from tests.releases import LAST, RELEASES, Release

ROOT = Path(__file__).parents[3]


def defaults(text: str) -> dict[str, object]:
    """Every key of a broker.yaml in which all are commented out, with its default."""
    tree: dict[str, Any] = yaml.safe_load(re.sub(r"(?m)^  #(?! )", "  ", text))
    found: dict[str, object] = {}
    for section, keys in tree.items():
        if not keys:  # a section whose keys are free, such as `agents`
            found[section] = None
        for key, value in (keys or {}).items():
            found[f"{section}.{key}"] = value
    return found


def defaults_of(release: Release) -> dict[str, object]:
    return defaults((release.folder / "default-broker.yaml").read_text(encoding="utf-8"))


def notes() -> str:
    """The part of docs/upgrading.md about what is not released yet."""
    text = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
    return text.partition("\n## Unreleased\n")[2].partition("\n## ")[0]


def changed_settings(before: Mapping[str, object], now: Mapping[str, object]) -> set[str]:
    """The keys that are new, gone, or have another default."""
    nothing = object()
    return {key for key in before.keys() | now.keys() if before.get(key, nothing) != now.get(key, nothing)}


def without_note(keys: set[str], text: str) -> set[str]:
    """The `keys` that `text` names neither as `section.key` nor by `section.*`."""
    named = set(re.findall(r"`([\w.*]+)`", text))
    return {key for key in keys if key not in named and f"{key.partition('.')[0]}.*" not in named}


def newer_migrations(than: str) -> Iterator[str]:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    for script in ScriptDirectory.from_config(config).iterate_revisions("head", than):
        yield script.revision


def test_changed_settings_have_a_note() -> None:
    changed = changed_settings(defaults_of(LAST), defaults(render_default_yaml()))
    assert without_note(changed, notes()) == set(), "name them under Unreleased in docs/upgrading.md"


def test_new_migrations_have_a_note() -> None:
    missing = [revision for revision in newer_migrations(LAST.migration) if f"({revision})" not in notes()]
    assert missing == [], "say what they change under Unreleased in docs/upgrading.md, with (REVISION)"


def test_notes_name_settings_that_exist() -> None:
    known = defaults(render_default_yaml()).keys() | defaults_of(LAST).keys()
    sections = {key.partition(".")[0] for key in known}
    for name in re.findall(r"`([a-z]\w*\.[\w*]+)`", notes()):
        section, _, key = name.partition(".")
        assert section not in sections or key == "*" or name in known, name


@pytest.mark.parametrize(
    ("release", "key"),
    [(release, key) for release in RELEASES for key in defaults_of(release) if "." in key],
    ids=lambda value: getattr(value, "version", value),
)
def test_a_key_of_then_is_accepted_or_refused_with_its_new_name(
    release: Release, key: str, tmp_path: Path
) -> None:
    section, _, name = key.partition(".")
    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump({section: {name: defaults_of(release)[key]}}), encoding="utf-8")
    if refusal := refusal_of(path):
        renamed = re.search(rf"{re.escape(key)} \(.*\): is now (\S+)", refusal)
        assert renamed, refusal
        assert renamed[1] in defaults(render_default_yaml())


def refusal_of(path: Path) -> str:
    """What is wrong with the settings in `path`; empty when nothing is."""
    try:
        load_settings(path, {})
    except ConfigError as error:
        return str(error)
    return ""


def test_the_old_name_of_preemptive_replies_is_told_with_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text("voice:\n  eager_silence_ms: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 2\): is now voice\.preemptive_silence_ms"):
        load_settings(path, {})


def test_a_new_a_lost_and_a_changed_key_are_found() -> None:
    before, now = {"a.kept": 1, "a.lost": 1, "a.other": None}, {"a.kept": 1, "a.new": None, "a.other": 2}
    assert changed_settings(before, now) == {"a.lost", "a.new", "a.other"}


def test_a_note_names_a_key_or_a_section() -> None:
    assert without_note({"a.one", "a.two", "b.three"}, "`a.one` is new, and so is `b.*`") == {"a.two"}
