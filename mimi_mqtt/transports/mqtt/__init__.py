"""The embedded broker: one gate for everyone, native device connections, amqtt for all other clients.

Read `server.py` for its parts, then `gate.py`, `device.py`, `general.py` and `broker.py`. Imports
`session.link`, `fleet.identity`, `wire` and below; `app` imports `server`.
"""
