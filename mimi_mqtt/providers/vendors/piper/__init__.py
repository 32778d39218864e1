"""Piper, in process."""
