"""The blob store as the settings describe it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mimi_mqtt.config import Settings
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.files.places import Bucket, Folder, Place
from mimi_mqtt.store.engine import Store

FOLDER: Final = "files"
"""The folder of files in the data folder, unless another place is set."""
INCOMING: Final = "incoming"
"""The folder of files that are being received: in that of the files, or in the data folder."""
_MB: Final = 1_000_000


def blob_store(settings: Settings, store: Store, environ: Mapping[str, str]) -> BlobStore:
    """The blob store, to be opened; keys of S3 that are not set come from `environ`."""
    place, staging = _place(settings, environ)
    return BlobStore(store, place, staging, quota=settings.files.quota_mb * _MB)


def _place(settings: Settings, environ: Mapping[str, str]) -> tuple[Place, Path]:
    files, data_dir = settings.files, settings.server.data_dir
    if not files.url.startswith("s3://"):
        folder = Path(files.url) if files.url else data_dir / FOLDER
        return Folder(folder), folder / INCOMING
    parts = urlsplit(files.url)
    bucket = Bucket(
        parts.netloc,
        parts.path,
        endpoint=files.s3_endpoint,
        region=files.s3_region,
        access_key=files.s3_access_key,
        secret_key=files.s3_secret_key.get_secret_value() if files.s3_secret_key is not None else "",
        environ=environ,
    )
    return bucket, data_dir / INCOMING
