"""The running server of a data folder: the lock that makes it the only one, its process id, its last reload.

`server.pid` holds the process id, and below it the namespace in which that is one; the running server has
locked the file, so what a dead server left behind is told apart. `reload.json` has the result of the last
time that the server read its configuration again.
"""

import errno
import fcntl
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import TypeAdapter, ValidationError

from mimi_mqtt.errors import MimiError, StartupError

PID_FILE: Final = "server.pid"
RESULT_FILE: Final = "reload.json"

_MAX_FILE_BYTES: Final = 1_000_000
_TAKEN: Final = (errno.EACCES, errno.EAGAIN)
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The result of reading the configuration again. `began` is on the clock `time.monotonic`, which all
    processes of a machine share. `effective` and `restart` are lines for people; `problem` is empty when the
    configuration was taken over."""

    pid: int
    began: float
    effective: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    problem: str = ""


class NoServer(MimiError):
    """No server runs on the data folder."""


class DataFolderLock:
    """This process's hold on a data folder, from `claim` to `release`."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def claim(cls, data_dir: Path) -> Self:
        """Locks `data_dir`, which is made where it is missing, and leaves this process's id there.

        Raises StartupError when another server runs on it, or it can't be written.
        """
        path = data_dir / PID_FILE
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(
                f"{path} can't be written ({error.strerror}): let this user write to the folder, "
                "or set server.data_dir to another folder"
            ) from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                words = os.read(file, 200).decode(errors="replace").split()
                os.close(file)
                owner = f"pid {words[0]}" if words else "another process"
                if words[1:] not in ([], [_namespace()]):
                    owner += " of another container"
                raise StartupError(
                    f"a server runs on the folder {data_dir} already ({owner}): stop it, "
                    "or set server.data_dir to another folder"
                ) from error
            # A network drive without locks: two servers on it go unnoticed, as they would without this file.
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n{_namespace()}\n".encode(), 0)
        return cls(file)

    def release(self) -> None:
        """Gives the folder free; the empty file stays, as deleting it could cost the next server its lock."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def write_result(data_dir: Path, result: ReloadResult) -> None:
    """Leaves `result` in `data_dir`, whole or not at all. Raises OSError."""
    path = data_dir / RESULT_FILE
    draft = path.with_suffix(f".{os.getpid()}.new")
    draft.unlink(missing_ok=True)  # of a process that had this id
    try:
        with open(draft, "x", encoding="utf-8", opener=_private) as file:
            json.dump(asdict(result), file)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def ask_to_reload(data_dir: Path, within_s: float) -> ReloadResult:
    """Has the server of `data_dir` read its configuration again, and waits for the result.

    Raises NoServer when none runs there, and MimiError when it can't be reached from here, or it does not
    answer in time.
    """
    pid = _running(data_dir)
    asked = time.monotonic()
    try:
        os.kill(pid, signal.SIGHUP)
    except PermissionError as error:
        raise MimiError(
            f"the server (pid {pid}) belongs to another user: run this command as that user"
        ) from error
    except ProcessLookupError as error:
        raise MimiError(f"the server (pid {pid}) has just ended") from error
    while time.monotonic() < asked + within_s:
        result = _read_result(data_dir)
        if result is not None and result.pid == pid and result.began >= asked:
            return result
        _running(data_dir)
        time.sleep(_POLL_S)
    raise MimiError(f"the server (pid {pid}) has not answered within {within_s:g} s: its log tells more")


def running_pid(data_dir: Path) -> int | None:
    """The process id of the server of `data_dir`; None when none runs. Raises MimiError when it can't be
    known."""
    try:
        return _running(data_dir)
    except NoServer:
        return None


def _running(data_dir: Path) -> int:
    """The process id of the server of `data_dir`. Raises NoServer and MimiError."""
    no_server = NoServer(
        f"no server runs on the folder {data_dir} (server.data_dir); `mimi-mqtt serve` reads the "
        "configuration when it starts"
    )
    try:
        file = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise no_server from None
    except OSError as error:
        raise MimiError(f"{data_dir / PID_FILE} can't be read: {error.strerror}") from error
    try:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise MimiError(f"{data_dir / PID_FILE} can't be locked: {error.strerror}") from error
        else:
            raise no_server
        pid, _, namespace = os.read(file, 200).decode(errors="replace").partition("\n")
    finally:
        os.close(file)
    if not pid.isdecimal():
        raise MimiError("the server is just starting or stopping: try again")
    if namespace.strip() != _namespace():
        raise MimiError(
            f"the server (pid {pid}) runs in another container: run this command there, such as by "
            "`docker exec CONTAINER mimi-mqtt reload`"
        )
    return int(pid)


def _namespace() -> str:
    """The namespace of this process's id: another container has another. Empty where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _read_result(data_dir: Path) -> ReloadResult | None:
    try:
        with (data_dir / RESULT_FILE).open("rb") as file:
            return TypeAdapter(ReloadResult).validate_json(file.read(_MAX_FILE_BYTES))
    except (OSError, ValidationError):
        return None
