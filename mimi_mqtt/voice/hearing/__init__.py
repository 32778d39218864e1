"""Hearing: from Opus packets to heard frames; order, decode, conceal, cancel echo, detect voice.

Imports `ports`, `providers` and `audio`; `utterance` and above import it.
"""
