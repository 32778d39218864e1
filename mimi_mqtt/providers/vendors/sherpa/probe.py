"""`python -m mimi_mqtt.providers.vendors.sherpa.probe ROLE FOLDER KIND LANGUAGE`: loads a model.

The library ends the process when a model lacks what it looks for; better this one than the server.
"""

import sys
from importlib import import_module
from pathlib import Path

from mimi_mqtt.providers.vendors.sherpa.models import find, recognizer
from mimi_mqtt.providers.vendors.sherpa.voices import find_voice, synthesizer


def main(role: str, folder: str, kind: str, language: str) -> None:
    """Ends with the library's own message and code when the model can't be used."""
    package, place = import_module("sherpa_onnx"), Path(folder).expanduser()
    if role == "tts":
        synthesizer(package, find_voice(place, kind), 1)
    else:
        recognizer(package, find(place, kind), 1, language, 0).create_stream()


if __name__ == "__main__":
    main(*sys.argv[1:])
