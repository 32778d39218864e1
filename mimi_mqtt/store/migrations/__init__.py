"""Alembic's environment and revisions; run by `store.engine` at start, never by hand.

`HEAD` is the newest revision's id: a database that carries it is opened without importing Alembic.
"""

HEAD = "0026"
