"""Settings that every service has; each service adds its own. Read once, frozen, required where no default is safe.

They come from the environment. What must not stand there comes from the file that `SECRETS_FILE` names, in the same form
(`KEY='value'` lines): in a container that is a mounted secret, which neither `docker inspect` nor a child process shows.
"""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class EnvironmentSettings(BaseSettings):
    """From the environment, then from `SECRETS_FILE`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = DotEnvSettingsSource(settings_cls, env_file=os.environ.get("SECRETS_FILE"))
        return init_settings, env_settings, secrets


class ServiceSettings(EnvironmentSettings):
    environment: Literal["dev", "test", "production"]
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    database_url: str = Field(description="postgresql://role:password@host:port/database, the app role", repr=False)
    database_pool_size: int = Field(
        default=6, ge=2, le=50, description="connections for work; the heartbeat has two beside"
    )
    nats_url: str = Field(description="nats://user:password@host:port", repr=False)
    clock_file: Path | None = Field(default=None, description="a simulated clock; never in production")
    token_public_key: str = Field(description="verifies bearer tokens: Ed25519, raw, base64")
    public_url: str = Field(description="how the outside reaches this service, without a trailing slash")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _production_has_real_time(self) -> Self:
        if self.environment == "production" and self.clock_file is not None:
            raise ValueError(
                "CLOCK_FILE is refused when ENVIRONMENT=production: a simulated clock is for demo and tests"
            )
        return self
