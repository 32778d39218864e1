"""Installing models from the vendors' own addresses: archives, single files, and one source after another."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.catalog import ArchiveSource, FileSource, Model, ModelFile
from mimi_mqtt.models.fetching import Fetcher
from mimi_mqtt.models.folder import MANIFEST, ModelsFolder
from mimi_mqtt.models.installing import PARTIAL, Installer, read_manifest
from mimi_mqtt.models.progress import Silence
from tests.integration.models.evil_server import EvilServer, Request, corrupt, cut_after, says, whole
from tests.integration.models.package_index import PackageIndex

ENCODER, TOKENS = os.urandom(200_000), b"a 1\nb 2\n"


def archive(entries: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:bz2") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


ARCHIVE = archive(
    {
        "made-1/test.wav": b"x" * 1_000,
        "made-1/encoder.onnx": ENCODER,
        "made-1/data/lang/en": b"english",
        "made-1/tokens.txt": TOKENS,
    }
)


@pytest.fixture
def index() -> PackageIndex:
    return PackageIndex({"made-1.tar.bz2": ARCHIVE, "encoder.onnx": ENCODER, "tokens.txt": TOKENS})


@pytest.fixture
def server(index: PackageIndex) -> Iterator[EvilServer]:
    with index.server().serving() as made:
        yield made


def described(content: bytes) -> ModelFile:
    return ModelFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def from_archive(server: EvilServer) -> ArchiveSource:
    return ArchiveSource.model_construct(
        url=f"http://127.0.0.1:{server.port}/made-1.tar.bz2",
        bytes=len(ARCHIVE),
        sha256=hashlib.sha256(ARCHIVE).hexdigest(),
        root="made-1",
    )


def from_files(server: EvilServer) -> FileSource:
    return FileSource.model_construct(
        base=f"http://127.0.0.1:{server.port}/files/", bytes=len(ENCODER) + len(TOKENS)
    )


def model(*sources: ArchiveSource | FileSource, folders: tuple[str, ...] = (), known: bool = True) -> Model:
    """A model; without `known` the catalogue knows nothing of its files."""
    contents = {"encoder.onnx": ENCODER, "tokens.txt": TOKENS}
    return Model.model_construct(
        name="made",
        role="stt",
        engine="sherpa_onnx",
        languages=("en",),
        summary="made",
        licence="MIT",
        files={name: described(content) if known else ModelFile() for name, content in contents.items()},
        folders=folders,
        sources=sources,
    )


@pytest.fixture
def folder(tmp_path: Path) -> ModelsFolder:
    return ModelsFolder(tmp_path / "models")


def installer(folder: ModelsFolder) -> Installer:
    fetcher = Fetcher(Silence(), wait=lambda _: None, timeout_s=5.0, https_only=False)
    return Installer(folder, Silence(), fetcher=fetcher)


def names(folder: ModelsFolder) -> list[str]:
    place = folder.path / "made"
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def test_an_archive_gives_the_files_and_whole_folders_of_a_model(
    server: EvilServer, folder: ModelsFolder
) -> None:
    made = model(from_archive(server), folders=("data",))
    assert installer(folder).install(made)
    assert names(folder) == ["data/lang/en", "encoder.onnx", MANIFEST, "tokens.txt"]
    assert (folder.path / "made" / "data").stat().st_mode & 0o777 == 0o755
    assert installer(folder).check(made) == []
    assert list((folder.path / PARTIAL).iterdir()) == [folder.path / PARTIAL / "made.lock"]


def test_damage_in_a_whole_folder_is_found_by_the_manifest(server: EvilServer, folder: ModelsFolder) -> None:
    made = model(from_archive(server), folders=("data",))
    installer(folder).install(made)
    (folder.path / "made" / "data" / "lang" / "en").write_bytes(b"Xnglish")
    assert [damage.file for damage in installer(folder).check(made)] == ["data/lang/en"]
    assert installer(folder).install(made, again=True)
    assert installer(folder).check(made) == []


def test_a_damaged_manifest_is_damage(server: EvilServer, folder: ModelsFolder) -> None:
    made = model(from_archive(server), folders=("data",))
    installer(folder).install(made)
    (folder.path / "made" / MANIFEST).write_text("{")
    assert [damage.file for damage in installer(folder).check(made)] == [MANIFEST]


def test_single_files_are_fetched_from_their_address(server: EvilServer, folder: ModelsFolder) -> None:
    made = model(from_files(server))
    assert installer(folder).install(made)
    assert names(folder) == ["encoder.onnx", MANIFEST, "tokens.txt"]


def test_a_file_that_was_kept_damaged_is_fetched_again(server: EvilServer, folder: ModelsFolder) -> None:
    made = model(from_files(server))
    kept = folder.path / PARTIAL / "made" / "fetched"
    kept.mkdir(parents=True)
    (kept / "encoder.onnx").touch()  # as a power cut may leave it
    assert installer(folder).install(made)
    assert installer(folder).check(made) == []


def test_a_cut_archive_goes_on_where_it_was(
    server: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    index.deliver = cut_after(0)
    with pytest.raises(ModelError, match="run the same command again"):
        installer(folder).install(model(from_archive(server)))
    server.begins.clear()
    index.deliver = cut_after(50_000)
    installer(folder).install(model(from_archive(server)))
    assert server.begins[:3] == [0, 50_000, 100_000]


def test_an_archive_that_could_not_be_unpacked_is_not_fetched_again(
    server: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    with pytest.raises(ModelError, match="does not hold other"):
        installer(folder).install(model(from_archive(server), folders=("other",)))
    assert installer(folder).install(model(from_archive(server)))
    assert index.fetched == ["made-1.tar.bz2"]


def test_a_corrupted_archive_is_deleted_and_fetched_again(
    server: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    index.deliver = corrupt
    with pytest.raises(ModelError, match="is not the file of the catalogue"):
        installer(folder).install(model(from_archive(server)))
    index.deliver = whole
    assert installer(folder).install(model(from_archive(server)))


def test_the_next_source_is_asked_when_one_fails(
    server: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    def deliver(request: Request) -> None:
        (says("404 Not Found") if request.path.endswith(".bz2") else whole)(request)

    index.deliver = deliver
    made = model(from_archive(server), from_files(server))
    assert installer(folder).install(made)
    manifest = read_manifest(folder.path / "made")
    assert manifest is not None
    assert manifest.source.endswith("/files/")


def test_when_all_sources_fail_each_reason_is_told(
    server: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    index.deliver = says("404 Not Found")
    with pytest.raises(ModelError, match=r"answered 404.*; .*answered 404"):
        installer(folder).install(model(from_archive(server), from_files(server)))
    assert not folder.has(model())


def test_files_known_only_by_their_archive_are_checked_by_the_manifest(
    server: EvilServer, folder: ModelsFolder
) -> None:
    made = model(from_archive(server), known=False)
    installer(folder).install(made)
    assert installer(folder).check(made) == []
    (folder.path / "made" / "tokens.txt").write_bytes(TOKENS[:-1] + b"x")
    assert [damage.what for damage in installer(folder).check(made)] == [
        "has other contents than were installed"
    ]
