"""The settings in force as a person may see them."""

from pathlib import Path

from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import compare
from mimi_mqtt.config.effective import HIDDEN, effective
from mimi_mqtt.config.loading import load_settings, settings_sources

SECRETS = {
    "MIMI_ACCOUNTS__ADMIN_PASSWORD": "hunter2hunter2",
    "MIMI_STORE__URL": "postgresql://mimi:hunter3@db/mimi",
    "MIMI_HTTP__METRICS_TOKEN": "hunter4hunter4hunter4",
    "MIMI_PROVIDERS__OPTIONS": "{openai: {api_key: hunter5, model: gpt, odd: hunter6, more: [{x: hunter7}]}}",
}


def test_no_secret_is_told() -> None:
    found = {each.key: each for each in effective(load_settings(None, SECRETS), {})}
    told = repr(found)
    assert "hunter" not in told
    assert found["accounts.admin_password"].value == found["store.url"].value == HIDDEN
    assert found["providers.options"].value == {
        "openai": {"api_key": HIDDEN, "model": "gpt", "odd": HIDDEN, "more": [{"x": HIDDEN}]}
    }


def test_every_setting_is_told_with_its_meaning() -> None:
    found = {each.key: each for each in effective(Settings(), {})}
    keys = {
        f"{name}.{key}" for name in Settings.model_fields if name != "agents"
        for key in type(getattr(Settings(), name)).model_fields
    }  # fmt: skip
    assert found.keys() == keys | {"agents"}
    assert all(each.doc for each in found.values())
    assert all(each.value == each.default for each in found.values())


def test_the_source_is_the_file_and_line_or_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("log:\n  level: debug\nagents:\n  chef:\n    name: Anna\n")
    environ = {"MIMI_LOG__FORMAT": "json"}
    sources = settings_sources(file, environ)
    found = {each.key: each.source for each in effective(load_settings(file, environ), sources)}
    assert found["log.level"] == f"{file}, line 2"
    assert found["log.format"] == "variable MIMI_LOG__FORMAT"
    assert found["agents"] == f"{file}, line 3"
    assert found["http.bind"] == ""


def test_a_key_that_can_change_at_run_time_needs_no_restart() -> None:
    found = {each.key: each.at_run_time for each in effective(Settings(), {})}
    for section, key, value in (
        ("session", "max_sessions", 7),
        ("session", "reattach_s", 7),
        ("udp", "max_sequence_jump", 7),
    ):
        new = Settings.model_validate({section: {key: value}})
        changed = f"{section}.{key}" in compare(Settings(), new).restart
        assert changed != found[f"{section}.{key}"]
