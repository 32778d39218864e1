"""A self-hosted voice server for ESP32 devices: MQTT control, encrypted UDP audio, speech in and out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mimi-mqtt")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
