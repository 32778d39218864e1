"""Kokoro's provider with made files; the real model is in tests/integration/providers/test_real_voices.py."""

from pathlib import Path

import pytest

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.kokoro.tts import Kokoro, KokoroOptions


def made(folder: Path | None) -> Kokoro:
    return Kokoro("kokoro", KokoroOptions(tts_model=folder), Limits())


async def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotConfigured, match="tts_model"):
        await made(None).start()
    with pytest.raises(ProviderNotConfigured, match="no model file"):
        await made(tmp_path).start()
    (tmp_path / "vocab.json").touch()
    with pytest.raises(ProviderNotConfigured, match=r"no model\.onnx and no voices\.npz"):
        await made(tmp_path).start()


async def test_files_that_are_none_of_its_own_are_told_of(tmp_path: Path) -> None:
    for name in ("model.onnx", "voices.npz", "vocab.json"):
        (tmp_path / name).write_bytes(b"[1, 2]")
    with pytest.raises(ProviderNotConfigured, match="holds no Kokoro"):
        await made(tmp_path).start()
