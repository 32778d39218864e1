"""Codecs and message bodies of every protocol spoken here. Pure: bytes in, values out, no I/O.

May import `errors` (and `log`-free standard library, cryptography, pydantic). Everything above imports it.
"""
