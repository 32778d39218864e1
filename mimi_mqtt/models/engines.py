"""The packages that run models, which are extras of this one."""

from importlib.util import find_spec
from typing import Final

from mimi_mqtt.models.catalog import Model

_PACKAGES: Final = {
    "faster-whisper": ("faster_whisper",),
    "sherpa-onnx": ("sherpa_onnx",),
    "piper": ("piper",),
    "hibari": ("hibari",),
    "offline": ("onnxruntime", "sudachipy"),
}
"""The import names that an extra installs, of which a model's engine is made."""


def engine_installed(model: Model) -> bool:
    """True when the packages that run `model` can be found; nothing is imported."""
    packages = _PACKAGES.get(model.needs, (model.needs.replace("-", "_"),)) if model.needs else ()
    return all(map(_can_be_found, packages))


def _can_be_found(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # its import was forbidden or is under way
        return False
