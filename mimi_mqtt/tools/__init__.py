"""What an answer can do: the device's own MCP tools, and built-ins such as timers; one registry a session.

Imports `providers` (the tool types), `wire` and below; voice and session import it. Later: MCP servers and
actions in the house.
"""
