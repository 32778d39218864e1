"""The built files of the web app, as the package holds them."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "built"
"""The folder that `scripts/web` fills."""
START_PAGE: Final = "index.html"

_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
}
_ENCODINGS: Final = {"br": ".br", "gzip": ".gz"}
"""Content encodings, the best first, and the suffix of the file that is encoded so."""


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file of the app. `encoded` has the encodings that it is there in, the best first."""

    path: Path
    media_type: str
    etag: str
    encoded: dict[str, Path] = field(default_factory=dict)

    def accepted(self, header: str) -> tuple[Path, str]:
        """The file to send to a client with this Accept-Encoding, and its encoding, empty for none."""
        offered = {part.split(";")[0].strip().lower() for part in header.split(",") if not _refused(part)}
        for encoding, path in self.encoded.items():
            if encoding in offered:
                return path, encoding
        return self.path, ""


def _refused(part: str) -> bool:
    _, _, weight = part.partition(";")
    return weight.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000")


def built_files(folder: Path = FOLDER) -> dict[str, BuiltFile]:
    """The files by their path below `folder`, with `/`; none when the app was not built."""
    if not (folder / START_PAGE).is_file():
        return {}
    found = {}
    for path in sorted(folder.rglob("*")):
        media_type = _TYPES.get(path.suffix)
        if media_type is None or not path.is_file():
            continue
        encoded = {
            encoding: other
            for encoding, suffix in _ENCODINGS.items()
            if (other := path.with_name(path.name + suffix)).is_file()
        }
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
        found[path.relative_to(folder).as_posix()] = BuiltFile(path, media_type, f'"{digest}"', encoded)
    return found
