"""Settings of stored files: where they are, how much they may take, and how long they are kept."""

import re
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from mimi_mqtt.config.section import Section

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class FilesSettings(Section):
    """Files: firmware, screenshots, photos and recordings."""

    url: str = ""
    """A folder, or the bucket of an S3 such as s3://bucket/prefix. It is this server's alone. Empty: the
    folder files in server.data_dir."""

    quota_mb: int = Field(10_000, ge=0)
    """Room of all files together, in MB (1,000,000 bytes); what comes beyond is refused. 0: no bound."""

    keep_uploads_days: int = Field(30, ge=1)
    """Screenshots and photos older than this are deleted, in days."""

    keep_recordings_days: int = Field(30, ge=1)
    """Recordings of turns older than this are deleted, in days. They also end with their conversation."""

    max_upload_mb: float = Field(8, gt=0, le=64)
    """Largest screenshot or photo, in MB."""

    s3_endpoint: str = ""
    """Address of an S3 that is not Amazon's, such as http://minio.lan:9000. Empty: Amazon's."""

    s3_region: str = ""
    """Region of the bucket. Empty: AWS_REGION, else us-east-1."""

    s3_access_key: str = ""
    """Access key. Empty: AWS_ACCESS_KEY_ID, else the role of this machine at Amazon's."""

    s3_secret_key: SecretStr | None = None
    """Secret of s3_access_key. Prefer the variable MIMI_FILES__S3_SECRET_KEY. Empty:
    AWS_SECRET_ACCESS_KEY."""

    @field_validator("url")
    @classmethod
    def _is_a_folder_or_a_bucket(cls, url: str) -> str:
        if "://" not in url:
            return url
        parts = urlsplit(url)
        if parts.scheme != "s3":
            raise ValueError("must be a folder, or a bucket such as s3://bucket/prefix")
        if not _BUCKET.fullmatch(parts.netloc):
            raise ValueError("must name a bucket of 3 to 63 small letters, digits, dots and hyphens")
        if parts.query or parts.fragment or ".." in parts.path:
            raise ValueError("must be s3://bucket or s3://bucket/prefix, and nothing more")
        return url

    @field_validator("s3_endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str) -> str:
        if endpoint and not re.fullmatch(r"https?://[^/?#@\s]+/?", endpoint):
            raise ValueError("must be an address such as http://minio.lan:9000, without a path")
        return endpoint

    @model_validator(mode="after")
    def _key_has_its_secret(self) -> "FilesSettings":
        if bool(self.s3_access_key) != (self.s3_secret_key is not None):
            raise ValueError("s3_access_key and s3_secret_key belong together: set both, or neither")
        return self
