"""Alembic's entry point, for every service: runs on the connection that `shared.database.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
