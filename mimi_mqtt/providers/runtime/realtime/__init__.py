"""Conversations with a speech-to-speech service: provider, session, connection and utterance."""
