"""Whisper, in process through faster-whisper, and what all Whisper services share."""
