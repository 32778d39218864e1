"""Transports: MQTT, UDP and WebSocket. They move bytes and decide nothing; each implements `session.link`.

Imports `session.link`, `fleet.identity`, `wire` and below; only the composition root imports it.
"""
