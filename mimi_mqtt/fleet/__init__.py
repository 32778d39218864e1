"""What the server knows of devices: identity, credentials, provisioning, activation and agents.

Imports `store`, `wire`, `config` and below; http, transports and session import it. Later: firmware.
"""
