"""Tools of the server itself: the time, and the end of the conversation; registration of all tools.

Imports `tools.registry` and `tools.reminders`; the session manager offers them.
"""
