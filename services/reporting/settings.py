"""Settings of reporting (shared ones: shared/settings.py)."""

from pydantic import Field

from shared.settings import ServiceSettings

GIB = 1024**3


class Settings(ServiceSettings):
    pictures_max_bytes: int = Field(
        default=2 * GIB,
        ge=0,
        description="how much the pictures in one campaign's reports may have; then no more are taken. Every backup has them too",
    )
    session_signing_key: str | None = Field(
        default=None,
        description="signs the cookies of people who sign in: Ed25519, raw, base64; without it nobody can",
        repr=False,
    )
    liaison_key: str | None = Field(
        default=None,
        description="hashes the codes on liaisons' slips: 32 bytes, base64; without it no codes are made or taken",
        repr=False,
    )
    sealing_public_keys: dict[str, str] = Field(
        default_factory=dict, description="who may read names and phones of liaisons: notification"
    )
