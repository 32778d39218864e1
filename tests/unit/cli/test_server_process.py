"""One server a data folder, and how `mimi-mqtt reload` finds and asks it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mimi_mqtt.cli import server_process
from mimi_mqtt.cli.server_process import (
    PID_FILE,
    DataFolderLock,
    ReloadResult,
    ask_to_reload,
    write_result,
)
from mimi_mqtt.errors import MimiError, StartupError

SERVER = """
import os, signal, sys, time
from pathlib import Path
from mimi_mqtt.cli.server_process import DataFolderLock, ReloadResult, write_result

folder, problem = Path(sys.argv[1]), sys.argv[2]
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
with DataFolderLock.claim(folder):
    print("ready", flush=True)
    while True:
        signal.sigwait({signal.SIGHUP})
        if problem == "dies":
            os._exit(0)
        if problem != "silent":
            write_result(folder, ReloadResult(os.getpid(), time.monotonic(), ("a: 1 -> 2",), ("b",), problem))
"""


@contextmanager
def server(folder: Path, problem: str = "") -> Iterator[int]:
    """Another process that holds `folder` and obeys; its id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), problem], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@contextmanager
def signals_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The signals that would have been sent."""
    sent: list[tuple[int, int]] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
        yield sent


def test_a_second_server_on_a_folder_is_told_who_has_it(tmp_path: Path) -> None:
    with server(tmp_path) as pid, pytest.raises(StartupError) as refused:
        DataFolderLock.claim(tmp_path)
    assert f"{tmp_path} already (pid {pid})" in str(refused.value)
    assert "server.data_dir" in str(refused.value)
    with DataFolderLock.claim(tmp_path):
        assert (tmp_path / PID_FILE).read_text().split()[0] == str(os.getpid())


def test_a_second_server_in_another_container_is_refused_too(tmp_path: Path) -> None:
    isolated = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a namespace")
    claim = "import sys; from pathlib import Path\nfrom mimi_mqtt.cli.server_process import DataFolderLock\n"
    claim += "DataFolderLock.claim(Path(sys.argv[1]))"
    with server(tmp_path) as pid:
        other = subprocess.run(
            [*isolated, sys.executable, "-c", claim, str(tmp_path)], capture_output=True, text=True
        )
    assert other.returncode == 1
    assert f"already (pid {pid} of another container)" in other.stderr


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"can't be written .*server\.data_dir"):
        DataFolderLock.claim(tmp_path / "file" / "data")


def test_the_result_of_a_reload_comes_back(tmp_path: Path) -> None:
    with server(tmp_path) as pid:
        write_result(tmp_path, ReloadResult(pid, time.monotonic() - 60, problem="of an earlier one"))
        result = ask_to_reload(tmp_path, 30)
    assert (result.pid, result.effective, result.restart, result.problem) == (pid, ("a: 1 -> 2",), ("b",), "")
    assert (tmp_path / server_process.RESULT_FILE).stat().st_mode & 0o077 == 0


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with server(tmp_path, "silent"), pytest.raises(MimiError, match="has not answered"):
        ask_to_reload(tmp_path, 0.2)


def test_a_server_that_ends_instead_is_told_at_once(tmp_path: Path) -> None:
    with server(tmp_path, "dies"), pytest.raises(MimiError, match="no server runs"):
        ask_to_reload(tmp_path, 30)


@pytest.mark.parametrize("left", ["nothing", "a dead server's", "a stopped server's", "nonsense"])
def test_without_a_server_nobody_is_sent_a_signal(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match left:
        case "a dead server's":
            with server(tmp_path):
                pass
        case "a stopped server's":
            DataFolderLock.claim(tmp_path).release()
        case "nonsense":
            (tmp_path / PID_FILE).write_text("1\n")
    with signals_kept(monkeypatch) as sent, pytest.raises(MimiError, match="no server runs on the folder"):
        ask_to_reload(tmp_path, 0.2)
    assert sent == []


def test_a_server_in_another_container_is_not_mistaken_for_a_process_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path), signals_kept(monkeypatch) as sent:
        monkeypatch.setattr(server_process, "_namespace", lambda: "pid:[1]")
        with pytest.raises(MimiError, match="another container"):
            ask_to_reload(tmp_path, 0.2)
    assert sent == []


def test_a_result_that_is_not_one_is_waited_out(tmp_path: Path) -> None:
    with server(tmp_path, "silent"):
        (tmp_path / server_process.RESULT_FILE).write_text(json.dumps({"pid": "x"}))
        with pytest.raises(MimiError, match="has not answered"):
            ask_to_reload(tmp_path, 0.2)


def test_the_signal_is_the_one_that_the_server_obeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tmp_path, "silent") as pid, signals_kept(monkeypatch) as sent, pytest.raises(MimiError):
        ask_to_reload(tmp_path, 0.1)
    assert sent == [(pid, signal.SIGHUP)]
