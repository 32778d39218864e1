"""The HTTP face: OTA and activation, health, metrics, a page for people; later the REST API and web app.

Imports `fleet`, `wire` and below; only the composition root imports it.
"""
