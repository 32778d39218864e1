"""Tools that the server itself brings along: timers, and the end of the conversation.

Imports `tools.registry`; the session manager offers them.
"""
