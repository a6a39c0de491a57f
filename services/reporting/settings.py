"""Settings of reporting (shared ones: shared/settings.py)."""

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    session_signing_key: str | None = Field(
        default=None,
        description="signs the cookies of people who sign in: Ed25519, raw, base64; without it nobody can",
        repr=False,
    )
