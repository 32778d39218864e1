"""Deepgram, streaming speech to text."""
