"""What must last: SQLModel tables, the async engine, Alembic migrations run at start.

`engine` opens the database, `tables` declares it; `devices`, `activations` and `conversations` are the
questions asked of it. Imports `config`, `errors`; fleet, voice, session and the composition root import it.
"""
