"""Addresses of downloads: signed, for one device, good for hours; pure."""

from typing import Final

from mimi_mqtt.files.links import SignedLinks

LINK_S: Final = 6 * 3600.0
"""Time in which a download, or the rest of one, may begin, in seconds: a slow device needs an hour."""
ASSETS_LINK_S: Final = 7 * 86_400.0
"""The same for assets, which a device fetches at its next start."""
FIRMWARE_PATH: Final = "/xiaozhi/firmware"
"""Path of images: `/<roll-out>/<device>` follows."""
ASSETS_PATH: Final = "/xiaozhi/assets"
"""Path of assets: `/<assets>/<device>` follows."""


def firmware_path(rollout_id: int, device_id: str) -> str:
    """The path at which a device fetches the image of a roll-out."""
    return f"{FIRMWARE_PATH}/{rollout_id}/{device_id}"


def assets_path(assets_id: int, device_id: str) -> str:
    """The path at which a device fetches assets."""
    return f"{ASSETS_PATH}/{assets_id}/{device_id}"


class DownloadLinks:
    """Makes the addresses, which begin with the origin by which a device reaches this server. They have no
    colon but the port's (device contract, section 5)."""

    def __init__(self, links: SignedLinks) -> None:
        self._links = links

    def firmware(self, origin: str, rollout_id: int, device_id: str, now: float) -> str:
        """The address of an image; `now` in seconds since 1970."""
        return self._link(origin, firmware_path(rollout_id, device_id), now + LINK_S)

    def assets(self, origin: str, assets_id: int, device_id: str, now: float) -> str:
        """The address of assets."""
        return self._link(origin, assets_path(assets_id, device_id), now + ASSETS_LINK_S)

    def is_good(self, path: str, until: str, signature: str, now: float) -> bool:
        """True for a path with the query that was made for it, in time."""
        return self._links.is_good(path, until, signature, now)

    def _link(self, origin: str, path: str, until: float) -> str:
        return f"{origin}{path}?{self._links.query(path, until)}"
