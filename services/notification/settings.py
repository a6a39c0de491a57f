"""Settings of notification (shared ones: shared/settings.py)."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    sealing_private_key: str = Field(
        description="opens what is sealed for `notification`: X25519, raw, base64", repr=False
    )
    contact_keys: dict[str, str] = Field(
        description="id → AES-256 key (base64); the last encrypts, all decrypt", min_length=1, repr=False
    )
    lookup_key: str = Field(description="finds a phone again and names notifications: 32 bytes, base64", repr=False)
    claim_page_url: str = Field(
        description="the fixed public address where certificates are claimed: what texts say for {claim_page}"
    )
    file_channel_dir: Path | None = Field(
        default=None,
        description="where the `file` channel writes its messages; never in production, where nobody would get them",
    )

    @model_validator(mode="after")
    def _production_sends_to_people(self) -> Self:
        if self.environment == "production" and self.file_channel_dir is not None:
            raise ValueError(
                "FILE_CHANNEL_DIR is refused when ENVIRONMENT=production: a text in a file reaches nobody. Without it texts wait "
                "until a channel that reaches people is there"
            )
        return self
