"""The devices: their identity, credentials, provisioning, activation, administration and agents.

Imports `store`, `wire`, `config` and below; http, transports and session import it. Later: firmware.
"""
