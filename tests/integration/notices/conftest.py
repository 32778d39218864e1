"""Sounds to play, and devices that are idle soon."""

import io
import wave

import numpy as np
import pytest

from mimi_mqtt.commands import notices


def wav(seconds: float) -> bytes:
    """A tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        tone = 8_000 * np.sin(np.arange(int(seconds * 16_000)) * 2 * np.pi * 440 / 16_000)
        writer.writeframes(tone.astype(np.int16).tobytes())
    return file.getvalue()


@pytest.fixture(scope="session")
def bell() -> bytes:
    return wav(0.5)


@pytest.fixture(scope="session")
def melody() -> bytes:
    """Longer than what is sent ahead of its time."""
    return wav(20.0)


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are notified at once after they connect."""
    monkeypatch.setattr(notices, "SETTLE_S", 0.05)
