"""What the server knows of devices: identity, credentials, provisioning and activation.

Imports `store`, `wire`, `config` and below; http, transports and session import it. Later: firmware and
agents.
"""
