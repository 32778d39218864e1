"""Move bytes, decide nothing: MQTT, UDP and (later) WebSocket. A transport implements `session.link`.

Imports `session.link`, `fleet.identity`, `wire` and below; only the composition root imports it.
"""
