"""The database: SQLModel tables, the async engine, Alembic migrations run at start.

`engine` opens the database, `tables` declares it; `devices`, `activations` and `conversations` hold its
queries, `write_behind` writes when the database has time. Imports `config`, `errors`, `supervision`;
fleet, voice, session and the composition root import it.
"""
