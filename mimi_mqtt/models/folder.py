"""The folder of installed models: a sub-folder for each, named as in the catalogue.

Several servers may share it, also read-only. A model is there when its folder has its manifest, which an
installation writes last.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from mimi_mqtt.models.catalog import Model, catalog

MANIFEST: Final = "mimi-model.json"
"""The file in a model's folder that tells what was installed."""


def default_models_dir() -> Path:
    """The folder of models of this user: `$XDG_DATA_HOME/mimi-mqtt/models`."""
    base = os.environ.get("XDG_DATA_HOME", "")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share"
    return root / "mimi-mqtt" / "models"


class ModelsFolder:
    """The models under `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def installed(self) -> tuple[Model, ...]:
        """The models of the catalogue that can be used now; their files are not read."""
        return tuple(model for model in catalog().values() if self.has(model))

    def has(self, model: Model) -> bool:
        """True when `model` is installed here, or its package brings it."""
        if model.package:
            return find_spec(model.package) is not None
        return (self.path / model.name / MANIFEST).is_file()

    def locate(self, name: str) -> Path | None:
        """The path that the engine of the installed model `name` is given: its folder, or its main file.

        None for a model that is not installed, is not in the catalogue, or has no files of its own.
        """
        model = catalog().get(name)
        if model is None or model.package or not self.has(model):
            return None
        folder = self.path / model.name
        return folder if model.file is None else folder / model.file
