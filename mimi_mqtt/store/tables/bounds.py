"""Bounds of texts that several tables have, in characters."""

DEVICE_ID_CHARS = 17
SESSION_ID_CHARS = 64
USER_ID_CHARS = 32
GROUP_ID_CHARS = 32
