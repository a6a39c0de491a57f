"""`python -m shared.database SERVICE`: brings the service's database to the newest schema, as the owner role."""

import asyncio
import sys

from pydantic import Field

from shared.database.migrate import migrate
from shared.settings import DatabaseUrl, EnvironmentSettings


class MigrationSettings(EnvironmentSettings):
    migration_database_url: DatabaseUrl = Field(
        description="postgresql://owner:password@host:port/database", repr=False
    )


if len(sys.argv) != 2:
    raise SystemExit("usage: MIGRATION_DATABASE_URL=postgresql://owner:…@host/db python -m shared.database SERVICE")
settings = MigrationSettings()  # type: ignore[call-arg]  # from the environment
asyncio.run(migrate(sys.argv[1], settings.migration_database_url))
