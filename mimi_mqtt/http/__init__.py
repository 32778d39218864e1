"""The HTTP face: OTA and activation, health, metrics, the REST API, the web app and the sign-in of people.

Imports `fleet`, `wire` and below; only the composition root imports it.
"""
