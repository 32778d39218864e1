"""Tools that the server itself brings along: timers, the time, and the end of the conversation.

Imports `tools.registry`; the session manager offers them.
"""
