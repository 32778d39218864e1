"""Parts shared by vendors over HTTP and WebSocket: clients, error kinds, audio formats, requests.

Imports the contract, `catalog.requirements` and `runtime`; imported by vendors alone.
"""
