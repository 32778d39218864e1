"""broker.yaml and MIMI_ variables: what is read, what wins, and what a mistake is told."""

from itertools import pairwise
from pathlib import Path

import pytest

from mimi_mqtt.config import BindAddress, load_settings
from mimi_mqtt.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "broker.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path | None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ or {})
    return str(caught.value)


@pytest.mark.parametrize(
    "password",
    ['"hunter22: unclosed', "*hunter22", "!hunter22 x", "@hunter22", "{hunter22: [", "a: hunter22"],
)
def test_a_mistake_next_to_a_password_is_told_without_the_password(tmp_path: Path, password: str) -> None:
    told = complaint(write(tmp_path, f"accounts:\n  admin_password: {password}\n"))
    assert "line " in told
    assert "hunter22" not in told
    told = complaint(None, {"MIMI_PROVIDERS__OPTIONS": f"openai: {{api_key: {password}"})
    assert "MIMI_PROVIDERS__OPTIONS" in told
    assert "hunter22" not in told


@pytest.mark.parametrize("name", ["", "$command-line"])
def test_the_administrators_name_is_none_of_the_servers_own(tmp_path: Path, name: str) -> None:
    told = complaint(write(tmp_path, f'accounts:\n  admin_username: "{name}"\n'))
    assert "accounts.admin_username" in told


def test_a_date_that_is_none_is_told(tmp_path: Path) -> None:
    assert "a date in it is none" in complaint(write(tmp_path, "server:\n  language: 2026-99-99\n"))


def test_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    assert settings.mqtt.bind == BindAddress("0.0.0.0", 1883)
    assert settings.udp.bind.port == 8884
    assert settings.http.bind.port == 8003
    assert settings.mqtt.tls_bind.port == 8883
    assert settings.server.data_dir == Path("data")


def test_file_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "http:\n  bind: 127.0.0.1:9000\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).http.bind == BindAddress("127.0.0.1", 9000)


def test_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "http:\n  bind: 127.0.0.1:9000\nvoice:\n  audio_threads: 3\n")
    settings = load_settings(path, {"MIMI_HTTP__BIND": "0.0.0.0:80", "MIMI_ACCOUNTS__ANONYMOUS": "true"})
    assert settings.http.bind == BindAddress("0.0.0.0", 80)
    assert settings.accounts.anonymous
    assert settings.voice.audio_threads == 3


def test_file_named_by_variable(tmp_path: Path) -> None:
    path = write(tmp_path, "server:\n  language: vi\n")
    assert load_settings(None, {"MIMI_CONFIG": str(path)}).server.language == "vi"


def test_password_of_digits_stays_text(tmp_path: Path) -> None:
    settings = load_settings(None, {"MIMI_ACCOUNTS__ADMIN_PASSWORD": "01234567"})
    assert settings.accounts.admin_password is not None
    assert settings.accounts.admin_password.get_secret_value() == "01234567"


def test_chain_of_providers(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "providers:\n  stt: openai\n  llm: [openai, offline]\n"), {})
    assert settings.providers.stt == ("openai",)
    assert settings.providers.llm == ("openai", "offline")


def test_section_with_nothing_but_comments_is_empty(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "mqtt:\n  #bind: x\nhttp:\n"), {}).mqtt.bind.port == 1883


@pytest.mark.parametrize("text", ["providers:\n  options:\n  prices:\n", "agents:\n  teacher:\n"])
def test_inner_section_with_nothing_but_comments_is_empty(tmp_path: Path, text: str) -> None:
    settings = load_settings(write(tmp_path, text), {})
    assert settings.providers.options == {}
    assert list(settings.agents) == (["teacher"] if "teacher" in text else [])


def test_ipv6_bind_address(tmp_path: Path) -> None:
    bind = load_settings(write(tmp_path, "http:\n  bind: '[::1]:8003'\n"), {}).http.bind
    assert bind == BindAddress("::1", 8003)
    assert str(bind) == "[::1]:8003"


def test_unknown_key_names_its_line_and_the_likely_one(tmp_path: Path) -> None:
    path = write(tmp_path, "# mine\nmqtt:\n  bindd: 0.0.0.0:1\n")
    message = complaint(path)
    assert f"mqtt.bindd ({path}, line 3)" in message
    assert "did you mean bind?" in message


def test_unknown_section_lists_the_known_ones(tmp_path: Path) -> None:
    message = complaint(write(tmp_path, "zzz:\n  a: 1\n"))
    assert "zzz" in message
    assert "mqtt" in message
    assert "line 1" in message


def test_unknown_variable_is_named() -> None:
    assert "variable MIMI_MQTT__BINDD" in complaint(None, {"MIMI_MQTT__BINDD": "x"})


@pytest.mark.parametrize("value", ["1883", "host:", ":1", "a:70000", "a:-1", "[]"])
def test_wrong_bind_says_what_is_allowed(tmp_path: Path, value: str) -> None:
    message = complaint(write(tmp_path, f"mqtt:\n  bind: {value!r}\n"))
    assert "mqtt.bind" in message
    assert "HOST:PORT" in message
    assert "line 2" in message


def test_value_out_of_range_says_the_range(tmp_path: Path) -> None:
    message = complaint(write(tmp_path, "voice:\n  opus_complexity: 11\n"))
    assert "voice.opus_complexity" in message
    assert "less than or equal to 10, not 11" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mqtt: 5", "mqtt ({path}, line 1): must be a section: keys with their values, not 5"),
        ("agents: [a]", "agents ({path}, line 1): must be a section: keys with their values"),
        ("agents: {1: {name: x}}", "agents.1 ({path}, line 1): must be text, not 1"),
        ("server: {data_dir: }", "must not be empty: leave the key out for its default"),
        ("server: {data_dir: 5}", "must be the path of a file or folder, not 5"),
        ("voice: {audio_threads: lots}", "must be a whole number, not 'lots'"),
        ("voice: {filler_s: fast}", "must be a number, not 'fast'"),
        ("accounts: {anonymous: perhaps}", "must be true or false, not 'perhaps'"),
        ("providers: {llm: []}", "must have at least 1 item, not 0"),
        ("assistant: {name: ''}", "must have at least 1 character, not ''"),
        ("assistant: {prompt: '{{ agent'}", "expected 'end of print statement', not '{{ agent'"),
    ],
)
def test_value_of_the_wrong_kind_is_told_in_plain_words(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    assert complaint(path).endswith(told.replace("{path}", str(path)))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    message = complaint(write(tmp_path, "voice:\n  opus_complexity: 11\nlog:\n  level: loud\n"))
    assert "voice.opus_complexity" in message
    assert "log.level" in message
    assert "'debug', 'info', 'warning' or 'error'" in message


def test_secret_is_never_repeated_in_a_complaint(tmp_path: Path) -> None:
    assert "hunter2" not in complaint(write(tmp_path, "accounts:\n  admin_password: [hunter2]\n"))


def test_certificate_without_key_is_refused(tmp_path: Path) -> None:
    assert "tls_certificate and tls_key" in complaint(write(tmp_path, "mqtt:\n  tls_certificate: a.pem\n"))


@pytest.mark.parametrize(
    ("http", "told"),
    [
        ("tls_key: a.pem", "tls_certificate and tls_key must be set together"),
        ("plain: false", "plain is false: tls_certificate and tls_key must be set"),
    ],
)
def test_tls_of_http_needs_certificate_and_key(tmp_path: Path, http: str, told: str) -> None:
    assert told in complaint(write(tmp_path, f"http:\n  {http}\n"))


def test_unknown_time_zone_is_refused(tmp_path: Path) -> None:
    assert "Europe/Berlin" in complaint(write(tmp_path, "server:\n  timezone: Mars/Base\n"))


@pytest.mark.parametrize("host", ["http://a", "::1", "a:1", "''"])
def test_public_host_must_be_what_a_device_can_use(tmp_path: Path, host: str) -> None:
    assert "server.public_host" in complaint(
        write(tmp_path, f"server:\n  public_host: {host!r}\n".replace('"', ""))
    )


def test_key_set_twice_is_refused(tmp_path: Path) -> None:
    assert "line 3: http.bind is set twice" in complaint(write(tmp_path, "http:\n  bind: a:1\n  bind: a:2\n"))


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "a: [\n", "\x00"])
def test_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    assert "broker.yaml" in complaint(write(tmp_path, text))


def test_missing_and_undecodable_files(tmp_path: Path) -> None:
    assert "can't be read" in complaint(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"server:\n  language: \xff\n")
    assert "UTF-8" in complaint(path)


def test_variable_below_a_value_is_refused(tmp_path: Path) -> None:
    assert "not a section" in complaint(write(tmp_path, "log: loud\n"), {"MIMI_LOG__LEVEL": "info"})


def test_variable_that_is_no_yaml() -> None:
    assert "MIMI_VOICE__AUDIO_THREADS" in complaint(None, {"MIMI_VOICE__AUDIO_THREADS": "[1"})


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in pairwise("abcdefg")
)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 2_000,
        "a: " + "[" * 40 + "]" * 40,
        "providers:\n  options: &x\n    openai: *x\n",
        "server: &x [*x]\n",
        BOMB,
    ],
)
def test_yaml_that_is_nested_or_repeated_without_end_is_a_mistake_that_is_told(
    tmp_path: Path, text: str
) -> None:
    assert "nested too deeply" in complaint(write(tmp_path, text))


def test_a_variable_that_holds_itself_is_a_mistake_that_is_told() -> None:
    told = complaint(None, {"MIMI_PROVIDERS__OPTIONS": "&x {openai: *x}"})
    assert told.startswith("variable MIMI_PROVIDERS__OPTIONS: its value is nested too deeply")


def test_a_number_of_thousands_of_digits_is_not_repeated(tmp_path: Path) -> None:
    told = complaint(write(tmp_path, "log:\n  level: 0x" + "f" * 5_000))
    assert "log.level" in told
    assert len(told) < 300
    told = complaint(write(tmp_path, "log:\n  level: " + "f" * 5_000))
    assert len(told) < 300
