"""Tools for language models: the device's own by MCP, and built-ins such as timers; one box a session.

Imports `providers` (the tool types), `wire` and below; voice and session import it. Later: MCP servers and
actions in the house.
"""
