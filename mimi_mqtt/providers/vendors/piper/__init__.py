"""Piper voices, in this process."""
