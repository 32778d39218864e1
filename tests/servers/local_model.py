"""A model in a folder, in place of a vendor's server: its `url` is the folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.servers.vendor import FakeVendor

_made: dict[Callable[[Path], Path], "tempfile.TemporaryDirectory[str]"] = {}


class LocalModel(FakeVendor):
    """`make` puts the model into a folder, once for all tests; nothing can be asked of it over a wire."""

    def __init__(self, make: Callable[[Path], Path]) -> None:
        super().__init__()
        if make not in _made:
            _made[make] = tempfile.TemporaryDirectory()
            make(Path(_made[make].name))
        self._folder = _made[make].name

    @property
    def url(self) -> str:
        return self._folder

    async def start(self) -> None:
        """Nothing runs."""

    async def aclose(self) -> None:
        """Nothing runs."""
