"""`python -m mimi_mqtt.providers.vendors.sherpa.probe FOLDER KIND LANGUAGE`: loads a model and uses it once.

The library ends the process when a model lacks what it looks for; better this one than the server.
"""

import sys
from importlib import import_module
from pathlib import Path

from mimi_mqtt.providers.vendors.sherpa.models import find, recognizer


def main(folder: str, kind: str, language: str) -> None:
    """Ends with the library's own message and code when the model can't be used."""
    recognizer(
        import_module("sherpa_onnx"), find(Path(folder).expanduser(), kind), 1, language, 0
    ).create_stream()


if __name__ == "__main__":
    main(*sys.argv[1:])
