"""HTTP endpoints of devices: OTA, activation and what they download and upload.

Plain Starlette routes, as devices ask often and are answered in microseconds. Imports `fleet`, `commands` and
the rest of `http`; `http.app` joins the routes.
"""
