"""TLS for every listener of the server: the transport, and certificates that are read again when they change.

Imports `shares`, `background` and below; `http`, `transports`, `app` and `cli` import it.
"""
