"""The composition root: builds the parts of the server and joins them. Read `app.App._start` first.

Parts that belong together are built by a module of their own, named after them, which `app` starts and stops
in order. Imports everything but `cli`; `cli` imports it.
"""

from mimi_mqtt.app.app import App as App
