"""Answers by a speech-to-speech service."""
