"""Vendors, one package each: a module for each role, `stt`, `llm`, `tts` or `vad`, and parts that they share.

Nothing imports a vendor; `catalog.registry` loads it by name. CONTRIBUTING.md says what a new one needs.
"""
