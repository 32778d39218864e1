"""The encryption of backups gives away nothing and nothing false."""

import contextlib
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.backup import sealing
from mimi_mqtt.backup.sealing import MAGIC, Sealer, unsealed
from mimi_mqtt.errors import BackupError

PASSPHRASE = "correct horse battery"
CHUNK = 65_536 + 16


@pytest.fixture(autouse=True, scope="module")
def _quick() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "SCRYPT_N", 2**4)
        yield


def sealed(content: bytes) -> bytes:
    file = io.BytesIO()
    with Sealer(file, PASSPHRASE) as sealer:
        sealer.stream.write(content)
    return file.getvalue()


def read(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    with unsealed(io.BytesIO(content), passphrase) as stream:
        return stream.read()


@settings(max_examples=20)
@given(st.integers(0, 3), st.integers(-2, 2))
def test_what_was_sealed_is_read_again(chunks: int, more: int) -> None:
    content = os.urandom(max(0, chunks * 65_536 + more))
    assert read(sealed(content)) == content


CONTENT = os.urandom(4 * 65_536 + 10)


def test_chunks_that_change_places_are_noticed() -> None:
    whole = sealed(CONTENT)
    tail = len(whole) - (4 * CHUNK + 10 + 16)
    chunks = [whole[tail + number * CHUNK :][:CHUNK] for number in range(5)]
    assert whole == whole[:tail] + b"".join(chunks)
    for order in ([1, 0, 2, 3, 4], [0, 1, 2, 4, 3], [0, 2, 3, 4], [0, 1, 2, 3, 3, 4], [4]):
        with pytest.raises(BackupError, match="damaged or cut off"):
            read(whole[:tail] + b"".join(chunks[each] for each in order))


@pytest.mark.parametrize("cut", [1, 10, CHUNK, 2 * CHUNK])
def test_an_end_that_is_missing_is_noticed(cut: int) -> None:
    with pytest.raises(BackupError, match="damaged or cut off"):
        read(sealed(CONTENT)[:-cut])


@pytest.mark.parametrize("more", [b"x", b"x" * 100_000])
def test_what_was_appended_is_noticed(more: bytes) -> None:
    with pytest.raises(BackupError, match="damaged or cut off"):
        read(sealed(CONTENT) + more)


def test_a_changed_bit_is_noticed() -> None:
    whole = sealed(b"x" * 100)
    read_again = 0
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        with contextlib.suppress(BackupError):
            assert read(bytes(changed)) == b"x" * 100
            read_again += 1
    assert read_again <= 4  # white space, and bits of base64 that say nothing


@given(st.binary(max_size=300))
def test_bytes_of_others_are_no_backup(content: bytes) -> None:
    for begin in (b"", MAGIC):
        with pytest.raises(BackupError):
            read(begin + content)


def test_a_wrong_passphrase_is_told() -> None:
    with pytest.raises(BackupError, match="the passphrase is wrong"):
        read(sealed(b"x"), PASSPHRASE + "!")


def test_the_same_content_is_never_sealed_in_the_same_way() -> None:
    assert sealed(b"x")[len(MAGIC) :] != sealed(b"x")[len(MAGIC) :]


def test_a_full_disk_is_told_as_what_it_is() -> None:
    class Full(io.BytesIO):
        def write(self, part: object) -> int:
            if self.tell() > 100_000:
                raise OSError(28, "No space left on device")
            return super().write(part)  # type: ignore[arg-type]

    def write() -> None:
        with Sealer(Full(), PASSPHRASE) as sealer:
            for _ in range(1_000):
                sealer.stream.write(bytes(10_000))

    with pytest.raises(OSError, match="No space left"):
        write()
