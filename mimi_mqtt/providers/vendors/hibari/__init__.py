"""Hibari: a small neural English voice in this process."""
