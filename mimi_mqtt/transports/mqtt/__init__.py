"""The embedded broker: one gate for everyone, devices served natively, sessions of MQTT 3.1.1 and 5 for all
other clients.

Read `server.py` for its parts, then `gate.py`, `device.py`, `general.py`, `connection.py`, `protocol.py` and
`broker.py`. Imports `session.link`, `fleet.identity`, `wire` and below; `app` imports `server`.
"""
