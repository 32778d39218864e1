"""What must last: SQLModel tables, the async engine, Alembic migrations run at start.

Imports `config`, `errors`; fleet, voice, session and the composition root import it.
"""
