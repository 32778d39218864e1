"""What would make a server hear, speak or answer better, and the commands for it."""

from collections.abc import Mapping, Sequence
from typing import Final

from mimi_mqtt.config import Settings
from mimi_mqtt.models.catalog import small_set
from mimi_mqtt.models.progress import megabytes
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.providers.catalog.selection import Selection
from mimi_mqtt.providers.languages import primary

MODEL_COMMANDS: Final = ("curl -fsSL https://ollama.com/install.sh | sh", "ollama pull qwen3:4b-instruct")
"""The two commands that give this machine a language model that can call tools: 2.5 GB, which answer at
once. The model of the name qwen3:4b thinks first, which can't be turned off."""

_OFFLINE: Final = "offline"


def better_speech(settings: Settings, asked: Mapping[str, Selection]) -> str:
    """What to install when nobody but the simplest recogniser hears; empty when there is nothing better."""
    default = next(iter(asked.values()))
    language = primary(settings.server.language)
    folder = models_folder(settings.providers)
    lacking = [model for model in small_set(language) if not folder.has(model) and model.role == "stt"]
    if default["stt"] != (_OFFLINE,) or not lacking:
        return ""
    size = sum(model.download_bytes for model in lacking)
    return (
        f"mimi-mqtt models install --language {language}  ({megabytes(size)}: ordinary sentences are heard)"
    )


def better_model(answering: str) -> Sequence[str]:
    """The commands that give a language model, where `answering` is the name of what answers now."""
    return MODEL_COMMANDS if answering in ("", _OFFLINE) else ()
