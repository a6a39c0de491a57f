"""Settings that every service has; each service adds its own. Read once, frozen, required where no default is safe.

They come from the environment. What must not stand there comes from the file that `SECRETS_FILE` names, in the same form
(`KEY='value'` lines): in a container that is a mounted secret, which neither `docker inspect` nor a child process shows.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from shared import env_files

PLAIN = r"[A-Za-z0-9._~!$&'()*+,;=-]"
DATABASE_URL = re.compile(rf"postgresql://((?:{PLAIN}|%[0-9A-Fa-f]{{2}})*(:(?:{PLAIN}|%[0-9A-Fa-f]{{2}})*)?@)?[^@\s]+")
NATS_URL = re.compile(rf"(nats|tls)://({PLAIN}*(:{PLAIN}*)?@)?[^@\s]+")


def _database_url(url: str) -> str:
    """Refuses a password with an unquoted `@`, `/` or `#`: service and migration would cut the URL at different places."""
    if not DATABASE_URL.fullmatch(url):
        raise ValueError(
            "地址应是 postgresql://角色:口令@主机:端口/库；口令里的 % @ / : # ? 空格等要写成 %25 %40 %2F %3A %23 %3F %20"
        )
    return url


def _nats_url(url: str) -> str:
    """The client takes the password as it stands in the URL, without decoding it."""
    if not NATS_URL.fullmatch(url):
        raise ValueError("地址应是 nats://用户:口令@主机:端口；NATS 的口令只用字母、数字和下划线，以字母开头")
    return url


DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
NatsUrl = Annotated[str, AfterValidator(_nats_url)]


class SecretsFile(EnvSettingsSource):
    """Variables from the file that `SECRETS_FILE` names, read as the shell of a job reads it."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        path = os.environ.get("SECRETS_FILE")
        return {key.lower(): value for key, value in env_files.read(Path(path)).items()} if path else {}


class EnvironmentSettings(BaseSettings):
    """From the environment, then from `SECRETS_FILE`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)  # it is a secret

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretsFile(settings_cls)


class ServiceSettings(EnvironmentSettings):
    environment: Literal["dev", "test", "production"]
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    database_url: DatabaseUrl = Field(
        description="postgresql://role:password@host:port/database, the app role", repr=False
    )
    database_pool_size: int = Field(
        default=6, ge=2, le=50, description="connections for work; the heartbeat has two beside"
    )
    nats_url: NatsUrl = Field(description="nats://user:password@host:port", repr=False)
    clock_file: Path | None = Field(default=None, description="a simulated clock; never in production")
    token_public_key: str = Field(description="verifies bearer tokens: Ed25519, raw, base64")
    session_public_key: str | None = Field(
        default=None, description="verifies who is signed in on pages: Ed25519, raw, base64; without it nobody is"
    )
    public_url: str = Field(description="how the outside reaches this service, without a trailing slash")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _production_has_real_time(self) -> Self:
        if self.environment == "production" and self.clock_file is not None:
            raise ValueError(
                "CLOCK_FILE is refused when ENVIRONMENT=production: a simulated clock is for demo and tests"
            )
        return self
