"""Makes the data folder of a release, by its command line: `python tests/releases/make.py VERSION`.

It runs `mimi-mqtt serve` of the mimi_mqtt that Python finds first (for another one than this tree's, set
PYTHONPATH), lets three devices register and two of them talk, gives them settings, revokes the third, and
writes `tests/releases/VERSION/`: the database as SQL, the secret, the broker.yaml in use, the one with all
defaults, the credentials that the devices were given, and the list of devices.
"""

import argparse
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

_CLIENT_IDS = {
    "02:00:00:00:00:01": "8e068b0f-b429-510a-a89b-6d7fa90dd7c0",
    "02:00:00:00:00:02": "9626dfa9-d450-5f2d-b7e1-58575e960128",
    "02:00:00:00:00:03": "b955b44a-1f3b-5e01-b12d-9bdc399f409d",
}
"""Those of `mimi-mqtt device --mac MAC`."""

_BROKER_YAML = """\
# The settings of this installation.
server:
  language: en
session:
  max_sessions: 50
voice:
  end_silence_ms: 600
agents:
  teacher: {name: Linh, language: vi, greeting: "Xin chào!", tools: [set_timer]}
"""

_ENVIRON = {
    **{name: value for name, value in os.environ.items() if not re.search(r"^MIMI_|_API_KEY$", name)},
    "MIMI_MQTT__BIND": "127.0.0.1:0",
    "MIMI_UDP__BIND": "127.0.0.1:0",
    "MIMI_HTTP__BIND": "127.0.0.1:0",
}


def _mimi(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mimi_mqtt", *arguments]
    done = subprocess.run(command, cwd=folder, env=_ENVIRON, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def _register(ota: str, mac: str) -> dict[str, Any]:
    """Asks OTA as stock firmware does; the answer."""
    board = {"type": "bread-compact-wifi", "name": "bread-compact-wifi", "ssid": "home", "mac": mac}
    application = {"name": "xiaozhi", "version": "2.0.3"}
    report = {
        "version": 2,
        "language": "en-US",
        "mac_address": mac,
        "board": board,
        "application": application,
    }
    headers = {"Device-Id": mac, "Client-Id": _CLIENT_IDS[mac], "Content-Type": "application/json"}
    request = urllib.request.Request(ota, json.dumps(report).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _use(folder: Path, ota: str) -> dict[str, dict[str, str]]:
    """A few days of an installation, in seconds; the credentials of its devices."""
    kitchen, hall, lost = _CLIENT_IDS
    for mac, sentence in (
        (kitchen, "what time is it"),
        (kitchen, "set a timer for five minutes"),
        (hall, "hello"),
    ):
        _mimi(folder, "device", "--ota", ota, "--mac", mac, "--say", sentence, "--json")
    credentials = {}
    for mac in _CLIENT_IDS:
        answer = _register(ota, mac)
        name = answer["mqtt"]["client_id"]
        credentials[name] = {
            "mac": mac,
            "client_id": _CLIENT_IDS[mac],
            "password": answer["mqtt"]["password"],
        }
        credentials[name]["udp_key"] = answer["udp"]["key"]
    _mimi(folder, "devices", "set", kitchen, "--name", "Kitchen", "--agent", "teacher", "--user", "Ann")
    _mimi(folder, "devices", "set", hall, "--name", "Hall")
    _mimi(folder, "devices", "revoke", lost)
    return credentials


def _write(target: Path, folder: Path, credentials: dict[str, dict[str, str]]) -> None:
    target.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "data" / "mimi.db")) as database:
        (target / "mimi.sql").write_text("\n".join(database.iterdump()) + "\n", encoding="utf-8")
    (target / "server.secret").write_bytes((folder / "data" / "server.secret").read_bytes())
    (target / "broker.yaml").write_text(_BROKER_YAML, encoding="utf-8")
    (target / "default-broker.yaml").write_text(_mimi(folder, "config"), encoding="utf-8")
    (target / "credentials.json").write_text(json.dumps(credentials, indent=2) + "\n", encoding="utf-8")
    devices = json.loads(_mimi(folder, "devices", "list", "--json"))["devices"]
    readme = f"# {target.name}\n\nMade by `tests/releases/make.py` with the code of the release.\n"
    (target / "README.md").write_text(readme, encoding="utf-8")
    (target / "devices.json").write_text(json.dumps(devices, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version")
    target = Path(__file__).parent / parser.parse_args().version
    if target.exists():
        raise SystemExit(f"{target} exists")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "broker.yaml").write_text(_BROKER_YAML, encoding="utf-8")
        command = [sys.executable, "-m", "mimi_mqtt", "serve"]
        with subprocess.Popen(command, cwd=folder, env=_ENVIRON, stdout=subprocess.PIPE, text=True) as server:
            try:
                welcome = iter(server.stdout or ())
                ota = next(found[1] for line in welcome if (found := re.search(r"--ota (\S+)", line)))
                credentials = _use(folder, ota)
            finally:
                server.send_signal(signal.SIGTERM)
        _write(target, folder, credentials)
    print(f"made {target}")


if __name__ == "__main__":
    main()
