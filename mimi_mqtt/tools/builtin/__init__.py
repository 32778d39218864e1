"""Tools of the server itself: timers, the time, and the end of the conversation.

Imports `tools.registry`; the session manager offers them.
"""
