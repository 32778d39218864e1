"""Tools that the server itself brings along: timers.

Imports `tools.registry`; the session manager offers them.
"""
