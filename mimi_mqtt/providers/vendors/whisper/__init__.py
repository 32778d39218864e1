"""Whisper, in process through faster-whisper, and the filter that all Whisper services share."""
