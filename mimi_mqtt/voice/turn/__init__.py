"""One turn: its state, its output to the device, its tools, its interruption and its record.

Imports `answer` and below; `conversation` imports it.
"""
