"""Settings of certificate (shared ones: shared/settings.py)."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    sealing_private_key: str = Field(description="opens names and phones sealed for certificate (base64)", repr=False)
    sealing_public_keys: dict[str, str] = Field(description="who may read claim codes: notification")
    contact_keys: dict[str, str] = Field(description="AES-256 keys by id (base64); the last one encrypts", repr=False)
    lookup_key: str = Field(description="finds claim codes without keeping them in clear (base64)", repr=False)
    certificate_signing_key: str = Field(description="Ed25519, raw, base64", repr=False)
    pdf_dir: Path = Field(description="rendered certificates, encrypted; can be deleted at any time")
    seal_image: Path | None = Field(default=None, description="the deployer's seal (PNG)")
