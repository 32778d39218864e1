"""Build hook of the package: a wheel carries the web app, which `scripts/web` builds."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebAppHook(BuildHookInterface[Any]):
    """Says when the built files are missing; a server without them has a page that tells how to get them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Looks for the files before a wheel is built. An editable install reads them where they are."""
        del build_data
        if version != "editable" and not Path(self.root, "mimi_mqtt/http/web/built/index.html").is_file():
            self.app.display_warning(
                "the web app is not built, so this package is without it: run ./scripts/web first"
            )
