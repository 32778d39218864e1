"""A self-hosted voice server for ESP32 devices: MQTT control, encrypted UDP audio, speech in and out."""

__version__ = "0.1.0"
"""The version of this source tree; the packages take theirs from this line, which `scripts/release` sets."""
