"""Fuzz targets of the configuration: broker.yaml and the value of a variable."""

import tempfile
from pathlib import Path

from mimi_mqtt.config import Settings, load_settings, render_default_yaml
from mimi_mqtt.errors import ConfigError, Invalid
from mimi_mqtt.managed.documents import parsed
from mimi_mqtt.managed.kinds import check_key, checked_content
from tests.fuzz.target import Target, told_briefly

_FOLDER = tempfile.TemporaryDirectory(prefix="mimi-fuzz-config-")
_FILE = Path(_FOLDER.name) / "broker.yaml"


def check_file(data: bytes) -> bool:
    """broker.yaml: only ConfigError, whose text has a bounded length."""
    _FILE.write_bytes(data)
    try:
        settings = load_settings(_FILE, {})
    except ConfigError as error:
        told_briefly(error, 400 * (1 + sum(map(data.count, (b"\n", b":", b",")))))
        return False
    assert isinstance(settings, Settings)
    return True


def check_import(data: bytes) -> bool:
    """A file of `mimi-mqtt import`: only ConfigError, and Invalid for what is in it."""
    try:
        changes = parsed(data.decode(errors="replace"), _FILE)
        for change in changes:
            check_key(change.kind, change.key)
            kept = checked_content(change.kind, change.key, change.content, Settings(), {})
            assert checked_content(change.kind, change.key, kept, Settings(), {}) == kept
    except ConfigError as error:
        told_briefly(error, 400 * (1 + sum(map(data.count, (b"\n", b":", b",")))))
        return False
    except Invalid:
        return False
    return True


def check_variable(data: bytes) -> bool:
    """`MIMI_` variables, NAME=VALUE a line each: only ConfigError."""
    _FILE.write_bytes(b"")
    environ: dict[str, str] = {}
    for line in data.decode(errors="surrogateescape").split("\n")[:8]:
        name, _, value = line.partition("=")
        if name and "\0" not in line:
            environ[f"MIMI_{name}"] = value
    environ.pop("MIMI_CONFIG", None)
    try:
        load_settings(_FILE, environ)
    except ConfigError:
        return False
    return True


_YAML = (
    b": ",
    b"\n  ",
    b"- ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"0x",
    b"2001-01-01",
    b"|\n",
)

TARGETS = (
    Target(
        "config-file",
        check_file,
        (
            b"mqtt:\n  bind: 127.0.0.1:0\nassistant:\n  wake_word: greet\nagents:\n  a: {language: de}\n",
            b"providers:\n  stt: [a, b]\n  options:\n    openai: {base_url: 'http://x/v1'}\n",
            render_default_yaml().encode()[:600].rpartition(b"\n")[0],
        ),
        _YAML,
        1_024,
    ),
    Target(
        "config-import",
        check_import,
        (
            b"mimi_mqtt: {export: 1}\nagents:\n  chef: {name: Chef, voice: {vi: female}, speed: 1.5}\n",
            b"mimi_mqtt: {export: 1}\nproviders:\n  options:\n    openai:b: {base_url: 'http://x/v1'}\n"
            b"  prices:\n    openai: {per_minute: 0.1}\n",
        ),
        _YAML,
        1_024,
    ),
    Target(
        "config-variable",
        check_variable,
        (b"HTTP__BIND=0.0.0.0:80\nACCOUNTS__ANONYMOUS=true", b"PROVIDERS__STT=[a, b]"),
        (b"__", b"HTTP__", b"AGENTS__", b"=", *_YAML),
        512,
    ),
)
