"""Alembic's entry: migrates on the connection that `store.engine` hands over, inside its transaction."""

from alembic import context
from sqlmodel import SQLModel

from mimi_mqtt.store import tables  # noqa: F401  (declares the tables)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
context.run_migrations()
